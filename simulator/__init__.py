"""The harness: scenarios, swarm, ledger, verdict and report against any Socket.IO server.

Nothing in here imports the backend, save `profiles.vouchstorm`, which reads its contract names.
"""
