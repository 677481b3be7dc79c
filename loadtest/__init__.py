"""Load on a running service: Locust users, and side-by-side benchmarks of the real-time room and peers."""
