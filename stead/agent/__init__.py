"""The agent: a short loop, ways of choosing tools, and the tools themselves. No database."""
