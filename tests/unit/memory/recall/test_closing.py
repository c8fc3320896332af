"""What is caught stale twice is closed in its file, with its end date and the reason."""

from __future__ import annotations

from pathlib import Path

from stead.app.recall import _closing
from stead.memory.nouns import Question
from stead.memory.recall.checks import Checks
from stead.store.sqlite import SqliteStore
from tests.unit.memory.recall.plain import Plain, card, entries

TWO_HOURS_MS = 7_200_000


async def test_a_stale_card_is_closed_and_nothing_is_written_over(tmp_path: Path) -> None:
    """Its words stay, struck through; the next time it is known to have ended."""
    gone = f"the letters lie in {Path.cwd()}/tests/letters-of-2019"
    path = card(tmp_path, "letters", gone)
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    checks = Checks(store, _closing(tmp_path))
    found = await Plain(tmp_path).search(Question("letters"))
    assert list(await checks(found.hits, 20)) == [found.hits[0].entry.key]
    await checks.settled()
    assert "~~" not in path.read_text(), "once may be an accident"
    first = int(await store.fact(f"stale:{found.hits[0].entry.key}") or 0)
    await store.set_fact(f"stale:{found.hits[0].entry.key}", str(first - TWO_HOURS_MS))
    await checks(found.hits, 20)
    await checks.settled()
    assert f"~~{gone}~~ (until " in path.read_text() and "is not there" in path.read_text()
    (entry,) = entries(tmp_path)
    assert entry.until > 0
    store.close()
