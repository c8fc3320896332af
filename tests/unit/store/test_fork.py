"""A gateway starts programs while its store works: the fork and the database stay apart."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

#: Starts programs one after the other, as the gateway's loop does, while writes are going on.
_BUSY = """
import asyncio, sys
from pathlib import Path
import uvloop
from stead.store.sqlite.store import SqliteStore

#: Takes and frees memory without end, as large writes do: in SQLite under a lock of its own.
WORK = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
    " SELECT count(DISTINCT hex(zeroblob(99)) || i) FROM n"
)

async def main(home, times):
    store = SqliteStore(home / "state.db", home / "copies")
    over = False

    async def write():
        while not over:
            await store.write(lambda it: it.execute(WORK).fetchall())

    await asyncio.gather(*(store.read(lambda it: None) for _ in range(20)))
    writers = [asyncio.ensure_future(write()) for _ in range(4)]
    for _ in range(times):
        process = await asyncio.create_subprocess_exec("/bin/true", start_new_session=True)
        await process.wait()
        await store.read(lambda it: it.execute("SELECT count(*) FROM job").fetchall())
    over = True
    await asyncio.gather(*writers)
    store.close()
    print("well")

uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_programs_start_while_the_store_writes(tmp_path: Path) -> None:
    """No forked child touches the database's locks: it would stand still, and with it the gateway.

    What a thread keeps for itself alone (``threading.local``) is thrown away in a forked child,
    before it becomes its program: a connection closed there waits for a lock that a thread
    of the parent held, for ever.
    """
    busy = subprocess.Popen(
        [sys.executable, "-c", _BUSY, str(tmp_path), "400"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, errors = busy.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(busy.pid, signal.SIGKILL)  # a child that stands still is in its group
    assert (out, busy.returncode) == ("well\n", 0), errors
