"""A copy of memory to take along, and what was said there brought home."""
