"""Finding by meaning: the nearest of many vectors, quickly and in little memory.

Of each vector a code of one bit a dimension is held in memory (48 bytes at 384 dimensions): whether
it lies above or below the middle of all. The entries whose codes differ least from the question's
are looked up in the file, where each dimension has 8 bits, and compared exactly
(docs/decisions/0030-an-index-by-postings.md).

numpy comes with what makes embeddings: without those nobody asks for this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import apsw

from stead.memory.index.database import ask

_SCALE = 127.0
_PIECE = 5000


class Codes:
    """The codes of all entries, by their numbers."""

    def __init__(self, middle: Any) -> None:
        import numpy  # late: an extra, and only a question with a vector needs it

        self._np = numpy
        self.middle = middle
        self._words = -(-len(middle) // 64)
        self._table: Any = numpy.zeros((self._words, 1024), numpy.uint64)
        self._has: Any = numpy.zeros(1024, bool)
        self.count = 0

    def load(self, c: apsw.Connection) -> None:
        rows = ask(c, "SELECT e.id, v.code FROM entry e JOIN vector v ON v.meaning = e.meaning")
        self.put(rows)

    def put(self, rows: Iterable[tuple[int, bytes]]) -> None:
        rows = iter(rows)
        while piece := list(islice(rows, _PIECE)):
            self._put([row for row in piece if len(row[1]) == 8 * self._words])

    def _put(self, rows: list[tuple[int, bytes]]) -> None:
        if not rows:
            return
        np = self._np
        idents = np.array([ident for ident, _ in rows])
        size, most = len(self._has), int(idents.max())
        if most >= size:
            more = max(most + 1, 2 * size) - size
            self._table = np.pad(self._table, ((0, 0), (0, more)))
            self._has = np.pad(self._has, (0, more))
        codes = np.frombuffer(b"".join(code for _, code in rows), np.uint64)
        self._table[:, idents] = codes.reshape(len(rows), self._words).T
        self.count += int((~self._has[idents]).sum())
        self._has[idents] = True

    def drop(self, idents: Iterable[int]) -> None:
        for ident in idents:
            if ident < len(self._has) and self._has[ident]:
                self._has[ident] = False
                self.count -= 1

    def nearest(self, vector: Sequence[float], count: int, allowed: Any = None) -> list[int]:
        """The numbers of those that are probably nearest. ``allowed``: a truth value for each."""
        np = self._np
        code = np.frombuffer(code_of(vector, self.middle), np.uint64)
        far = np.zeros(len(self._has), np.uint16)
        for row, word in zip(self._table, code, strict=True):
            far += np.bitwise_count(row ^ word)
        out = ~self._has
        if allowed is not None:
            size = min(len(allowed), len(out))
            out[:size] |= ~allowed[:size]
            out[size:] = True
        far[out] = 65535
        count = min(count, len(far))
        found = np.argpartition(far, count - 1)[:count]
        return [int(one) for one in found if far[one] != 65535]


def code_of(vector: Sequence[float], middle: Any) -> bytes:
    import numpy as np  # late: see above

    bits = np.packbits(np.asarray(vector, np.float32) > middle, bitorder="little")
    return bytes(np.pad(bits, (0, -len(bits) % 8)).tobytes())


def numbers_of(vector: Sequence[float]) -> bytes:
    """8 bits a dimension, of a vector of length 1, and its largest number in front."""
    import numpy as np  # late: see above

    row = np.asarray(vector, np.float32)
    row = row / (float(np.linalg.norm(row)) or 1.0)
    largest = float(np.abs(row).max()) or 1.0
    small = np.round(row * (_SCALE / largest)).astype(np.int8)
    return bytes(np.float32(largest).tobytes() + small.tobytes())


def rows_of(stored: Sequence[bytes]) -> Any:
    """Vectors as numbers again, a row each."""
    import numpy as np  # late: see above

    whole = np.frombuffer(b"".join(stored), np.int8).reshape(len(stored), -1)
    largest = whole[:, :4].copy().view(np.float32)
    return whole[:, 4:].astype(np.float32) * (largest / _SCALE)


def cosines(vector: Sequence[float], stored: Sequence[bytes]) -> list[float]:
    """How alike a vector and each of these are, -1 to 1."""
    import numpy as np  # late: see above

    if not stored:
        return []
    asked = np.asarray(vector, np.float32)
    asked = asked / (float(np.linalg.norm(asked)) or 1.0)
    found: list[float] = (rows_of(stored) @ asked).tolist()
    return found


def middle_of(stored: Sequence[bytes]) -> bytes:
    """The middle of some vectors, as it is kept."""
    import numpy as np  # late: see above

    return bytes(rows_of(stored).mean(axis=0).astype(np.float32).tobytes())


def middle_from(kept: bytes) -> Any:
    import numpy as np  # late: see above

    return np.frombuffer(kept, np.float32)
