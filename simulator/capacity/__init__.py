"""The largest load that holds, what gave way first, and how it scales."""
