"""Work on another machine: a real ssh server on loopback."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from stead.agent.named import Peripheral
from stead.agent.tools.base import Context, Toolbox, ToolError
from stead.agent.tools.more_tools import with_more
from stead.agent.tools.ssh import SSH, SshArgs, options, preview, remote_command, touches
from stead.permit.words import Word
from tests import sshd
from tests.unit.agent.tools.hands import Hands, running, with_hands

T = TypeVar("T")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Machine]:
    with sshd.running(tmp_path_factory.mktemp("ssh")) as made:
        yield made


def known(machine: sshd.Machine) -> Peripheral:
    return Peripheral(
        "nas", "127.0.0.1", machine.user, machine.key, machine.known_hosts, machine.port
    )


def on(place: Path, peripheral: Peripheral, work: Callable[[Hands], Awaitable[T]]) -> T:
    """Run ``work`` with hands that know the machine as ``nas``."""

    async def run(hands: Hands) -> T:
        context = replace(hands.tools.context, peripherals={"nas": peripheral})
        hands.tools = Toolbox(with_more(hands.tools), context)
        return await work(hands)

    return with_hands(place, run)


def test_commands_over_one_connection(tmp_path: Path, machine: sshd.Machine) -> None:
    """Output, input and exit code come as from the shell here; one login serves all calls, and the
    end of the worker ends the connection."""
    before = machine.logins()

    async def work(hands: Hands) -> None:
        said = await hands.text("ssh", machine="nas", command="echo out; echo err >&2; exit 3")
        assert sorted(said.split("\n")) == ["[exit code 3]", "err", "out"]
        said = await hands.text("ssh", machine="nas", command="cat", stdin="given é\n")
        assert said == "given é\n[exit code 0]"
        assert "$HOME" in await hands.text("ssh", machine="nas", command="echo '$HOME'\"'\"'x'")

    on(tmp_path, known(machine), work)
    assert machine.logins() == before + 1
    assert running("ControlPersist=no") == []


def test_files(tmp_path: Path, machine: sshd.Machine) -> None:
    """A file is put as a whole, keeps its mode, goes through links, and comes back as it was;
    names can be anything."""
    place = tmp_path / "there"
    place.mkdir()
    file = place / "it's $(odd)\n.conf"
    file.write_text("old\n")
    file.chmod(0o640)
    (place / "link").symlink_to(file)

    async def work(hands: Hands) -> None:
        assert "old\n" in await hands.text("ssh", machine="nas", do="get", path=str(file))
        content = "new é\n" * 500
        said = await hands.text(
            "ssh", machine="nas", do="put", path=str(place / "link"), content=content
        )
        assert said.startswith("written: ")
        assert file.read_text() == content and file.stat().st_mode & 0o777 == 0o640
        assert (place / "link").is_symlink()
        assert sorted(path.name for path in place.iterdir()) == sorted([file.name, "link"])
        missing = await hands.text("ssh", machine="nas", do="get", path=str(place / "none"))
        assert "exit code 1" in missing

    on(tmp_path, known(machine), work)


def test_the_machine_itself_ends_what_takes_too_long(tmp_path: Path, machine: sshd.Machine) -> None:
    """At its limit the command ends there, not only here."""
    marker = f"remote-{time.monotonic_ns()}"

    async def work(hands: Hands) -> None:
        command = f"echo begun; sleep 600; : {marker}"
        said = await hands.text("ssh", machine="nas", command=command, seconds=1)
        assert "begun" in said and "ended by nas after 1 s" in said
        assert running(marker) == []

    on(tmp_path, known(machine), work)


def test_another_host_key(tmp_path: Path, machine: sshd.Machine) -> None:
    """A machine with another key than the one that was pinned is not talked to, nor is one without
    any; and it is said what that may mean."""
    kind, *_ = machine.known_hosts.read_text().split(" ", 1)
    other = tmp_path / "other"
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    other.write_text(f"{kind} ssh-ed25519 {key}\n")
    empty = tmp_path / "empty"
    empty.write_text("")
    before = machine.logins()

    async def work(hands: Hands) -> str:
        return await hands.error("ssh", machine="nas", command="true")

    for file in (other, empty):
        said = on(tmp_path, replace(known(machine), known_hosts=file), work)
        assert "Host key verification failed" in said and "only the owner can say" in said
    assert machine.logins() == before


def test_what_cannot_be_reached(tmp_path: Path, machine: sshd.Machine) -> None:
    """A closed port, a wrong key, files that are missing: each in words, nothing left running."""

    async def work(hands: Hands) -> str:
        return await hands.error("ssh", machine="nas", command="true")

    assert "cannot be reached" in on(tmp_path, replace(known(machine), port=1), work)
    gone = replace(known(machine), key=tmp_path / "gone.key")
    assert "gone.key is missing" in on(tmp_path, gone, work)
    with pytest.raises(ToolError, match="there are: none"):
        touches(SshArgs("nas", command="true"), Context(tmp_path))


def test_nothing_but_what_was_said(machine: sshd.Machine) -> None:
    """No agent, no forwarding, no questions, no key but its own; the owner is asked each time and
    shown the very command."""
    said = " ".join(options(known(machine)))
    for option in ("BatchMode=yes", "ClearAllForwardings=yes", "StrictHostKeyChecking=yes",
                   "IdentityAgent=none", "IdentitiesOnly=yes", "-F none", "-a -x"):  # fmt: skip
        assert option in said
    context = Context(Path("/w"), peripherals={"nas": known(machine)})
    args = SshArgs("nas", command="rm -rf /srv/old")
    assert "rm -rf /srv/old" in preview(args, context) and "127.0.0.1" in preview(args, context)
    told = touches(args, context)
    assert told.sends and told.commands == ("rm -rf /srv/old",) and told.hosts == ("127.0.0.1",)
    assert SSH.permission is Word.ASK
    for bad in (SshArgs("nas"), SshArgs("nas", do="get"), SshArgs("nas", command="a\0b")):
        with pytest.raises(ToolError):
            remote_command(bad)
