"""Names of what a load test serves to Prometheus; without Locust, so that dashboards can be checked."""

USERS = "locust_users"
WORKERS = "locust_workers"
REQUESTS = "locust_requests"
FAILURES = "locust_failures"
RESPONSES = "locust_response_seconds"

SERIES = (
    USERS,
    WORKERS,
    f"{REQUESTS}_total",
    f"{FAILURES}_total",
    f"{RESPONSES}_bucket",
    f"{RESPONSES}_sum",
    f"{RESPONSES}_count",
)
"""Every series, as it is in the exposition."""
