"""What an operation makes of the files, as text; and the guards over that.

Doing an operation that is done already changes nothing: so a batch that was cut off is simply
done again.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace

from stead.memory.review import lines
from stead.memory.review.nouns import Change, Op, Operation, Shelf, Terms, Unfit
from stead.memory.review.said import figures, flat, negated, rivals, same, telling

STANDING = "memory/MEMORY.md"
ARCHIVE = "memory/cards/archive/"
JOURNAL = "knowledge/journal.jsonl"
_CONFLICT = re.compile(r"^(?:<{7}|>{7})(?: |$)", re.MULTILINE)
#: How sure a card is that rests on one statement: the owner's, or stead's.
_SURE = {"owner": 0.9}
_LESS_SURE = 0.6


class Desktop:
    """The files as they are, with what operations made of them laid over, before any is written."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.before: dict[str, str | None] = {}
        self.after: dict[str, str | None] = {}
        self.facts: list[Operation] = []

    def read(self, path: str) -> str | None:
        if path in self.after:
            return self.after[path]
        if path not in self.before:
            self.before[path] = self._shelf.read(path)
        return self.before[path]

    def cards(self) -> list[tuple[str, str]]:
        """(path, topic) of the cards."""
        paths = {*self._shelf.cards(), *(path for path in self.after if _is_card(path))}
        found = []
        for path in sorted(paths):
            text = self.read(path)
            if text is not None:
                found.append((path, lines.topic_of(path, text)))
        return found

    def put(self, path: str, text: str | None) -> None:
        had = self.read(path)
        if had is not None and _CONFLICT.search(had):
            raise Unfit(why=f"{path} holds a merge that nobody has solved (<<<<<<<)")
        if had != text:
            self.after[path] = text

    def copy(self) -> Desktop:
        """Another, on which to try something."""
        made = Desktop(self._shelf)
        made.before, made.after = self.before, dict(self.after)
        made.facts = list(self.facts)
        return made

    def change(self) -> Change:
        after = {path: text for path, text in self.after.items() if text != self.before[path]}
        return Change({path: self.before[path] for path in after}, after, tuple(self.facts))


def apply(one: Operation, desk: Desktop) -> None:
    """Lay an operation over the files. Raises :class:`Unfit` where it cannot be done."""
    match one.op:
        case Op.ADD:
            _add(one, desk)
        case Op.CLOSE:
            _close(one, desk)
        case Op.MERGE:
            _merge(one, desk)
        case Op.PROMOTE:
            _promote(one, desk)
        case Op.ARCHIVE:
            _archive(one, desk)
        case Op.FACT | Op.END_FACT | Op.NOTE:
            desk.facts.append(one)


def change_of(one: Operation, shelf: Shelf) -> Change:
    """What one operation makes of the files as they are."""
    desk = Desktop(shelf)
    apply(one, desk)
    return desk.change()


def _add(one: Operation, desk: Desktop) -> None:
    path = lines.nearest(one.topic, desk.cards())
    if not path:
        path = lines.card_path(one.topic)
        sure = _SURE.get(one.speaker, _LESS_SURE)
        text = desk.read(path) or lines.new_card(one.topic, one.day, one.source, sure)
    else:
        text = desk.read(path) or ""
    if any(known.text == lines.plain(one.text) for known in lines.statements(text)):
        return
    desk.put(path, lines.with_statement(text, one.text, one.day, one.source))


def _close(one: Operation, desk: Desktop) -> None:
    path = lines.nearest(one.topic, desk.cards())
    text = desk.read(path) if path else None
    if text is None:
        raise Unfit(why=f"there is no card about {one.topic}")
    known = lines.statements(text)
    old = lines.plain(one.old)
    held = [held for held in known if held.text == old and not held.until]
    over = [held for held in known if held.text == old and held.until]
    if not held and not over:
        raise Unfit(why=f"{path} does not say (any more): {one.old}")
    if held:
        if held[0].since > one.day:
            raise Unfit(why=f"{path} says since {held[0].since}, which is later: {one.old}")
        text = lines.without_effect(text, held[0], one.day, one.text, one.source)
    if one.text and not any(had.text == lines.plain(one.text) for had in known):
        text = lines.with_statement(text, one.text, one.day, one.source)
    desk.put(path, text)


def _merge(one: Operation, desk: Desktop) -> None:
    cards = desk.cards()
    into = lines.nearest(one.topic, cards)
    gone = one.other if _is_card(one.other) else lines.nearest(one.other, cards)
    if gone == into or not gone or desk.read(gone) is None:
        if into and not gone.startswith("memory/"):
            raise Unfit(why=f"there is no card about {one.other}")
        return
    kept, other = desk.read(into) if into else None, desk.read(gone)
    if kept is None or other is None:
        raise Unfit(why=f"there is no card about {one.topic}")
    had = {known.text for known in lines.statements(kept)}
    body = other.split("\n")
    carried = [body[more.row] for more in lines.statements(other) if more.text not in had]
    loose = _loose(other, kept)
    rows = [kept.rstrip("\n"), *carried]
    if loose:
        rows += ["", f"From {gone}:", "", *loose]
    desk.put(into, lines.touched("\n".join(rows) + "\n", one.day))
    desk.put(_archived(gone), other)
    desk.put(gone, None)


def _loose(other: str, kept: str) -> list[str]:
    """What of a card is neither front matter, heading nor statement: it comes along too."""
    taken = {one.row for one in lines.statements(other)}
    rows = other.split("\n")
    start = 0
    if rows[:1] == ["---"] and "---" in rows[1:]:
        start = rows.index("---", 1) + 1
    mine = set(kept.split("\n"))
    found = [
        row
        for at, row in enumerate(rows)
        if at >= start and at not in taken and row.strip() and not row.startswith("# ")
    ]
    return [row for row in found if row not in mine]


def _promote(one: Operation, desk: Desktop) -> None:
    text = desk.read(STANDING)
    text = "# What stead should always know\n" if text is None else text
    if any(known.text == lines.plain(one.text) for known in lines.statements(text)):
        return
    desk.put(STANDING, lines.with_statement(text, one.text, one.day, one.source))


def _archive(one: Operation, desk: Desktop) -> None:
    text = desk.read(one.other)
    if text is None:
        return
    desk.put(_archived(one.other), text)
    desk.put(one.other, None)


def _archived(path: str) -> str:
    return ARCHIVE + path.rpartition("/")[2]


def _is_card(path: str) -> bool:
    return path.startswith("memory/cards/") and not path.startswith(ARCHIVE)


# --- what is known already, and what speaks against it ------------------------------


def settled(one: Operation, desk: Desktop) -> Operation | None:
    """The operation as it fits what is remembered: None where that is known already; a close
    where a statement of the card speaks against it, so that both are shown with their dates."""
    if one.op not in (Op.ADD, Op.PROMOTE):
        return one
    path = STANDING if one.op is Op.PROMOTE else lines.nearest(one.topic, desk.cards())
    text = desk.read(path) if path else None
    held = lines.open_statements(text) if text else []
    if any(same(known.text, one.text) for known in held):
        return None
    said = telling(one.text)
    for known in held:
        less = said <= telling(known.text) and figures(one.text) <= figures(known.text)
        if less and negated(known.text) == negated(one.text):
            return None
    if one.op is Op.ADD:
        against = [known for known in held if rivals(known.text, one.text, one.topic)]
        if against and against[0].since <= one.day:
            return replace(one, op=Op.CLOSE, old=against[0].text)
    return one


# --- guards -------------------------------------------------------------------------


def guard(change: Change, terms: Terms) -> str:
    """Why a change may not be made without the owner; empty: it may."""
    for path, after in change.after.items():
        before = change.before[path]
        if after is None:
            return f"{path} would be gone from its place"
        if before is None:
            continue
        lost = len(before.encode()) - len(after.encode())
        if lost > terms.shrink * len(before.encode()):
            return f"{path} would lose {lost} of {len(before.encode())} bytes"
        touched = changed_rows(before, after)
        if touched > terms.most_changed:
            return f"{touched} lines of {path} would change"
    return ""


def too_large(change: Change, terms: Terms) -> str:
    """Why ``MEMORY.md`` cannot take it, whoever says so; empty: it can."""
    after, before = change.after.get(STANDING), change.before.get(STANDING)
    if after is None:
        return ""
    size, had = len(after.encode()), len((before or "").encode())
    if size <= terms.standing_bytes or size < had:
        return ""
    return (
        f"{STANDING} would have {size} bytes, and may have {terms.standing_bytes} ([memory]"
        " memory_md_kb): take something out of it first"
    )


def changed_rows(before: str, after: str) -> int:
    """Lines that are not in both (the day of the last change left out)."""
    old, new = (
        [row for row in text.split("\n") if not row.startswith("updated:")]
        for text in (before, after)
    )
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return sum(max(b - a, d - c) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal")


def diff_of(change: Change) -> str:
    """A unified diff over all files of a change, and its facts as lines of the journal."""
    told: list[str] = []
    for path in sorted(change.after):
        before, after = change.before[path], change.after[path]
        told += difflib.unified_diff(
            (before or "").splitlines(), (after or "").splitlines(),
            "/dev/null" if before is None else f"a/{path}",
            "/dev/null" if after is None else f"b/{path}", lineterm="",
        )  # fmt: skip
    for fact in change.facts:
        told += [f"--- a/{JOURNAL}", f"+++ b/{JOURNAL}", f"+{fact_words(fact)}"]
    return "\n".join(told)


def fact_words(one: Operation) -> str:
    """A fact or note in words."""
    if one.op is Op.NOTE:
        return f"note to {one.topic}: {one.text} (since {one.day})"
    until = "until" if one.op is Op.END_FACT else "since"
    return flat(f"{one.topic} - {one.relation} - {one.other} ({until} {one.day})")


def base_of(change: Change) -> str:
    """What the files were that a change was thought of for."""
    return hash_of(change.before)


def hash_of(texts: Mapping[str, str | None]) -> str:
    sums = hashlib.sha256()
    for path in sorted(texts):
        text = texts[path]
        sums.update(path.encode() + b"\0")
        sums.update(b"-" if text is None else b"+" + text.encode(errors="surrogatepass"))
        sums.update(b"\0")
    return sums.hexdigest()
