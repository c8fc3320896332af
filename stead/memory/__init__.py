"""What stead remembers: for now the daily log, a file a person can read."""
