"""The spool: what was durable stays, whatever happens to the process or the disk."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import Future
from pathlib import Path

import pytest

from stead.core.errors import HomeUnusable
from stead.core.nouns import Step, Trouble
from stead.core.states import Failure, StepState
from stead.core.wire import Event, Events, Finish
from stead.node.spool import FILE, Spool, from_line, to_line


def report(number: int, text: str = "") -> Events:
    step = Step(number, "tool:clock", "0" * 64, StepState.DONE, output=text or f'"{number}"')
    return Events(f"report-{number}", "job", 1, [Event(number, "step", step=step)])


def fill(folder: Path, count: int) -> list[Events]:
    """A spool with ``count`` reports in it, closed."""
    reports = [report(number) for number in range(1, count + 1)]
    spool = Spool(folder)
    for written in [spool.append(one) for one in reports]:
        written.result(5)
    spool.close()
    return reports


def left(folder: Path) -> list[Events | Finish]:
    spool = Spool(folder)
    try:
        return list(spool.left)
    finally:
        spool.close()


def test_a_line_keeps_a_report_whole() -> None:
    """Every kind of report is read back as it was written."""
    trouble = Trouble(Failure.RATE_LIMIT, 'zu viel\n"auf einmal" \u2028 \U0001f600')
    for one in (report(7), Finish("f", "job", 3, "failed", "x" * 100_000, trouble=trouble)):
        line = to_line(one)
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        assert from_line(line[:-1]) == one


def test_reports_survive_in_order(tmp_path: Path) -> None:
    """What was appended and not acknowledged is there at the next start, in the same order."""
    reports = fill(tmp_path, 20)
    assert left(tmp_path) == reports


def test_acknowledged_reports_are_gone_and_the_file_is_empty(tmp_path: Path) -> None:
    """The spool deletes what was acknowledged, and only that; empty again, it takes no room."""
    spool = Spool(tmp_path)
    for number in (1, 2, 3):
        spool.append(report(number)).result(5)
    spool.acknowledge(["report-1", "report-3", "never-heard-of"])
    spool.append(report(4)).result(5)
    assert (tmp_path / FILE).stat().st_size > 0
    spool.acknowledge(["report-2", "report-4"])
    spool.close()
    assert (tmp_path / FILE).stat().st_size == 0
    assert left(tmp_path) == []


def test_compaction_keeps_what_is_alive(tmp_path: Path) -> None:
    """The file does not grow with what was acknowledged, and the rest stays in order."""
    spool = Spool(tmp_path, compact_bytes=10_000)
    spool.append(report(0)).result(5)
    for number in range(1, 200):
        spool.append(report(number, '"' + "x" * 500 + '"')).result(5)
        if number < 198:
            spool.acknowledge([f"report-{number}"])
    spool.append(report(200)).result(5)
    assert (tmp_path / FILE).stat().st_size < 30_000
    spool.close()
    ids = [one.id for one in left(tmp_path)]
    expected = ["report-0", "report-198", "report-199", "report-200"]
    assert [id for id in ids if id in expected] == expected


def test_torn_at_every_byte(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a crash tears the file, every whole report before is kept, the rest set aside."""
    reports = [Events(f"r{number}", "j", 1, [Event(1, "note", "x")]) for number in (1, 2)]
    spool = Spool(tmp_path / "a")
    for one in reports:
        spool.append(one).result(5)
    spool.close()
    monkeypatch.setattr("os.fsync", lambda fd: None)  # a thousand starts; the disk is not the point
    raw = (tmp_path / "a" / FILE).read_bytes()
    ends = [at for at, byte in enumerate(raw) if byte == ord("\n")]
    caplog.set_level(logging.CRITICAL, "stead.node")
    for length in range(len(raw)):
        folder = tmp_path / f"torn-{length}"
        folder.mkdir()
        (folder / FILE).write_bytes(raw[:length])
        # A line that lacks nothing but its newline is whole: the checksum says so.
        whole = sum(1 for end in ends if end <= length)
        assert left(folder) == reports[:whole], length
        torn = raw[:length][(ends[whole - 1] + 1 if whole else 0) :]
        aside = list(folder.glob("damaged-*"))
        assert [path.read_bytes() for path in aside] == ([torn + b"\n"] if torn else [])
        if length % 7:
            continue
        # And the file is fit for use again.
        spool = Spool(folder)
        spool.append(report(99)).result(5)
        spool.close()
        assert left(folder) == [*reports[:whole], report(99)]


def test_damage_in_the_middle_costs_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped bit takes its own report only; the log says what happened and where it is."""
    reports = fill(tmp_path, 5)
    path = tmp_path / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    broken = bytearray(lines[2])
    broken[40] ^= 1
    path.write_bytes(b"".join([*lines[:2], bytes(broken), *lines[3:]]))
    assert left(tmp_path) == [*reports[:2], *reports[3:]]
    assert next(tmp_path.glob("damaged-*")).read_bytes() == bytes(broken)
    assert "set aside in damaged-" in caplog.text and "4 whole report(s)" in caplog.text


def test_kill_9_loses_nothing_that_was_durable(tmp_path: Path) -> None:
    """After kill -9 in the middle of appending, every report whose append returned is there."""
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tests.unit.node.test_spool import report
        from stead.node.spool import Spool
        spool = Spool(Path(sys.argv[1]))
        for number in range(1, 100000):
            spool.append(report(number, '"' + "y" * 3000 + '"')).result()
            print(number, flush=True)
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    durable = 0
    for line in child.stdout:
        durable = int(line)
        if durable == 30:
            os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert durable >= 30
    assert [one.id for one in left(tmp_path)][:durable] == [
        f"report-{number}" for number in range(1, durable + 1)
    ]


def test_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    """A report that does not fit is refused whole; those before and after it are safe."""
    spool = Spool(tmp_path)
    spool.append(report(1)).result(5)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.path.stat().st_size + 100, limit[1]))
    try:
        failed = spool.append(report(2, '"' + "z" * 4000 + '"'))
        assert isinstance(failed.exception(5), OSError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    spool.append(report(3)).result(5)
    spool.close()
    assert left(tmp_path) == [report(1), report(3)]


def test_appends_at_once_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred reports at the same time cost a few waits for the disk, not a hundred."""
    spool = Spool(tmp_path)
    real, count = os.fsync, 0

    def counting(fd: int) -> None:
        nonlocal count
        count += 1
        real(fd)

    monkeypatch.setattr("stead.node.spool.os.fsync", counting)
    written: list[Future[None]] = [spool.append(report(number)) for number in range(100)]
    for one in written:
        one.result(5)
    monkeypatch.undo()
    spool.close()
    assert count < 50
    assert len(left(tmp_path)) == 100


def test_two_processes_never_share_it(tmp_path: Path) -> None:
    """The second one is told who has it and changes nothing."""
    reports = fill(tmp_path, 2)
    spool = Spool(tmp_path)
    try:
        with pytest.raises(HomeUnusable, match=f"process {os.getpid()}"):
            Spool(tmp_path)
    finally:
        spool.close()
    assert left(tmp_path) == reports


def test_a_folder_that_cannot_be_used_is_said_in_words(tmp_path: Path) -> None:
    """A file in the place of the folder gives a sentence, not a traceback."""
    (tmp_path / "spool").write_text("not a folder")
    with pytest.raises(HomeUnusable, match="cannot be used"):
        Spool(tmp_path / "spool")


def test_a_refused_report_is_kept_for_people(tmp_path: Path) -> None:
    """What the gateway will never take leaves the spool, but not the disk."""
    spool = Spool(tmp_path)
    spool.append(report(1)).result(5)
    spool.refuse("report-1", "too large\nreally")
    spool.close()
    assert left(tmp_path) == []
    kept = (tmp_path / "refused.jsonl").read_bytes().splitlines()
    assert b"too large really" in kept[0]
    assert from_line(kept[1]) == report(1)
