"""Channels: ways by which messages come in and replies are pushed. One file a channel."""
