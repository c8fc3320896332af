"""Tools in processes of their own: what they do to themselves harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from stead.agent.pool import Pool
from stead.agent.tools import TOOLS
from stead.agent.tools.base import Context, Outcome, Toolbox
from tests.unit.agent.burning import BURNING

REGISTRY = "tests.unit.agent.burning:BURNING"


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(registry=REGISTRY)
    yield pool
    await pool.aclose()


def box(pool: Pool, *, low: bool = False) -> Toolbox:
    made = Toolbox(BURNING, Context(Path("/")), pool)
    return made.in_background() if low else made


async def use(tools: Toolbox, name: str, word: str = "", most: int = 6000) -> Outcome:
    tool, args = tools.read(name, f'{{"word": "{word}"}}')
    return await tools.call(tool, args, most)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - other processes set no event here
            await asyncio.sleep(0.01)


async def gone(pids: list[int]) -> None:
    """Wait until none of these processes is there any more."""
    await until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


class Brood:
    """The processes that this one has started since, and theirs. What other tests of the same
    run have left running for later ones (a database) is not of it."""

    def __init__(self) -> None:
        self._before = {one.pid for one in psutil.Process().children()}

    def members(self) -> list[psutil.Process]:
        return [one for one in psutil.Process().children() if one.pid not in self._before]

    def fruitful(self) -> bool:
        """Whether any of them has a process of its own."""
        for one in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                if one.children():
                    return True
        return False


async def test_a_tool_that_never_ends_is_killed(pool: Pool) -> None:
    """At its time limit a call ends in words, its process is gone, and the loop went on all the
    while; a tool with effects is said to perhaps have had its effect."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    calling = asyncio.create_task(use(box(pool), "backtrack"))
    await until(lambda: bool(pool.processes))
    pids = pool.processes
    told = await calling
    ticking.cancel()
    assert not told.ok and told.text == "gave up after 0.5 s"
    assert ticks > 5
    await gone(pids)
    unsure = await use(box(pool), "backtrack_effect")
    assert unsure.text == "gave up after 0.2 s; it may still have had its effect"


async def test_a_cancelled_job_kills_its_tool(pool: Pool) -> None:
    """Nothing is left burning behind a job that was cancelled, whenever that was."""
    brood = Brood()
    for pause in (0.0, 0.02, 0.4):
        calling = asyncio.create_task(use(box(pool), "sleep", "60"))
        await asyncio.sleep(pause)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    # What starts them is there for the next; it has none any more.
    await until(lambda: not brood.fruitful())


async def test_a_death_is_a_failure_of_one_call(pool: Pool) -> None:
    """A process that dies is told of in words; calls beside and after it go on."""
    beside = asyncio.create_task(use(box(pool), "sleep", "0.5"))
    told = await use(box(pool), "kill")
    assert not told.ok and "was killed (perhaps the machine ran out of memory)" in told.text
    assert (await beside).ok
    assert (await use(box(pool), "shout", "on")).text == "on"


async def test_whatever_goes_wrong_is_text(pool: Pool) -> None:
    """Refusals, bugs and memory are told as without processes; what a tool prints is not."""
    assert await use(box(pool), "refuse", "never") == Outcome("no, never", ok=False)
    assert (await use(box(pool), "break", "x")).text == "the tool broke: LookupError: x"
    assert (await use(box(pool), "eat")).text == "the tool ran out of memory"
    assert (await use(box(pool), "shout", "hello")).text == "hello"
    long = await use(box(pool), "much", most=1000)
    assert long.text.startswith("x" * 1000 + "\n[cut: 2999000 of 3000000")
    assert len(pool.processes) == 1  # none of this cost a process


async def test_no_secret_is_in_its_environment(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the node's own environment reaches a tool (invariant 9)."""
    monkeypatch.setenv("MY_PROVIDER_KEY", "sk-very-secret")
    told = (await use(box(pool), "environment")).text
    assert "secret" not in told and "MY_PROVIDER" not in told
    names = {line.partition("=")[0] for line in told.splitlines() if "=" in line}
    assert names <= {"PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}


async def test_background_work_has_the_lowest_priority(pool: Pool) -> None:
    """A background tool runs at the lowest priority, a chat's at the usual one, never in the
    same process."""
    low = (await use(box(pool, low=True), "priority")).text.split()
    usual = (await use(box(pool), "priority")).text.split()
    assert low[0] == "19" and usual[0] == str(os.getpriority(os.PRIO_PROCESS, 0))
    if hasattr(os, "SCHED_IDLE"):
        assert low[1] == str(os.SCHED_IDLE) and usual[1] == str(os.SCHED_OTHER)
    assert low[2] != usual[2]
    if (wish := _slice_ns(int(low[2]))) is not None:
        assert wish == 100_000_000 > (_slice_ns(int(usual[2])) or 0)


def _slice_ns(pid: int) -> int | None:
    """How long a turn at the processor a process wishes for; None where Linux does not know."""
    release = [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]]
    if sys.platform != "linux" or os.uname().machine != "x86_64" or release < [6, 12]:
        return None
    attr = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(315, pid, attr, 48, 0) == 0  # sched_getattr(2)
    return int(struct.unpack("=IIQiIQQQ", attr.raw)[5])


async def test_processes_are_used_again_and_ended_when_idle() -> None:
    """One after the other calls share a process; it ends when nothing is asked of it."""
    brood = Brood()
    pool = Pool(registry=REGISTRY, idle_s=0.5)
    first = (await use(box(pool), "sleep", "0")).text
    assert (await use(box(pool), "sleep", "0")).text == first
    pids = pool.processes
    assert len(pids) == 1
    await gone(pids)
    assert pool.processes == []
    await until(lambda: not brood.members())
    assert (await use(box(pool), "sleep", "0")).text != first
    await pool.aclose()


async def test_the_background_has_so_many_processes() -> None:
    """Of background calls only so many run at once; a chat's never waits for them."""
    pool = Pool(registry=REGISTRY, most=2)
    many = [asyncio.create_task(use(box(pool, low=True), "sleep", "60")) for _ in range(4)]
    await until(lambda: len(pool.processes) == 2)
    assert (await use(box(pool), "shout", "chat")).text == "chat"
    assert len(pool.processes) == 3 and not any(task.done() for task in many)
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)
    await until(lambda: len(pool.processes) == 1)
    await pool.aclose()


async def test_a_process_that_died_while_idle_is_not_used(pool: Pool) -> None:
    """What was killed between two calls costs the next call nothing."""
    first = (await use(box(pool), "sleep", "0")).text
    (pid,) = pool.processes
    os.kill(pid, 9)
    await asyncio.sleep(0.2)
    second = await use(box(pool), "sleep", "0")
    assert second.ok and second.text != first


def test_it_dies_with_its_node(tmp_path: Path) -> None:
    """A node that is killed leaves no tool burning behind."""
    script = (
        "import asyncio\n"
        "from tests.unit.agent.test_pool import *\n"
        "async def main():\n"
        f"    pool = Pool(registry={REGISTRY!r})\n"
        "    burning = asyncio.create_task(use(box(pool, low=True), 'backtrack'))\n"
        "    while not pool.processes: await asyncio.sleep(0.01)\n"
        "    await asyncio.sleep(0.5)\n"
        "    print(pool.processes[0], flush=True)\n"
        "    await burning\n"
        "asyncio.run(main())\n"
    )
    node = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    pid = int(node.stdout.readline())
    assert psutil.pid_exists(pid)
    node.kill()
    node.wait(10)
    until = time.monotonic() + 20
    while psutil.pid_exists(pid):
        assert time.monotonic() < until
        time.sleep(0.02)


async def test_every_tool_that_ships_runs_in_a_process(tmp_path: Path) -> None:
    """The tools give the same in a process as in a thread."""
    (tmp_path / "note.md").write_text("the shed key hangs by the door\n")
    pool = Pool()
    there, here = Toolbox(TOOLS, Context(tmp_path), pool), Toolbox(TOOLS, Context(tmp_path))
    for name, arguments in (
        ("list_files", "{}"),
        ("read_file", '{"path": "note.md"}'),
        ("read_file", '{"path": "../../etc/passwd"}'),
        ("search_files", '{"text": "shed"}'),
        ("host_facts", '{"about": "os"}'),
    ):
        tool, args = here.read(name, arguments)
        assert await there.call(tool, args, 6000) == await here.call(tool, args, 6000)
    assert len(pool.processes) == 1
    await pool.aclose()
