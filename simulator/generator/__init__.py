"""The clients of a run, in this process or in several: workers, swarm, publisher."""
