"""Unified diffs: as diff and git make them, as models write them, and those that do not fit."""

from __future__ import annotations

import difflib
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead.agent.files.hunks import apply, read
from stead.agent.files.text import Form, read_text
from stead.agent.files.tree import Refused
from tests.unit.agent.files.desk import Desk

OLD = "".join(f"line {n}\n" for n in range(1, 31))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (desk.work / "f.txt").write_text(OLD)
    (desk.work / "g.txt").write_text("one\ntwo\nthree\n")
    return desk


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "-- x", "++ y", " z", "@@"]), max_size=14)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINES, LINES, st.integers(0, 3), st.booleans())
def test_what_difflib_makes_fits(old: list[str], new: list[str], context: int, crlf: bool) -> None:
    """Any diff of two texts makes the one of the other, with Windows' line ends too."""
    if old == new:
        return
    diff = list(difflib.unified_diff(old, new, "a/f", "b/f", n=context, lineterm=""))
    text = "".join(f"{line}\n" for line in old)
    want = "".join(f"{line}\n" for line in new)
    if crlf and len(old) > 1:
        text, want = text.replace("\n", "\r\n"), want.replace("\n", "\r\n")
    (part,) = read("\n".join(diff) + "\n")
    made, notes = apply(part, text, read_text(text.encode())[1])
    assert made == want
    assert notes == []


def test_what_git_makes_fits(tmp_path: Path) -> None:
    """A diff by git over several files: changed, new, deleted, renamed, without a last line end."""
    work, other = tmp_path / "work", tmp_path / "other"
    for folder in (work, other):
        folder.mkdir()
        (folder / "a b.txt").write_text(OLD)
        (folder / "gone.txt").write_text("x\n")
        (folder / "old.txt").write_text(OLD + "tail")
    desk = Desk(tmp_path)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(other)]
    for more in (["init", "-q"], ["add", "."], ["commit", "-qm", "1"]):
        subprocess.run([*git, *more], check=True, capture_output=True)
    (other / "a b.txt").write_text(OLD.replace("line 3\n", "drei\n").replace("line 20\n", ""))
    (other / "gone.txt").unlink()
    (other / "new é.txt").write_text("new\nfile")
    (other / "old.txt").rename(other / "renamed.txt")
    (other / "renamed.txt").write_text(OLD.replace("line 9", "neun") + "tail\n")
    subprocess.run([*git, "add", "-A"], check=True)
    diff = subprocess.run(
        [*git, "diff", "--cached", "-M"], check=True, capture_output=True, text=True
    ).stdout
    before = desk.picture()
    desk.use("patch", patch=diff)
    files = {path.name: path.read_bytes() for path in other.iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in work.iterdir()} == files
    desk.undo()
    assert desk.picture() == before


def test_what_models_write_fits(desk: Desk) -> None:
    """Wrong numbers, none at all, lost blanks, a fence around it; what was needed is told."""
    told = desk.use(
        "patch",
        patch="```diff\n--- a/f.txt\n+++ b/f.txt\n@@ -3,9 +3,9 @@ def x\n line 9\n-line 10\n+ten\n"
        " line 11\n```\n",
    )
    assert "6 lines further down" in told
    told = desk.use(
        "patch", patch="--- f.txt\n+++ f.txt\n@@\n-line 12\n+twelve\n@@ @@\n-line 14\n+x"
    )
    assert "2 hunks" in told
    text = (desk.work / "f.txt").read_text()
    assert text.split("\n")[9:14] == ["ten", "line 11", "twelve", "line 13", "x"]
    told = desk.use(
        "patch",
        patch="--- a/f.txt\n+++ b/f.txt\n@@ -1,3 +1,3 @@\n line zero\n-line 1\n+eins\n line 2",
    )
    assert "without 1 lines" in told
    (desk.work / "g.txt").write_text("one  \n\ntwo\t\n")
    assert "but for blanks" in desk.use(
        "patch", patch="--- a/g.txt\n+++ b/g.txt\n@@ -1,3 +1,3 @@\n one\n\n-two\n+zwei\n"
    )
    assert (desk.work / "g.txt").read_text() == "one  \n\nzwei\n"


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ("hello", "no unified diff"),
        ("*** Begin Patch\n*** End Patch", "not a unified diff"),
        ("@@ -1 +1 @@\n-a\n+b", "does not name the file"),
        ("--- a/f.txt\n+++ b/f.txt\n@@ -1 +1 @@\n line 1\n", "changes nothing"),
        ("--- a/f.txt\n+++ b/f.txt\n@@ -1 +1 @@\n-line 99\n+b", "does not fit"),
        ("--- a/f.txt\n+++ b/f.txt\n@@\n+b", "no line to find its place"),
        ("--- a/no.txt\n+++ b/no.txt\n@@ -1 +1 @@\n-a\n+b", "there is no"),
        ("--- /dev/null\n+++ b/f.txt\n@@ -0,0 +1 @@\n+b", "already"),
        ("--- a/../secret\n+++ b/../secret\n@@ -1 +1 @@\n-a\n+b", "outside"),
        ("--- /dev/null\n+++ b/.git/hooks/x\n@@ -0,0 +1 @@\n+b", "git's own"),
        ("--- a/g.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n", "holds more"),
        ("diff --git a/x b/x\nBinary files a/x and b/x differ\n", "binary"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b", "names no file"),
    ],
)
def test_all_or_nothing(desk: Desk, patch: str, why: str) -> None:
    """What does not fit is refused, and what came before it in the diff has not happened."""
    (desk.top / "secret").write_text("a\n")
    before = desk.picture()
    good = "--- a/g.txt\n+++ b/g.txt\n@@ -2 +2 @@\n-two\n+zwei\n"
    if "g.txt" not in patch and why not in ("no unified diff", "not a unified diff"):
        assert why in desk.refused("patch", patch=good + patch) or "does not name" in why
    assert why in desk.refused("patch", patch=patch)
    assert desk.picture() == before
    assert (desk.top / "secret").read_text() == "a\n"


def test_without_numbers_a_place_must_be_the_only_one(desk: Desk) -> None:
    """A hunk that fits in two places is not put into the first of them."""
    (desk.work / "g.txt").write_text("x\ny\nx\n")
    why = desk.refused("patch", patch="--- a/g.txt\n+++ b/g.txt\n@@\n-x\n+z\n")
    assert "lines 1, 3" in why


def test_garbage_ends_well() -> None:
    """Whatever text it is, it is read or refused in words."""
    dice = random.Random(5)
    pieces = ["--- a/f\n", "+++ b/f\n", "@@ -1,3 +1,2 @@\n", " x\n", "-y\n", "+z\n", "\n", "@@\n",
              "diff --git a/f b/f\n", "rename from q\n", "\\ No newline\n", "--- \n", "+++ \n",
              "rename to \"\\q\n", "new file mode 1\n", "@@ -99999999999 +0 @@\n"]  # fmt: skip
    for _ in range(2000):
        text = "".join(dice.choices(pieces, k=dice.randint(1, 12)))
        try:
            for part in read(text):
                apply(part, "x\ny\n", Form())
        except (Refused, ValueError):
            pass
