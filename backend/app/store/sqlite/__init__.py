"""The store on SQLite, embedded: one file, group commit."""
