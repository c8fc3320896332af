"""Light services: small models that hear, speak, read and compare, each in a process of its own."""
