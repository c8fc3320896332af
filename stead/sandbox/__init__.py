"""What a tool can see and do: walls around its processes, the one way out, and secrets."""
