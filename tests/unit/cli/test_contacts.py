"""`stead contacts` as an owner uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stead.cli.main import cli


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *words: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), "contacts", *words], input=stdin)


def asked(home: Path, *words: str, stdin: bytes = b"") -> Any:
    result = run(home, *words, "--json", stdin=stdin)
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


CARDS = b"".join(
    f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{name}\r\nEMAIL:{mail}\r\nEND:VCARD\r\n".encode()
    for name, mail in (("Anna Berg", "a@x.org"), ("Bob Maier", "a@x.org"))
)


def test_in_and_out(home: Path, tmp_path: Path) -> None:
    """Import from a pipe, a dry run first, list, export to a file, undo."""
    assert asked(home, "import", "-", "--dry-run", stdin=CARDS)["new"] == 2
    assert asked(home, "list") == []
    told = asked(home, "import", "-", stdin=CARDS + b"BEGIN:VCARD\nrubbish\nEND:VCARD\n")
    assert told["new"] == 2 and told["bad_count"] == 1
    assert "Anna Berg" in run(home, "list").stdout
    out = tmp_path / "out.vcf"
    assert run(home, "export", "-o", str(out), "--vcard", "4.0").exit_code == 0
    assert out.read_bytes().count(b"VERSION:4.0") == 2
    assert b"FN:Bob Maier" in run(home, "export", "Bob").stdout_bytes
    run(home, "undo", "--batch", told["batch"])
    assert asked(home, "list") == []


def test_a_person_s_life(home: Path) -> None:
    """Add, note, follow up, due, done, merge, split, remove, undo."""
    asked(home, "add", "Anna Berg", "--email", "a@x.org", "--phone", "+49 171 1", "--org", "Acme")
    asked(home, "add", "A. Berg", "--email", "b@x.org")
    run(home, "note", "Anna Berg", "likes tea")
    run(home, "follow-up", "Anna Berg", "call back", "--on", "2020-01-02")
    run(home, "follow-up", "Anna Berg", "write", "--on", "in 3d")
    assert [one["value"] for one in asked(home, "due")] == ["call back"]
    assert [one["value"] for one in asked(home, "due", "--days", "9")] == ["call back", "write"]
    shown = run(home, "show", "a@x.org").stdout
    assert "likes tea" in shown and "due 2020-01-02" in shown and "knowledge/contacts/" in shown
    assert run(home, "follow-up", asked(home, "due")[0]["id"], "--done").stdout.startswith("Done")
    assert "Nothing is due" in run(home, "due").stdout
    assert asked(home, "merge", "Anna Berg", "A. Berg")["aliases"] == ["A. Berg"]
    assert len(asked(home, "show", "Anna Berg")["addresses"]) == 3
    assert len(asked(home, "split", "Anna Berg")) == 2
    done = asked(home, "remove", "A. Berg")
    assert [one["name"] for one in asked(home, "list")] == ["Anna Berg"]
    run(home, "undo", done["id"])
    assert len(asked(home, "list")) == 2


def test_who_may_be_one_is_proposed(home: Path) -> None:
    """With the reason."""
    run(home, "import", "-", stdin=CARDS)
    said = run(home, "merge").stdout
    assert "Anna Berg" in said and "an address in common: a@x.org" in said
    assert run(home, "merge", "Anna Berg").exit_code == 2
    assert run(home, "follow-up", "Anna Berg").exit_code == 2


def test_without_a_server_sync_says_how(home: Path) -> None:
    """And an address that is none is refused."""
    assert "stead contacts sync URL" in run(home, "sync").stdout
    assert "no http or https" in str(run(home, "sync", "ftp://x/y").exception)
