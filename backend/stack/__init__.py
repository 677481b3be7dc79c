"""The whole stack on one machine: services, nodes, load balancer, for development, demonstrations and tests.

Pure planning (`plan.py`, `balancer.py`) is apart from processes (`processes.py`, `readiness.py`, `state.py`);
`up.py` is what the command line calls. Everything listens on 127.0.0.1 only.
"""
