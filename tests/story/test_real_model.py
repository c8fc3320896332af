"""A real model, a real tool, a real figure."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import real
from tests.story.house import House, house_in

MODEL = "qwen2.5-coder-0.5b"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose local model is the 0.5B, fetched by the product's own code."""
    # One thread: with two, llama.cpp's threads wait for each other as soon as a test runs beside.
    for made in house_in(tmp_path, model=MODEL, more="[limits]\nanswer_tokens = 120\n"):
        settings = made.home / "stead.toml"
        settings.write_text(settings.read_text().replace("[model]", "[model]\nthreads = 1"))
        real.give(made.home, MODEL)
        yield made


@pytest.mark.real_model
def test_a_real_model_does_three_tasks_with_one_tool_each(house: House) -> None:
    """Asked for the free disk space, the agent with a real 0.5B model looks it up with its tool
    and answers with the figure that `shutil.disk_usage` gives. It tells what a file of the
    workspace says, and what the time is, in the same way."""
    workspace = house.home / "workspace"
    workspace.mkdir()
    (workspace / "todo.txt").write_text("Water the tomatoes.\n")
    (workspace / "garden").mkdir()
    house.start("gateway", "model", "node")
    house.until(house.ready, 20, "the gateway")

    # Asked at once: the answer waits for the model to load and says so.
    job_id = house.say("How much disk space is free on this machine?")
    story = house.ended(job_id, 240)

    assert story["job"]["state"] == "done", story["job"]["error"]
    assert "tool:host_facts" in [step["name"] for step in story["steps"]]
    answer = story["reply"]["text"]
    usage = shutil.disk_usage("/")
    figures = [float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", answer)]
    assert any(abs(figure - usage.free / 1e9) < 0.02 * usage.free / 1e9 for figure in figures), (
        answer,
        usage,
    )
    assert all(call["completion_tokens"] > 0 for call in story["calls"])

    # The other two are asked while the first may still be going on.
    file = house.say("Show todo.txt", session="file")
    clock = house.say("What time is it?", session="clock")
    story = house.ended(file, 240)
    assert "tool:read_file" in [step["name"] for step in story["steps"]], story
    assert "omatoes" in story["reply"]["text"]
    story = house.ended(clock, 240)
    (told,) = [step["output"] for step in story["steps"] if step["name"] == "tool:clock"]
    hour, minute = re.findall(r"(\d\d):(\d\d):\d\d", told)[0]
    said = re.findall(r"(\d{1,2}):(\d\d)", story["reply"]["text"])
    assert (int(hour) % 12, minute) in [(int(h) % 12, m) for h, m in said], story["reply"]
