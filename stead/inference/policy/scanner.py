"""The process that looks at requests: ``python -m stead.inference.policy.scanner``.

Started by :mod:`stead.inference.policy.guard`, which it talks with over stdin and stdout, it ends
with its stdin. A conversation comes again with each of its turns, so what was found in a text is
kept (by a hash of the text), and only the new is looked at.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import BinaryIO

from stead.inference.policy.detect import Detector, Missing, Span, detectors_for
from stead.inference.policy.frames import Ask, Setup, SetupRule, Told, packed, unpacked
from stead.inference.policy.texts import Text, texts_of, with_texts

_KEPT = 50_000
_JSON = re.compile(r"\s*application/(?:[\w.+-]*\+)?json", re.IGNORECASE)

#: What was found in a text, by rule.
Found = tuple[tuple[str, Span], ...]


class Scanner:
    """Looks at bodies for the rules of a setup."""

    def __init__(self, setup: Setup) -> None:
        self._rules = {rule.name: rule for rule in setup.rules}
        self._detectors: dict[str, list[Detector]] = {}
        self._known: OrderedDict[bytes, Found] = OrderedDict()

    def answer(self, ask: Ask) -> Told:
        try:
            rules = [self._rules[name] for name in ask.rules]
            for rule in rules:
                if rule.name not in self._detectors:
                    self._detectors[rule.name] = detectors_for(rule)
            return self._looked(ask, rules)
        except Missing as missing:
            return Told(missing=str(missing))
        except Exception as error:  # noqa: BLE001 - the edge of a request: it is refused with this
            return Told(failed=f"{type(error).__name__} while it was looked at")

    def _looked(self, ask: Ask, rules: list[SetupRule]) -> Told:
        json = not ask.content_type or _JSON.match(ask.content_type) is not None
        counts: dict[str, Counter[str]] = {}
        changed: list[tuple[Text, str]] = []
        redacting = {rule.name for rule in rules if rule.redact}
        for place in texts_of(ask.body) if json else _whole(ask.body):
            found = self._in_text(place.text, rules)
            for name, span in found:
                counts.setdefault(name, Counter())[span.kind] += 1
            black = [span for name, span in found if name in redacting]
            if black:
                changed.append((place, blacked_out(place.text, black)))
        told = {name: dict(kinds) for name, kinds in counts.items()}
        if changed and not json:
            return Told(failed="it is no JSON, so nothing in it can be blacked out")
        return Told(told, with_texts(ask.body, changed) if changed else None)

    def _in_text(self, text: str, rules: list[SetupRule]) -> Found:
        mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
        for rule in rules:
            mark.update(b"\0" + rule.name.encode())
        key = mark.digest()
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        found = tuple(
            (rule.name, span)
            for rule in rules
            for detector in self._detectors[rule.name]
            for span in detector(text)
        )
        self._known[key] = found
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found


def blacked_out(text: str, spans: Iterable[Span]) -> str:
    """The text with a note in place of each span. Those that overlap become one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, max(last.end, span.end), last.kind)
        else:
            merged.append(span)
    pieces: list[str] = []
    at = 0
    for span in merged:
        pieces += (text[at : span.start], f"[redacted: {span.kind}]")
        at = span.end
    return "".join((*pieces, text[at:]))


def _whole(body: bytes) -> list[Text]:
    """A body that is no JSON: a form with a file in it, say. What is no text in it is noise."""
    return [Text(0, len(body), body.decode("utf-8", "replace"))]


def main(inward: BinaryIO, outward: BinaryIO) -> None:
    """Answer until there is no more."""
    scanner: Scanner | None = None
    while len(head := inward.read(4)) == 4:
        data = inward.read(int.from_bytes(head, "big"))
        if scanner is None:
            scanner = Scanner(unpacked(data, Setup))
            continue
        outward.write(packed(scanner.answer(unpacked(data, Ask))))
        outward.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
