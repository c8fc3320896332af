"""The files that are the truth of memory: read, written with care, kept in a history, imported."""
