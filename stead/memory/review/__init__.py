"""The nightly review: reads what was said in a day, proposes what to remember of it, and takes by
itself only what is small, certain and reversible."""
