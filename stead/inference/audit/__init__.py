"""What stands behind the rows of the audit: bodies that are kept, and their words for people."""
