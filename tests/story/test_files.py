"""Real work on files: a small project is edited, a film is cut, and all of it is taken back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.story.house import House


def tool(name: str, **args: Any) -> str:
    return f"[[tool {name} {json.dumps(args)}]]"


def picture(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_small_project_is_edited_and_all_of_it_undone(lived_in: House) -> None:
    """Files are made, edited, patched, moved and deleted by a job in its sandbox; the owner sees
    each change, and with everything still running takes the whole job back, and back again."""
    house = lived_in
    work = house.home / "workspace"
    (work / "shop").mkdir(parents=True)
    (work / "shop" / "price.py").write_text("def price(n):\n    return n * 2\n")
    (work / "shop" / "old.txt").write_text("to be deleted\n")
    before = picture(work)
    diff = (
        "--- a/shop/price.py\n+++ b/shop/price.py\n@@ -1,2 +1,3 @@\n def price(n):\n"
        "+    # gross\n     return n * 3\n"
        "--- /dev/null\n+++ b/shop/README\n@@ -0,0 +1 @@\n+A shop.\n"
    )
    job = house.say(
        " ".join(
            [
                tool("read_file", path="shop/price.py"),
                tool("edit_file", path="shop/price.py", old="n * 2", new="n * 3"),
                tool("write_file", path="shop/test_price.py", content="assert 3 == 1 * 3\n"),
                tool("more_tools", group="files"),
                tool("patch", patch=diff),
                tool("manage_files", action="move", path="shop/README", to="docs/README"),
                tool("manage_files", action="delete", path="shop/old.txt"),
                tool("write_file", path="../outside.txt", content="x"),
                "[[say Done.]] please edit",
            ]
        )
    )
    story = house.ended(job, 90)
    steps = [step for step in story["steps"] if step["name"].startswith("tool:")]
    assert story["reply"]["text"] == "Done."
    assert "outside the workspace" in str(steps[-1]["output"])
    after = picture(work)
    assert after == {
        "docs/README": b"A shop.\n",
        "shop/price.py": b"def price(n):\n    # gross\n    return n * 3\n",
        "shop/test_price.py": b"assert 3 == 1 * 3\n",
    }
    listed = json.loads(house.cli("undo", "list", "--job", job, "--json").stdout)["changes"]
    assert [change["tool"] for change in listed] == [
        "manage_files", "manage_files", "patch", "write_file", "edit_file",
    ]  # fmt: skip
    assert "-    return n * 2" in house.cli("undo", "show", listed[-1]["id"]).stdout
    done = house.cli("undo", "--job", job)
    assert done.returncode == 0, done.stderr
    assert picture(work) == before
    assert house.cli("undo", "--job", job, "--redo").returncode == 0
    assert picture(work) == after
    assert not (house.home / "outside.txt").exists()


@pytest.mark.skipif(
    shutil.which("ffmpeg") is None and "CI" not in os.environ, reason="no ffmpeg here"
)
def test_a_film_is_cut(lived_in: House) -> None:
    """A job cuts a film and takes stills out of it; a playlist in disguise reads nothing."""
    house = lived_in
    work = house.home / "workspace" / "film"
    work.mkdir(parents=True)
    source = ["-f", "lavfi", "-i", "testsrc=d=3:s=96x64:r=10", "-f", "lavfi", "-i", "sine=d=3"]
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", *source, "-pix_fmt", "yuv420p", str(work / "v.mp4")],
        check=True, timeout=120,
    )  # fmt: skip
    (work / "evil.mp4").write_text("#EXTM3U\n#EXTINF:9,\n/etc/passwd\n")
    job = house.say(
        " ".join(
            [
                tool("more_tools", group="media"),
                tool("media", action="cut", path="film/v.mp4", to="film/cut.mp4", start="1"),
                tool("media", action="probe", path="film/cut.mp4"),
                tool("media", action="frames", path="film/v.mp4", to="film/stills"),
                tool("media", action="probe", path="film/evil.mp4"),
                "[[say Cut.]] please cut",
            ]
        )
    )
    story = house.ended(job, 120)
    told = [str(step["output"]) for step in story["steps"] if step["name"] == "tool:media"]
    assert story["reply"]["text"] == "Cut."
    assert "2.0" in told[1]
    assert "96x64" in told[1]
    assert "could not be worked on" in told[3]
    assert len(os.listdir(work / "stills")) == 3
    assert house.cli("undo", "--job", job).returncode == 0
    assert sorted(os.listdir(work)) == ["evil.mp4", "v.mp4"]
