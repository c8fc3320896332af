"""Web push: notices in browsers that are not looking (RFC 8030, 8291, 8292)."""
