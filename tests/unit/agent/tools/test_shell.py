"""Commands in sandboxes: what they print, how they end, what is left of them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stead.agent.spool import MOST
from stead.agent.tools import shell as shell_module
from stead.agent.tools.base import Context, Toolbox
from stead.agent.tools.read_output import READ_OUTPUT
from stead.agent.tools.shell import SHELL, ShellArgs, preview, touches
from stead.core.nouns import Limits
from tests.unit.agent.parts import InTurn, Say, attempt, call
from tests.unit.agent.tools.hands import Hands, running, with_hands


def shell(place: Path, command: str, **args: object) -> str:
    """What a command that goes well gives."""
    return with_hands(place, lambda hands: hands.text("shell", command=command, **args))


def refused(place: Path, command: str, **args: object) -> str:
    return with_hands(place, lambda hands: hands.error("shell", command=command, **args))


def test_output_and_exit_code(tmp_path: Path) -> None:
    """Both streams come in their order, with the exit code; a failing command is a result."""
    assert shell(tmp_path, "echo a; echo b >&2; echo c; exit 3") == "a\nb\nc\n[exit code 3]"
    assert shell(tmp_path, "true") == "[no output; exit code 0]"
    assert "SIGSEGV" in shell(tmp_path, "kill -SEGV $$")


def test_it_works_in_the_workspace(tmp_path: Path) -> None:
    """Files that are written are there afterwards, in a folder of the workspace if one is named."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "odd\nname").mkdir()
    shell(tmp_path, "pwd > here; cat > given", folder="odd\nname", stdin="é" * 100_000)
    place = tmp_path / "workspace" / "odd\nname"
    assert (place / "here").read_text().strip() == str(place)
    assert (place / "given").read_text() == "é" * 100_000


def test_folders_outside_are_refused(tmp_path: Path) -> None:
    """Neither ``..`` nor a link leads out of the workspace."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "out").symlink_to(tmp_path)
    for folder in ("..", "out", str(tmp_path)):
        assert "outside the workspace" in refused(tmp_path, "true", folder=folder)
    assert not (tmp_path / "new").exists()
    shell(tmp_path, "touch ../new; touch out/new; true")
    assert not (tmp_path / "new").exists()


def test_no_network(tmp_path: Path) -> None:
    """Where no host is asked for there is no network at all, not even loopback to the machine."""
    said = shell(tmp_path, "cat /proc/net/route | wc -l; ls /sys/class/net 2>/dev/null || echo lo")
    assert said == "1\nlo\n[exit code 0]"


def test_a_time_limit_ends_all_of_it(tmp_path: Path) -> None:
    """At its limit everything that a command started is gone, also what hid in a session of its
    own, and what was printed until then is told."""
    marker = f"hiding-{time.monotonic_ns()}"
    command = f"setsid sh -c 'sleep 1000; : {marker}' & echo begun; sleep 1000"
    said = refused(tmp_path, command, seconds=1)
    assert said.startswith("stopped after 1 s") and said.endswith("begun")
    assert running(marker) == []


def test_what_it_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """A daemon does not outlive its call, nor hold up its end."""
    marker = f"daemon-{time.monotonic_ns()}"
    assert "exit code 0" in shell(tmp_path, f"setsid sh -c 'sleep 1000; : {marker}' & echo ok")
    assert running(marker) == []


def test_cancelled_it_leaves_nothing(tmp_path: Path) -> None:
    """A job that is cancelled takes its command with it."""
    marker = f"cancelled-{time.monotonic_ns()}"

    async def work(hands: Hands) -> None:
        call = asyncio.ensure_future(
            hands.use("shell", command=f"touch begun; sleep 1000; : {marker}")
        )
        while not (hands.workspace / "begun").exists():  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait({call})
        assert running(marker) == []

    with_hands(tmp_path, work)


def test_a_long_output_shows_its_ends_and_can_be_read_on(tmp_path: Path) -> None:
    """Nothing of a long output is lost: what is left out is read page by page, to the byte."""
    lines = "".join(f"line {number} é\n" for number in range(3000))

    async def work(hands: Hands) -> None:
        (hands.workspace / "long").write_text(lines)
        shown = await hands.text("shell", command="cat long")
        assert len(shown) <= 8000
        head, _, rest = shown.partition("[... ")
        assert lines.startswith(head) and shown.endswith("line 2999 é\n[exit code 0]")
        upto = int(re.findall(r"id=p1 and from_byte=(\d+)", rest)[0])
        assert upto == len(head.encode())
        read = head
        while True:
            page = await hands.text("read_output", id="p1", from_byte=upto)
            text, _, note = page.rpartition("\n[")
            read += text
            if not note.startswith("go on"):
                break
            upto = int(re.findall(r"from_byte=(\d+)", note)[0])
        assert read == lines

    with_hands(tmp_path, work)


def test_a_secret_cannot_be_read_in_pieces(tmp_path: Path) -> None:
    """Wherever a page begins, a value that is hidden is hidden as a whole."""
    secret = "the-value-of-a-key"

    async def work(hands: Hands) -> None:
        context = replace(hands.tools.context, hide=lambda text: text.replace(secret, "[hidden]"))
        hands.tools = Toolbox(hands.tools, context)
        lines = "".join(f"line {n}\n" for n in range(400))
        (hands.workspace / "out").write_text(f"{lines}key={secret}\n{lines}")
        assert secret not in await hands.text("shell", command="cat out")
        begin = len(lines) + len("key=")
        for offset in range(begin - 2, begin + len(secret) + 2, 3):
            said = await hands.text("read_output", id="p1", from_byte=offset)
            assert not any(secret[at : at + 6] in said for at in range(len(secret) - 5)), offset
            assert "line 0" in said

    with_hands(tmp_path, work)


@pytest.mark.parametrize("source", ["yes 'and so on'", "head -c 1000000000 /dev/zero"])
def test_a_flood_is_stopped(tmp_path: Path, source: str) -> None:
    """Who prints without end is stopped; neither memory nor disk fill up, and it can be read."""

    async def work(hands: Hands) -> None:
        said = await hands.error("shell", command=source)
        assert f"printed more than {MOST // 1_000_000} MB" in said
        kept = sum(file.stat().st_size for file in (tmp_path / "keep").rglob("p*"))
        assert MOST <= kept < MOST + 100_000
        assert len(said) < 8000
        page = await hands.text("read_output", id="p1")
        assert "go on with from_byte" in page or "binary data, not shown" in page

    with_hands(tmp_path, work)


def test_binary_output_is_told_not_shown(tmp_path: Path) -> None:
    """A picture on the standard output is a size and its first bytes."""
    said = shell(tmp_path, r"printf '\x89PNG\r\n\x00'; head -c 5000 /dev/zero")
    assert said.startswith("[5007 bytes of binary data, not shown; they begin with 89 50 4e 47")


def test_what_only_a_terminal_understands_is_left_out(tmp_path: Path) -> None:
    """Colours, titles and lines that were written over are no text."""
    command = r"printf '\033]0;title\007\033[1;31mred\033[0m\n10%%\r50%%\rdone\n'"
    assert shell(tmp_path, command) == "red\ndone\n[exit code 0]"


def test_a_terminal_when_asked(tmp_path: Path) -> None:
    """With ``terminal`` a program finds one that is its own, and reads what it is given there."""
    command = "test -t 0 && test -t 1 && stty size && read -r x < /dev/tty && echo $x!"
    said = shell(tmp_path, command, terminal=True, stdin="typed\n")
    assert "50 160" in said and "typed!" in said
    assert shell(tmp_path, "test -t 0 || test -t 1 || echo none") == "none\n[exit code 0]"


def test_background_processes_live_between_calls(tmp_path: Path) -> None:
    """One is started, listed, written to, read on and stopped; its time goes on between."""

    async def work(hands: Hands) -> None:
        marker = f"server-{time.monotonic_ns()}"
        loop = f"echo up; while read -r x; do echo got $x; done; : {marker}"
        started = await hands.text("shell", command=loop, background=True)
        assert started.startswith("p1: still runs") and "\nup\n" in started
        said = await hands.text("processes", do="write", id="p1", text="one\n")
        assert said.startswith("p1: still runs")
        assert "got one" in await hands.text("read_output", id="p1")
        assert "p1: still runs" in await hands.text("processes", do="list")
        assert "p1: stopped" in await hands.text("processes", do="stop", id="p1")
        assert running(marker) == []
        assert "stopped" in await hands.text("processes", do="list")
        assert "p1: stopped" in await hands.error("processes", do="write", id="p1", text="x")

    with_hands(tmp_path, work)


def test_more_of_a_background_process_is_waited_for(tmp_path: Path) -> None:
    """A model need not ask again and again: the call returns when there is more, or at its end."""

    async def work(hands: Hands) -> None:
        command = "until [ -e go ]; do sleep 0.05; done; echo gone; sleep 0.1; exit 4"
        await hands.text("shell", command=command, background=True)
        call = asyncio.ensure_future(hands.text("read_output", id="p1", wait=60))
        await asyncio.sleep(0)
        (hands.workspace / "go").touch()
        assert "gone" in await call
        said = await hands.text("read_output", id="p1", from_byte=5, wait=60)
        assert "that is all of 5 bytes; p1: exit code 4" in said

    with_hands(tmp_path, work)


def test_looking_again_is_no_loop(tmp_path: Path) -> None:
    """A model that polls a process may, as long as there is something new; else it is a loop."""
    seen = iter(range(100))

    async def look(args: object, context: Context) -> str:
        return f"{min(next(seen), 5)} lines"

    tool = replace(READ_OUTPUT, run=look)
    box = Toolbox([tool], Context(tmp_path))
    says = [call("read_output", id="p1") for _ in range(8)]
    tried = attempt(InTurn(*says, Say("still running")), box, limits=Limits(steps=60))
    assert tried.result is not None
    offered = [bool(request.tools) for request in tried.model.asked]
    assert offered == [True] * 8 + [False], "six that are new, and two that say the same again"


def test_background_processes_end_with_their_job(tmp_path: Path) -> None:
    """The end of a job's attempt ends its processes and no others; the next attempt is told."""

    async def work(hands: Hands) -> None:
        mark = f"bg-{time.monotonic_ns()}"
        for job in ("one", "two"):
            hands.job = job
            await hands.text("shell", command=f"sleep 1000; : {mark}-{job}", background=True)
        await hands.tools.end("one")
        assert running(f"{mark}-one") == [] and running(f"{mark}-two") != []
        hands.job = "one"
        assert "start it again" in await hands.error("processes", do="stop", id="p1")
        hands.job = "elsewhere"
        assert "start them again" in await hands.error("read_output", id="p1")
        assert await hands.text("processes", do="list") == "no background processes"
        await hands.tools.aclose()
        assert running(mark) == []

    with_hands(tmp_path, work)


def test_a_background_process_has_a_time_limit(tmp_path: Path) -> None:
    """It cannot stay longer than was asked for."""

    async def work(hands: Hands) -> None:
        await hands.text("shell", command="sleep 1000", background=True, seconds=1)
        said = ""
        while "p1: stopped" not in said:
            await asyncio.sleep(0.05)
            said = await hands.text("processes", do="list")
        assert "p1: stopped at its time limit" in said

    with_hands(tmp_path, work)


def test_processes_are_not_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that starts server after server is told to stop one."""
    monkeypatch.setattr(shell_module, "MOST_BACKGROUND", 2)

    async def work(hands: Hands) -> None:
        async def start() -> str:
            return (await hands.use("shell", command="sleep 1000", background=True)).text

        said = [await start() for _ in range(3)]
        assert "stop one with `processes` first" in said[-1]
        await hands.text("processes", do="stop", id="p1")
        assert "still runs" in await start()

    with_hands(tmp_path, work)


def test_without_walls_nothing_runs(tmp_path: Path) -> None:
    """Where there is no sandbox a command is refused, in words, and not run outside of one."""

    async def work() -> str:
        bare = Toolbox([SHELL], Context(tmp_path))
        tool, args = bare.read("shell", '{"command": "touch here"}')
        outcome = await bare.call(tool, args, 4000)
        assert not outcome.ok
        return outcome.text

    assert "no sandboxes on this worker" in asyncio.run(work())
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("host", ["a b", "http://a.org", "a.org:99999", "", "a\0.org", "évil.org"])
def test_odd_hosts_are_refused(tmp_path: Path, host: str) -> None:
    """What is no name of a host opens nothing."""
    assert "is no host" in refused(tmp_path, "true", hosts=[host])


def test_what_rules_and_owner_are_told() -> None:
    """The network is asked for by name, and asked about; the preview holds the very command."""
    context = Context(Path("/w"))
    quiet = touches(ShellArgs("ls"), context)
    assert (quiet.commands, quiet.sends, quiet.writes) == (("ls",), False, (Path("/w"),))
    loud = ShellArgs("curl a.org", hosts=["A.org:8080"])
    told = touches(loud, context)
    assert (told.code, told.sends, told.foreign, told.hosts) == (True, True, True, ("a.org",))
    assert "curl a.org" in preview(loud, context) and "A.org" in preview(loud, context)
    assert "no network" in preview(ShellArgs("ls"), context)


def test_a_full_disk_costs_the_middle_of_an_output(tmp_path: Path) -> None:
    """Where an output cannot be kept its ends are shown, and why the rest cannot be read."""
    code = f"""
import resource
from pathlib import Path
from stead.agent.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
spool = Spool(Path({str(tmp_path)!r}), "job", "p1")
for number in range(30_000):
    spool.add(b"line %d\\n" % number)
print(spool.text(2000))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("line 0\n") and "line 29999" in done.stdout
    assert "it could not be kept: File too large" in done.stdout


def test_a_command_that_no_shell_takes(tmp_path: Path) -> None:
    """Too long, or with a NUL in it: told, not raised."""
    for command in ("echo " + "x" * 200_000, "echo \0"):
        assert "too long" in refused(tmp_path, command)


def test_the_schema_is_closed() -> None:
    """A model that invents arguments is told which there are."""
    schema = SHELL.schema()
    assert schema["required"] == ["command"] and schema["additionalProperties"] is False
    assert json.dumps(schema) and replace(SHELL, name="other").args is ShellArgs
