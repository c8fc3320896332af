"""The way of a message: every way in goes through accept, every end through settle."""
