"""A browser for one job: outside the session, inside the sandbox the process that drives it."""
