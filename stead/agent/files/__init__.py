"""Changing the owner's files: whole or not at all, where they are and nowhere else, undoable."""
