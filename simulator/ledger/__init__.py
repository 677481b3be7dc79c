"""What each client should have received, and did: owed, live, replayed, lost."""
