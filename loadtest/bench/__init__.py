"""`make bench`: Vouchstorm, its peers and the floor beside each other in one run.

Every contestant is a server process on one core; the crowd of counting clients and this program are on the
other. What is measured is CPU time of the server process, never time on the wall: see docs/BENCH.md.
"""
