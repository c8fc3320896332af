"""The composition root: what starts in which order, and stops in reverse."""
