"""What breaks things: a shim for disk and clock, a faulty proxy, network namespaces."""
