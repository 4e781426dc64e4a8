"""Arrays -> files. Nothing in here knows a network."""
