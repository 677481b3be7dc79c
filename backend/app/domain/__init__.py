"""Pure decisions: consensus, trust, badges, notifications. No I/O, no clock, no randomness."""
