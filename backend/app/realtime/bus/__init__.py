"""Pushes between nodes over Redis Pub/Sub, with gaps noticed and compared."""
