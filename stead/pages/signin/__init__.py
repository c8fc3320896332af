"""Signing in: by a passkey, by a code that is good for once, or by a recovery code."""
