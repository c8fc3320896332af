"""What keeps a stead going through the years: one task a file."""
