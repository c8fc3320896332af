"""``python -m stead``: the same as the command ``stead``."""

from stead.cli.entry import main

if __name__ == "__main__":
    main()
