"""The HTTP door: the owner's API, the OpenAI-compatible API, the node protocol."""
