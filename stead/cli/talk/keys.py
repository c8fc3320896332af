"""The keys of a live talk, beside those of a shell (Emacs' keys, Ctrl-R, arrows)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from stead.cli.talk.folds import Folds


class Seat(Protocol):
    """Where the keys are."""

    folds: Folds

    def enter(self) -> None: ...

    def hint(self, text: str) -> None: ...

    def leave(self) -> None: ...


def _common(words: list[str]) -> str:
    """What all of them begin with."""
    least, most = min(words), max(words)
    same = 0
    while same < min(len(least), len(most)) and least[same] == most[same]:
        same += 1
    return least[:same]


def bindings(
    seat: Seat,
    text: Buffer,
    stopped: Callable[[], bool],
    complete: Callable[[str], list[str]],
) -> KeyBindings:
    """``stopped``: Ctrl-C; whether there was anything to stop. ``complete``: at the Tab key."""
    keys = KeyBindings()
    here = has_focus(text)

    @keys.add("enter", filter=here)
    def _(event: KeyPressEvent) -> None:
        if text.document.text_before_cursor.endswith("\\"):
            text.delete_before_cursor()
            text.newline(copy_margin=False)
        else:
            seat.enter()

    @keys.add("escape", "enter", filter=here)
    @keys.add("c-j", filter=here)
    def _(event: KeyPressEvent) -> None:
        text.newline(copy_margin=False)

    @keys.add("c-c", filter=here)
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if not stopped():
            if not text.text:
                seat.hint("Nothing is under way. Ctrl-D leaves.")
            text.reset()

    @keys.add("c-d", filter=here)
    def _(event: KeyPressEvent) -> None:
        if text.text:
            text.delete()
        else:
            seat.leave()

    @keys.add(Keys.BracketedPaste, filter=here)
    def _(event: KeyPressEvent) -> None:
        pasted = event.data.replace("\r\n", "\n").replace("\r", "\n")
        text.insert_text(seat.folds.fold(pasted))

    @keys.add("tab", filter=here)
    def _(event: KeyPressEvent) -> None:
        before = text.document.text_before_cursor
        found = complete(before) if "\n" not in before else []
        if not found:
            text.insert_text("  " if not before.startswith("/") else "")
            return
        common = _common(found)
        text.insert_text(common[len(before) :] + (" " if len(found) == 1 else ""))
        if len(found) > 1:
            seat.hint("  ".join(one.rpartition(" ")[2] for one in found))

    @keys.add("c-x", "c-e", filter=here)
    def _(event: KeyPressEvent) -> None:
        text.text = seat.folds.unfold(text.text)
        text.open_in_editor()

    @keys.add("c-z", filter=here)
    def _(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    return keys
