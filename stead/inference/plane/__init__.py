"""The data plane of the model door: one way for every request, whatever its shape."""
