"""``python -m stead``: the same as the command ``stead``."""

from __future__ import annotations

import sys

from stead.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
