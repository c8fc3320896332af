"""Long texts that were pasted stand in the input as ``[pasted 1: 340 lines]``, so that a narrow
window keeps its room and the terminal its speed; what is sent is the text itself."""

from __future__ import annotations

import re

_LINES_MOST = 12
_CHARS_MOST = 2_000
_SHORT = re.compile(r"\[pasted (\d{1,9}): [^\]\n]{1,40}\]")


class Folds:
    """What was folded in this talk."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def fold(self, text: str) -> str:
        """``text``, or what stands for it where it is long."""
        lines = text.count("\n") + 1
        if lines <= _LINES_MOST and len(text) <= _CHARS_MOST:
            return text
        known = next((i for i, one in enumerate(self._texts, 1) if one == text), 0)
        if not known:
            self._texts.append(text)
        what = f"{lines:,} lines" if lines > _LINES_MOST else f"{len(text):,} characters"
        return f"[pasted {known or len(self._texts)}: {what}]"

    def unfold(self, text: str) -> str:
        """The text that is meant. What only looks like a fold stays as it is."""

        def whole(found: re.Match[str]) -> str:
            number = int(found[1])
            if 1 <= number <= len(self._texts):
                text = self._texts[number - 1]
                if self.fold(text) == found[0]:
                    return text
            return found[0]

        return _SHORT.sub(whole, text)
