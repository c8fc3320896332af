"""What an agent may do: rules over parsed calls, and the owner's word where they say ``ask``."""
