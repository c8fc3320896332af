"""Bytes of a text file as text, and back, such that what is not changed stays as it is."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from stead.agent.files.tree import Refused

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Form:
    """How a text is written down: its encoding, what stands before it, its line ends."""

    encoding: str = "utf-8"
    bom: bytes = b""
    ends: str = "\n"
    mixed: bool = False
    """Some lines end in another way than most."""

    def encode(self, text: str) -> bytes:
        """Raises ``Refused`` for letters that the encoding has not."""
        try:
            return self.bom + text.encode(self.encoding)
        except UnicodeEncodeError as problem:
            letter = text[problem.start : problem.end][:20]
            raise Refused(
                f"the file is in {self.encoding}, which cannot hold {letter!r}; use other"
                " letters, or write the whole file anew (then it becomes UTF-8)"
            ) from problem

    def ended(self, text: str) -> str:
        """The text with its line ends as this file has them."""
        plain = text.replace("\r\n", "\n")
        return plain if self.ends == "\n" else plain.replace("\n", self.ends)

    @property
    def words(self) -> str:
        """What is unusual about it, if anything is."""
        said = [self.encoding] if self.encoding != "utf-8" else []
        said += ["with a byte order mark"] if self.bom and self.encoding == "utf-8" else []
        said += ["CRLF line ends"] if self.ends == "\r\n" else []
        return ", ".join(said)


def read_text(data: bytes) -> tuple[str, Form]:
    """Raises ``Refused`` for what is no text. What is no UTF-8 is taken for Windows-1252, else
    for Latin-1, which has a letter for every byte."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            try:
                text = data[len(bom) :].decode(encoding)
            except UnicodeDecodeError:
                break
            return text, _form(text, encoding, bom)
    if b"\0" in data:
        raise Refused("that is not a text file")
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text, _form(text, encoding, b"")
    raise AssertionError("latin-1 decodes anything")


def _form(text: str, encoding: str, bom: bytes) -> Form:
    pairs, all_ends = text.count("\r\n"), text.count("\n")
    ends = "\r\n" if pairs * 2 > all_ends else "\n"
    return Form(encoding, bom, ends, 0 < pairs < all_ends)
