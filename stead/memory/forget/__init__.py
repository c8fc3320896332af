"""Forgetting: out of files, index, graph, database, spools, bodies and history, and proven so."""
