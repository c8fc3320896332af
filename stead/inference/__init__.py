"""The OpenAI-compatible door to models, and the local models behind it."""
