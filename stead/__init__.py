"""stead: the keeper of a self-hosted AI stack for one owner on one machine."""

__version__ = "0.1.0"
