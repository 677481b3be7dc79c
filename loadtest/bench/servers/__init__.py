"""The contestants written in Python, one module each, run as `python -m loadtest.bench.servers.NAME`."""
