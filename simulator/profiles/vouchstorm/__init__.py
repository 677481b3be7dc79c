"""The profile of this project's own service: what it owes, and its laws."""
