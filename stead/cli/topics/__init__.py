"""What `stead help TOPIC` shows: one Markdown file a topic, made to be read as it is."""
