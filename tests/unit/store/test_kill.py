"""kill -9 at any instant: each write that was acknowledged is there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from stead.store.sqlite import SqliteStore

WRITER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from stead.core.nouns import Inbound, NewJob
    from stead.store.sqlite import SqliteStore

    async def main() -> None:
        store = SqliteStore(Path(sys.argv[1]), Path(sys.argv[1] + "-copies"))
        async def work(base: int) -> None:
            n = base
            while True:
                text = f"message {n} " + "x" * (n % 7 * 500)
                accepted = await store.accept(
                    Inbound("cli", str(n), text), NewJob("chat", {"n": n}), f"line {n}"
                )
                sys.stdout.write(f"{n} {accepted.job_id}\\n")
                sys.stdout.flush()
                n += 8
        await asyncio.gather(*(work(base) for base in range(8)))

    asyncio.run(main())
""")


@pytest.mark.parametrize("after_ms", [60, 150, 300])
def test_what_was_acknowledged_is_there(tmp_path: Path, after_ms: int) -> None:
    """A writer killed in the midst of its commits has lost nothing that it said was written, and
    what it had not said is there whole or not at all."""
    path = tmp_path / "state.db"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(after_ms / 1000)
    child.kill()
    lines = [first, *child.stdout.read().splitlines(keepends=True)]
    child.wait(10)
    told = dict(line.split() for line in lines if line.endswith("\n"))
    assert told

    async def look() -> None:
        store = SqliteStore(path, tmp_path / "copies")
        jobs = {}
        before = ""
        while True:
            page = await store.view_jobs(limit=500, before=before)
            jobs.update({job["id"]: job for job in page["jobs"]})
            if not page["more"]:
                break
            before = page["jobs"][-1]["id"]
        messages = (await store.view_messages("main", 0, 1_000_000))["messages"]
        lines = await store.day_lines(limit=1_000_000)
        store.close()
        there = {message["external_id"]: message["job_id"] for message in messages}
        assert told.items() <= there.items()
        assert set(there.values()) == set(jobs)  # each message with its job, each job with its own
        assert len(lines) == len(messages)
        for message in messages:
            n = int(message["external_id"])
            assert message["text"] == f"message {n} " + "x" * (n % 7 * 500)

    asyncio.run(look())
