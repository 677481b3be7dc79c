"""Faults on purpose: in the network, in services, by clients."""
