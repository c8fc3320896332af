"""The search over raw bytes: what is there is found in whatever shape, and what cannot be looked
into is said."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead.memory.forget import prove
from stead.memory.forget.prove import Proof, Seeker, search
from stead.memory.forget.words import Phrase

SAID = "the gooseberry cake of Anna Müller"
FILLER = b" nothing of that here." * 200


def looked(home: Path) -> Proof:
    return search(home, Seeker([Phrase.of(SAID)]))


def zipped(method: int = zipfile.ZIP_DEFLATED, text: bytes = SAID.encode()) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("first.txt", FILLER)
        archive.writestr("notes.txt", text)
    return made.getvalue()


def locked() -> bytes:
    """An archive whose second member says that it has a password."""
    data = bytearray(zipped())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.rindex(mark)
        (now,) = struct.unpack_from("<H", data, at + flags)
        struct.pack_into("<H", data, at + flags, now | 1)
    return bytes(data)


SHAPES = {
    "as it is": FILLER + SAID.encode() + FILLER,
    "UTF-16": FILLER + SAID.encode("utf-16-le") + FILLER,
    "escaped": json.dumps({"text": SAID}).encode(),
    "base64": FILLER + base64.b64encode(b"12 and " + SAID.encode() + FILLER),
    "zlib": zlib.compress(FILLER + SAID.encode()),
    "gzip": gzip.compress(FILLER + SAID.encode()),
    "zip": zipped(),
    "zip by lzma": zipped(zipfile.ZIP_LZMA),
    "zip by bzip2": zipped(zipfile.ZIP_BZIP2),
}
BAD = {
    "a zip with a password": (locked(), "'notes.txt' in it: .*password"),
    "a zip cut short": (zipped()[:-60], "cannot be unpacked"),
    "a gzip cut short": (gzip.compress(FILLER * 99)[:-40], "ends too early"),
    "a zlib cut short": (zlib.compress(FILLER * 99)[:-40], "ends too early"),
    "a gzip that is none": (b"\x1f\x8b" + FILLER, "is damaged"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_found_in_every_shape(tmp_path: Path, shape: str) -> None:
    """And in that file alone."""
    (tmp_path / "it").write_bytes(SHAPES[shape])
    (tmp_path / "other").write_bytes(FILLER)
    proof = looked(tmp_path)
    assert (proof.paths, proof.unread, proof.files) == (["it"], [], 2)


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_unpacked_is_said(tmp_path: Path, what: str) -> None:
    """A receipt must not say that all was searched when it was not; the rest is searched."""
    data, words = BAD[what]
    (tmp_path / "a bad one").write_bytes(data)
    (tmp_path / "it").write_text(SAID)
    proof = looked(tmp_path)
    assert proof.paths == ["it"]
    (said,) = proof.unread
    assert said.startswith("a bad one")
    assert re.search(words, said), said
    assert said in proof.words()


def test_too_much_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would take for ever to unpack is left, in words; what comes before is looked at."""
    monkeypatch.setattr(prove, "_MOST_UNPACKED", 1000)
    (tmp_path / "a.zip").write_bytes(zipped())
    (tmp_path / "b.gz").write_bytes(gzip.compress(SAID.encode() + FILLER))
    proof = looked(tmp_path)
    assert set(proof.paths) == {"a.zip", "b.gz"}
    assert [said.partition(":")[0] for said in proof.unread] == [
        "a.zip, 'first.txt' in it", "b.gz",
    ]  # fmt: skip


def test_bytes_that_only_begin_alike_are_no_trouble(tmp_path: Path) -> None:
    """Two letters at the beginning of a text are those of zlib as well."""
    (tmp_path / "a").write_bytes(b"x\x01 marks the place")
    assert looked(tmp_path).unread == []


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from(["zlib", "gzip", "zip", "zip by lzma", "zip by bzip2"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damage_of_any_kind(tmp_path: Path, shape: str, flips: list[tuple[int, int]]) -> None:
    """Never ends the search: the other files are looked at."""
    data = bytearray(SHAPES[shape])
    for at, bits in flips:
        data[at % len(data)] ^= bits
    (tmp_path / "a").write_bytes(bytes(data))
    (tmp_path / "it").write_text(SAID)
    assert "it" in looked(tmp_path).paths
