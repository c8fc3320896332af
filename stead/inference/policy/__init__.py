"""What may be asked, by whom, and what never leaves the house."""
