"""A node as a process: listen, serve, drain."""
