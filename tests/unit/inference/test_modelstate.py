"""The state of the local model as other processes read it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stead.inference import modelstate
from stead.inference.modelstate import ModelState
from tests.unit.inference.parts import until


def test_state_comes_back_as_written(tmp_path: Path) -> None:
    """A living process's state is read as it was written, readable by its owner only."""
    state = ModelState("ready", model="m", url="http://127.0.0.1:1/v1", context=99, since=2.5)
    modelstate.write(tmp_path, state)
    read = modelstate.read(tmp_path)
    assert read == replace(state, pid=os.getpid(), born=read.born)
    assert modelstate.path(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"", b'{"phase": "rea', b"[]", b'{"model": "x"}'])
def test_missing_or_torn_file_is_stopped(tmp_path: Path, content: bytes | None) -> None:
    """Whatever is not a whole state reads as stopped."""
    if content is not None:
        modelstate.path(tmp_path).parent.mkdir()
        modelstate.path(tmp_path).write_bytes(content)
    assert modelstate.read(tmp_path) == ModelState("stopped")


@pytest.mark.parametrize("phase", ["fetching", "loading", "ready"])
def test_crash_leaves_no_stale_state(tmp_path: Path, phase: str) -> None:
    """A process that ended without a word reads as stopped, and says during what."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    modelstate.write(tmp_path, ModelState(phase, model="m", url="u", pid=ended.pid))
    read = modelstate.read(tmp_path)
    assert (read.phase, read.url, read.pid, read.model) == ("stopped", "", 0, "m")
    assert phase in read.why
    assert modelstate.read_last(tmp_path).phase == phase


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_zombie_counts_as_dead(tmp_path: Path) -> None:
    """A process that died but was not yet collected by its parent is not ready."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    modelstate.write(tmp_path, ModelState("ready", pid=child.pid))
    assert modelstate.read(tmp_path).phase == "ready"
    child.kill()
    assert until(lambda: modelstate.read(tmp_path).phase == "stopped", 10)
    child.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_another_process_with_the_same_number_is_not_it(tmp_path: Path) -> None:
    """After a reboot the number may belong to somebody else: the start time tells them apart."""
    modelstate.write(tmp_path, ModelState("ready", model="m"))
    file = modelstate.path(tmp_path)
    born = modelstate.read(tmp_path).born
    file.write_bytes(file.read_bytes().replace(str(born).encode(), str(born - 1).encode()))
    assert modelstate.read(tmp_path).phase == "stopped"


@pytest.mark.parametrize("phase", ["off", "missing", "failed", "stopped"])
def test_final_words_outlive_their_process(tmp_path: Path, phase: str) -> None:
    """Why there is no model stays readable after the process that found out."""
    modelstate.write(tmp_path, ModelState(phase, model="m", why="because", pid=1))
    read = modelstate.read(tmp_path)
    assert (read.phase, read.why, read.pid) == (phase, "because", 0)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            ModelState("fetching", model="m", done=412_000_000, total=1_117_320_768),
            "model m: fetching 412 of 1117 MB (36%)",
        ),
        (
            ModelState("fetching", model="m", total=5_000_000, why="another process does it"),
            "model m: fetching 0 of 5 MB (0%), another process does it",
        ),
        (ModelState("loading", model="m"), "model m: loading into memory"),
        (
            ModelState("loading", model="m", done=1_000_000, total=2_000_000),
            "model m: checking its file, 1 of 2 MB (50%)",
        ),
        (ModelState("ready", model="m"), "model m is ready"),
        (ModelState("failed", model="m", why="It broke."), "It broke."),
        (ModelState("stopped"), "the local model is not running"),
        (ModelState("off"), "no local model is wanted (model.local is off)"),
    ],
)
def test_words(state: ModelState, words: str) -> None:
    """Every phase has one plain sentence."""
    assert modelstate.words(state) == words
