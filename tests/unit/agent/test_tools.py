"""The first tools, and what every tool may rely on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from stead.agent.tools import TOOLS, toolbox
from stead.agent.tools.base import (
    Args,
    Context,
    Outcome,
    Tool,
    Toolbox,
    ToolError,
    ToolTwice,
    ToolUndeclared,
    args_schema,
    blocking,
    cut,
    fingerprint,
)
from stead.core.states import Effects, OnUnknown

MOST = 100_000


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A workspace with a secret right beside it."""
    (tmp_path / "secret.txt").write_text("the secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("the secret")
    place = tmp_path / "work"
    (place / "notes" / "deep").mkdir(parents=True)
    (place / "notes.md").write_text("# Notes\ncall the Plumber on Monday\n")
    (place / "notes" / "deep" / "plumber.txt").write_text("her number\n")
    (place / "empty.txt").write_text("")
    (place / "photo.jpg").write_bytes(b"\xff\xd8\0\0plumber" * 100)
    return (yield place)


def use(place: Path, name: str, *, most: int = MOST, **args: Any) -> Outcome:
    box = toolbox(place)
    tool, read = box.read(name, json.dumps(args))
    return asyncio.run(box.call(tool, read, most))


# --- what every tool may rely on ---------------------------------------------


class OddArgs(Args, frozen=True):
    word: str
    title: Literal["a", "b"] = "a"
    """An argument whose name is also a word of JSON Schema."""
    inner: tuple[int, ...] = ()


def tool(run: Any, **fields: Any) -> Tool[OddArgs]:
    silent = Tool(name="odd", about="", short="", args=OddArgs, run=blocking(run))
    return replace(silent, **{"effects": Effects.NONE, "on_unknown": OnUnknown.REPEAT, **fields})


def called(made: Tool[OddArgs], most: int = MOST) -> Outcome:
    box = Toolbox([made], Context(Path("/")))
    _, args = box.read("odd", '{"word": "x"}')
    return asyncio.run(box.call(made, args, most))


def test_one_definition_gives_schema_and_validation() -> None:
    """The schema is flat, refuses unknown arguments and keeps arguments of any name."""
    schema = args_schema(OddArgs, described=False)
    assert schema == {
        "type": "object",
        "properties": {
            "word": {"type": "string"},
            "title": {"enum": ["a", "b"]},
            "inner": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["word"],
        "additionalProperties": False,
    }


def test_registry() -> None:
    """Every tool is described, its schema is flat and strict, and names are unique."""
    assert len({tool.name for tool in TOOLS}) == len(TOOLS)
    for entry in TOOLS:
        assert re.fullmatch(r"[a-z_]{2,40}", entry.name)
        assert entry.about
        assert entry.short
        assert entry.schema()["additionalProperties"] is False
        assert "$ref" not in json.dumps(entry.schema())


@pytest.mark.parametrize("arguments", ["", "{}", '{"word": 1, "x": 2}', "[", "null", '"\ud800"'])
def test_wrong_arguments_say_what_is_expected(arguments: str) -> None:
    """The error holds what was sent and the schema, so that the model can correct itself."""
    box = Toolbox([tool(lambda a, c: "")], Context(Path("/")))
    with pytest.raises(ToolError, match=r'wrong arguments.*"required":\["word"\]'):
        box.read("odd", arguments)


def test_numbers_as_text_are_understood() -> None:
    """Models write "3" for 3; that is no reason to refuse."""
    _, args = toolbox(Path("/")).read("read_file", '{"path": "a", "from_line": "3"}')
    assert args == type(args)(path="a", from_line=3)


def test_output_is_capped_with_a_note() -> None:
    """Too much output is cut and says how much is missing; errors are capped too."""
    assert cut("abcdef", 6) == "abcdef"
    done = called(tool(lambda a, c: "x" * 5000, output_limit=1000))
    assert done.text == "x" * 1000 + "\n[cut: 4000 of 5000 characters left out]"
    assert len(called(tool(lambda a, c: "x" * 5000), most=300).text) < 400

    def broken(args: OddArgs, context: Context) -> str:
        raise ValueError("y" * 9000)

    done = called(tool(broken))
    assert not done.ok
    assert done.text.startswith("the tool broke: ValueError: yyy")
    assert len(done.text) < 7000


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ({"effects": None}, "its effects"),
        ({"on_unknown": None}, "on_unknown"),
        ({"effects": None, "on_unknown": None}, "its effects and what to do"),
        ({"on_unknown": "perhaps"}, "on_unknown"),
    ],
)
def test_a_tool_declares_its_effects_and_its_rule(missing: dict[str, Any], told: str) -> None:
    """There is no default by silence: the toolbox refuses a tool that does not say what it may
    change and what is to be done about an unknown outcome, and says which one and what."""
    silent = tool(lambda a, c: "", **missing)
    with pytest.raises(ToolUndeclared, match=told) as caught:
        Toolbox([tool(lambda a, c: "", name="fine"), silent], Context(Path("/nonexistent")))
    assert "'odd'" in str(caught.value)


def test_two_tools_of_one_name_are_refused() -> None:
    """The second would silently take the place of the first."""
    with pytest.raises(ToolTwice, match="odd"):
        Toolbox([tool(lambda a, c: "")] * 2, Context(Path("/nonexistent")))


def test_the_fingerprint_tells_versions_apart() -> None:
    """It is the same for the same tool, and another for each thing that decides about a call."""
    one: Any = tool(lambda a, c: "")
    other = [
        replace(one, version=2), replace(one, args=Args), replace(one, effects=Effects.OUTSIDE),
        replace(one, on_unknown=OnUnknown.FAIL), replace(one, name="even"),
    ]  # fmt: skip
    assert fingerprint(one) == fingerprint(tool(lambda a, c: "x"))
    assert len({fingerprint(tool) for tool in [one, *other]}) == 6


def test_a_tool_that_takes_too_long() -> None:
    """It is given up after its time, and the model learns that its effect is not certain."""

    async def wait(args: OddArgs, context: Context) -> str:
        await asyncio.Event().wait()
        return ""

    slow = replace(tool(lambda a, c: ""), run=wait, time_limit_s=0.01)
    assert called(slow) == Outcome("gave up after 0.01 s", ok=False)
    done = called(replace(slow, effects=Effects.OUTSIDE))
    assert done.text.endswith("it may still have had its effect")


# --- host facts and clock ----------------------------------------------------


def test_disk_figures_are_the_real_ones(workspace: Path) -> None:
    """The free space told is that of shutil.disk_usage, in GB of 10^9 bytes."""
    free = shutil.disk_usage("/").free / 1e9
    line = use(workspace, "host_facts", about="disk").text.split("\n")[0]
    found = re.search(r"([\d.]+) GB free of ([\d.]+) GB", line)
    assert found is not None
    assert abs(float(found[1]) - free) < 1


def test_host_facts_are_short(workspace: Path) -> None:
    """All facts together are few lines, one each; a small model reads them in a second or two."""
    text = use(workspace, "host_facts", about="all").text
    names = {line.split(":")[0].split(" ")[0] for line in text.split("\n")}
    assert {"disk", "memory", "cpu", "load", "uptime", "os"} <= names
    assert len(text) < 600
    assert use(workspace, "host_facts", about="cpu").text.startswith("cpu: ")


def test_clock(workspace: Path) -> None:
    """Weekday, date, time and zone in one line."""
    text = use(workspace, "clock").text
    assert re.match(r"\w+day, \d+ \w+ \d{4} \(\d{4}-\d\d-\d\d\), \d\d:\d\d:\d\d \(.+\)$", text)


# --- files -------------------------------------------------------------------


def test_list(workspace: Path) -> None:
    """Folders first, files with their sizes; a small model's ways of saying "here" are taken."""
    top = "notes/\nempty.txt 0 bytes\nnotes.md 35 bytes\nphoto.jpg 1.1 KB"
    for here in ("", ".", "/", "./", "workspace", "workspace/", str(workspace), "notes/.."):
        assert use(workspace, "list_files", path=here) == Outcome(top)
    assert use(workspace, "list_files", path="notes").text == "deep/"
    assert use(workspace, "list_files", path="workspace/notes").text == "deep/"
    assert "read_file" in use(workspace, "list_files", path="notes.md").text


def test_list_shows_a_way_back(workspace: Path) -> None:
    """A folder that is not there is answered with what is, for a model that only guessed."""
    for path in ("/home/your_username/workspace", "files", "../..", "a\0b"):
        done = use(workspace, "list_files", path=path)
        assert not done.ok
        assert done.text.endswith(
            "The workspace holds:\nnotes/\nempty.txt 0 bytes\nnotes.md 35 bytes\nphoto.jpg 1.1 KB"
        )


def test_list_many(workspace: Path) -> None:
    """A folder of thousands gives the first two hundred and the number of the rest."""
    for n in range(1, 1002):
        (workspace / "notes" / f"{n:04}").touch()
    text = use(workspace, "list_files", path="notes").text
    assert text.count("\n") == 200
    assert text.endswith("[802 more not shown]")


def test_read(workspace: Path) -> None:
    """Text comes as it is; nothing, a folder, a missing or a binary file is said in words."""
    assert use(workspace, "read_file", path="notes.md").text.startswith("# Notes\ncall")
    assert use(workspace, "read_file", path="notes.md", from_line=2).text.startswith("call")
    assert use(workspace, "read_file", path="empty.txt").text == "[the file is empty]"
    for path, words in (
        ("notes", "is a folder"),
        ("nope.md", "there is no 'nope.md'"),
        ("photo.jpg", "not text (1.1 KB of binary data)"),
        ("notes.md\0", "NUL"),
        ("x" * 5000, "File name too long"),
        ("notes.md/x", "there is no"),
    ):
        done = use(workspace, "read_file", path=path)
        assert not done.ok
        assert words in done.text
    assert "has only 2 lines" in use(workspace, "read_file", path="notes.md", from_line=9).text


def test_read_in_parts(workspace: Path) -> None:
    """A long file comes in parts that join without a gap, each within the limit."""
    lines = [f"line {n} é" for n in range(1, 2001)]
    (workspace / "long.txt").write_text("\n".join(lines))
    got: list[str] = []
    at = 1
    while True:
        text = use(workspace, "read_file", path="long.txt", from_line=at, most=2000).text
        assert len(text) <= 2000
        more = re.search(r"\n\[not all of [^;]+; go on with from_line=(\d+)\]$", text)
        got += (text[: more.start()] if more else text).split("\n")
        if more is None:
            break
        at = int(more[1])
        assert at == len(got) + 1
    assert got == lines


def test_read_huge(workspace: Path) -> None:
    """A sparse file of gigabytes, a gigantic line and a deep line cost little and end well."""
    with (workspace / "huge.bin").open("wb") as file:
        file.truncate(5_000_000_000)
    assert "5.0 GB of binary data" in use(workspace, "read_file", path="huge.bin").text
    with (workspace / "line.txt").open("w") as text:
        text.write("x" * 3_000_000)
    assert use(workspace, "read_file", path="line.txt").text.endswith("cannot be shown]")
    with (workspace / "sparse.txt").open("wb") as file:
        file.write(b"a\n" * 5000)
        file.truncate(200_000_000)
    done = use(workspace, "read_file", path="sparse.txt", from_line=9000)
    assert "too large" in done.text


def test_read_odd_files(workspace: Path) -> None:
    """A pipe does not hang the agent; what is no UTF-8 is taken for Windows' letters."""
    os.mkfifo(workspace / "pipe")
    assert "not an ordinary file" in use(workspace, "read_file", path="pipe").text
    (workspace / "latin.txt").write_bytes(b"caf\xe9")
    assert use(workspace, "read_file", path="latin.txt").text == "café"
    assert "pipe (not a file)" in use(workspace, "list_files").text
    assert use(workspace, "search_files", text="caf").ok


def test_search(workspace: Path) -> None:
    """Hits name file and line, whatever the case; names count; binary files do not."""
    text = use(workspace, "search_files", text="PLUMBER").text
    assert text.split("\n") == [
        "notes.md:2: call the Plumber on Monday",
        "notes/deep/plumber.txt (the name)",
    ]
    assert use(workspace, "search_files", text="number", path="notes/deep").text == (
        "notes/deep/plumber.txt:1: her number"
    )
    assert (
        "nothing found for 'zebra' in 4 files" in use(workspace, "search_files", text="zebra").text
    )
    assert not use(workspace, "search_files", text=" ").ok
    assert not use(workspace, "search_files", text="a", path="notes.md").ok


def test_search_is_bounded(workspace: Path) -> None:
    """Many hits, long lines and large files are cut short, and the result says so."""
    for n in range(30):
        (workspace / f"many{n}.txt").write_text(f"needle {'y' * 500}\n" * 20)
    text = use(workspace, "search_files", text="needle").text
    assert re.search(r"\[stopped at \d\d hits\]$", text)
    assert len(text) < 6000
    assert "more hits not shown" in text
    assert max(map(len, text.split("\n"))) < 200
    (workspace / "notes" / "large.txt").write_text("needle\n" * 400_000)
    text = use(workspace, "search_files", text="needle", path="notes").text
    assert "1 files over 2 MB not searched" in text


ESCAPES = [
    "../secret.txt",
    "../outside/secret.txt",
    "notes/../../secret.txt",
    "notes/deep/../../../secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "link.txt",
    "away/secret.txt",
    "chain",
    "workspace/../../secret.txt",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_nothing_outside_is_read(workspace: Path, path: str) -> None:
    """No way of writing a path and no link leads out of the workspace."""
    (workspace / "link.txt").symlink_to(workspace.parent / "secret.txt")
    (workspace / "away").symlink_to(workspace.parent / "outside")
    (workspace / "chain").symlink_to("link.txt")
    done = use(workspace, "read_file", path=path)
    assert not done.ok
    assert "outside the workspace" in done.text
    assert "the secret" not in done.text
    for folder in ("..", "/", "away", "../outside", "/etc"):
        listed = use(workspace, "list_files", path=folder).text
        assert "secret.txt" not in listed
        found = use(workspace, "search_files", text="secret", path=folder).text
        assert "the secret" not in found
        assert "root" not in listed


def test_links_inside_are_fine(workspace: Path) -> None:
    """A link that stays within the workspace works."""
    (workspace / "here.md").symlink_to("notes.md")
    assert use(workspace, "read_file", path="here.md").text.startswith("# Notes")


def test_a_link_put_there_after_the_check_leads_nowhere(workspace: Path) -> None:
    """Between check and opening a folder may be swapped for a link; it is not followed."""
    from stead.agent.tools.workspace import locate, open_inside

    context = Context(workspace)
    real, _ = locate(context, "notes/deep/plumber.txt")
    shutil.rmtree(workspace / "notes" / "deep")
    (workspace / "notes" / "deep").symlink_to(workspace.parent / "outside")
    (workspace.parent / "outside" / "plumber.txt").write_text("the secret")
    with pytest.raises(ToolError, match="cannot be opened"):
        open_inside(context, real)


def test_no_workspace_yet(tmp_path: Path) -> None:
    """A missing folder is said in words."""
    for name in ("list_files", "read_file"):
        done = use(tmp_path / "gone", name, path="a")
        assert done == Outcome(
            "the workspace folder does not exist yet, so it holds no files", ok=False
        )


def test_no_file_descriptor_is_left_open(workspace: Path) -> None:
    """Neither good nor bad calls leak descriptors."""
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        for path in ("", "notes.md", "notes/deep", "pipe", "../x"):
            use(workspace, "read_file", path=path)
            use(workspace, "list_files", path=path)
            use(workspace, "search_files", text="a", path=path)
    assert len(os.listdir("/dev/fd")) <= before
