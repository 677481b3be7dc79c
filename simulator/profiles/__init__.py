"""Profiles: how to speak to a kind of server. See `base` for what one is."""
