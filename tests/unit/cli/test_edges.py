"""The commands at the edges of a shell: closed streams, full disks, odd bytes, wrong modes."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from stead.store.sqlite import SqliteStore
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import JOB, MESSAGE, Gateway

STEAD = f"{sys.executable} -m stead.cli.main"
END = {
    "state": "done", "text": "Hello", "job_id": JOB, "message_id": MESSAGE, "waited_ms": 1,
    "worked_ms": 1, "usage": {},
}  # fmt: skip


def _shell(line: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["where", "ask hi", "jobs"])
def test_closed_streams(gateway: Gateway, home: Path, command: str, closed: str) -> None:
    """A stream that the caller closed is as good as /dev/null: no noise, and the true exit code."""
    gateway.events = [("end", END)]
    gateway.answers["/api/v1/jobs"] = {"jobs": [], "more": False}
    done = _shell(f"{STEAD} {command} {closed}")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr


def test_no_file_gets_the_number_of_a_closed_stream(home: Path) -> None:
    """What is opened later is never where somebody prints to."""
    program = (
        "import os; from stead.cli.main import main; main(['version']);"
        f"fd = os.open({str(home / 'stead.toml')!r}, os.O_RDONLY); os._exit(0 if fd > 2 else 9)"
    )
    done = _shell(f'{sys.executable} -c "{program}" <&- >&- 2>&-')
    assert done.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("command", ["where", "ask hi", "ask --json hi"])
def test_a_full_disk_below_the_output(gateway: Gateway, home: Path, command: str) -> None:
    """Output that cannot be written is one sentence and exit code 1."""
    gateway.events = [("end", END)]
    done = _shell(f"{STEAD} {command} >/dev/full")
    assert done.returncode == 1
    assert b"No space left" in done.stderr and done.stderr.count(b"\n") == 1, done.stderr


def test_words_that_are_no_utf8(gateway: Gateway, home: Path) -> None:
    """Bytes of another encoding on the command line are sent as well as can be, never a crash."""
    gateway.events = [("end", END)]
    command = [*STEAD.split(), "ask", "--session"]
    done = subprocess.run(
        [*(word.encode() for word in command), b"s\xff", b"na\xefve", "漢字".encode()],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(gateway.messages.values()) == ["na\ufffdve 漢字"]


@pytest.mark.parametrize(
    "args", [["why", "\udcff\udcfe\udcfd\udcfc\udcfb\udcfa"], ["where", "\udcff"]]
)
def test_ids_that_are_no_utf8(run: Run, gateway: Gateway, args: list[str]) -> None:
    """They name nothing, and that is what is said."""
    result = run(*args)
    assert result.code == 1
    assert "Traceback" not in result.err and result.err


def test_an_empty_home(run: Run) -> None:
    """`--home "$UNSET"` is misuse: the working directory is never made a home by accident."""
    result = run("--home", "", "config", "path")
    assert result.code == 2
    assert "empty" in result.err


def test_home_of_the_user(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--home=~/x` means the user's home, though no shell has said so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("--home=~/x", "config", "path").out == f"{tmp_path}/x/stead.toml\n"


def test_what_may_not_be_read(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any file that cannot be read is named in one sentence."""
    (home / "logs" / "gateway.jsonl").mkdir()
    result = run("logs")
    assert result.code == 1
    assert "gateway.jsonl" in result.err and result.err.count("\n") == 1


def test_damage_in_the_middle_of_the_database(run: Run, home: Path) -> None:
    """Without a gateway too, a damaged database is named, with what to do."""
    path = home / "state.db"
    SqliteStore(path, home / "backups").close()
    with apsw.Connection(str(path)) as database:
        page = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'job'").get
        size = database.pragma("page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xab" * size)
    for command in (("jobs",), ("why", "abcdef")):
        result = run(*command)
        assert result.code != 0
        assert "damaged" in result.out + result.err, result


def test_logs_that_none_fits(run: Run, home: Path) -> None:
    """`logs` says that nothing was logged only where nothing was."""
    (home / "logs" / "node.jsonl").write_text('{"at":"2026","level":"info","msg":"x"}\n')
    assert "of this part and level" in run("logs", "--level", "error").err
    assert "yet" not in run("logs", "-n", "0").err


def test_a_terminal_is_not_at_the_answers_command(gateway: Gateway, home: Path) -> None:
    """What a model says cannot move the cursor or rename the window of who asked; a program
    that reads the answer gets it unchanged."""
    evil = "a\x1b]0;gotcha\x07b\x9bc"
    gateway.events = [("token", {"text": evil}), ("end", {**END, "text": evil})]
    piped = subprocess.run(
        [*STEAD.split(), "ask", "hi"],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert piped.stdout.decode() == evil + "\n"

    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*STEAD.split(), "ask", "hi"],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, check=False, timeout=60,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert done.returncode == 0
    assert shown.strip() == "a␛]0;gotcha␇b\ufffdc"


def test_chat_reads_any_bytes(gateway: Gateway, home: Path) -> None:
    """A line that is no UTF-8 does not end the conversation."""
    gateway.events = [("end", END)]
    done = subprocess.run(
        [*STEAD.split(), "chat"], input=b"caf\xe9\n/quit\n", capture_output=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(gateway.messages.values()) == ["caf\ufffd"]


def test_a_body_that_is_refused_unread(run: Run, home: Path) -> None:
    """A gateway that takes no body so large says so at once, and the message is not sent again
    and again."""
    answer = b'{"error": {"message": "The request body is larger than allowed."}}'
    head = b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    taken: list[bytes] = []

    def refuse(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection.recv(1000))
                connection.sendall(head % len(answer) + answer)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (home / "stead.toml").write_text(f'listen = "127.0.0.1:{port}"\n')
        threading.Thread(target=refuse, args=(listener,), daemon=True).start()
        result = run("ask", stdin="a" * 20_000_000)
    assert (result.code, result.err) == (1, "The request body is larger than allowed.\n")
    assert len(taken) == 1
