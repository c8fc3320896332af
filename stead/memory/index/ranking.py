"""What the index takes from the ranker."""

from __future__ import annotations

from stead.memory.rank import COLUMNS, VERSION, columns, meant, order, passage, plan, telling

__all__ = ["COLUMNS", "VERSION", "columns", "meant", "order", "passage", "plan", "telling"]
