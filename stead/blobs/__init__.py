"""Files that are handed in with messages: their bytes on disk, and what they are."""
