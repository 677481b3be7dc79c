"""What to run: the models of a scenario file, reading it, and its schedule. Pure."""
