"""The model door measured: a model server that costs nothing, callers, and peers in between."""
