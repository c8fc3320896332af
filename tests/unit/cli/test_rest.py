"""The commands that set up and talk: config, key, node, chat; and how the program ends."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stead import __version__
from stead.cli.main import COMMANDS, cli
from stead.config import load
from stead.core.keys import read_key
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import JOB, KEY, Gateway


def test_version(run: Run) -> None:
    """The version is one line, or JSON."""
    assert run("version").out == f"stead {__version__}\n"
    assert json.loads(run("version", "--json").out)["stead"] == __version__


def test_help_loads_no_command(home: Path) -> None:
    """The help of the whole lists every command without loading one, nor the gateway's parts."""
    program = (
        "import sys; from stead.cli.main import main; main(['--help']);"
        "print([m for m in sys.modules if m.startswith('stead.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    for name, (_, line) in COMMANDS.items():
        assert name in done.stdout
        assert line in done.stdout
    assert "stead.cli.ask" not in done.stdout
    for heavy in ("stead.app", "stead.gateway", "stead.inference", "stead.agent"):
        assert f"'{heavy}" not in done.stdout


def test_asking_loads_little(home: Path, gateway: Gateway) -> None:
    """A command that only asks the gateway loads neither the settings nor what is slow to load."""
    gateway.answers["/api/v1/status"] = {"works": ["it works"]}
    program = (
        "import sys; from stead.cli.main import main; main(['status', *sys.argv[1:]]);"
        "print(*sys.modules, sep='\\n')"
    )
    for given in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *given],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert "it works" in done.stdout
        loaded = {*done.stdout.splitlines()}
        assert "stead.cli.status" in loaded
        slow = {"msgspec", "asyncio", "ssl", "http.client", "dataclasses", "stead.config.settings"}
        assert not slow & loaded


def test_a_fault_elsewhere_is_the_gateways_to_tell(
    run: Run, gateway: Gateway, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of stead.toml that leaves no doubt where the gateway is keeps nobody from asking one
    that runs. Where none does, or where it could be another one, the fault is told."""
    file = home / "stead.toml"
    sound = file.read_text()
    gateway.answers["/api/v1/jobs"] = {"jobs": []}
    file.write_text(f"{sound}nonsense = 1\n")
    assert run("jobs").code == 0
    file.write_text(sound.replace('"\n', '0000"\n'))
    result = run("jobs")
    assert result.code == 1 and "listen" in result.err
    file.write_text(f"{sound}[node]\ngateway = 3\n")
    result = run("jobs")
    assert result.code == 1 and "node.gateway" in result.err
    assert run("status").code == 1  # asked all the same; this gateway knows no status
    file.write_text(f"{sound}[node\n")
    result = run("jobs")
    assert result.code == 1 and "not TOML" in result.err
    file.write_text('listen = "127.0.0.1:1"\nnonsense = 1\n')
    for command in (["jobs"], ["ask", "hi"]):
        result = run(*command)
        assert result.code == 1 and "nonsense (line 2)" in result.err, result
    monkeypatch.setenv("STEAD_LISTEN", "nowhere")
    for name in ("jobs", "status"):
        result = run(name)
        assert result.code == 1 and "STEAD_LISTEN: 'nowhere' is not an address" in result.err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "model"])
def test_every_command_has_help(run: Run, name: str) -> None:
    """Every command is there and explains itself."""
    result = run(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: stead {name}")


@pytest.mark.parametrize(
    "args", [["nonsense"], ["jobs", "--state", "odd"], ["why"], ["ask", "--x"]]
)
def test_misuse(run: Run, args: list[str]) -> None:
    """A command line that makes no sense is exit code 2, on stderr."""
    result = run(*args)
    assert (result.code, result.out) == (2, "")
    assert "Usage: stead" in result.err


def test_broken_pipe_is_quiet(home: Path) -> None:
    """A reader that has seen enough (`stead where | head -1`) causes no noise."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "stead.cli.main", "where"],
        stdout=write, stderr=subprocess.PIPE, check=False, timeout=30,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_no_color(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is heeded."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli is not None
    assert "\x1b" not in run("where").out


def test_home_option(run: Run, tmp_path: Path) -> None:
    """--home goes before the environment."""
    result = run("--home", str(tmp_path / "other"), "config", "path")
    assert result.out == f"{tmp_path / 'other' / 'stead.toml'}\n"


def test_config_check(run: Run, home: Path) -> None:
    """A valid file is said to be; a faulty one names the key and its line, exit code 1."""
    assert run("config", "check").code == 0
    (home / "stead.toml").write_text("[node]\nslotz = 4\n")
    result = run("config", "check")
    assert result.code == 1
    assert "node.slotz (line 2)" in result.err
    assert "node.slots" in result.err


def test_config_show(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value is shown with where it came from."""
    monkeypatch.setenv("STEAD_OFFLINE", "1")
    rows = {row["path"]: row for row in json.loads(run("config", "show", "--json").out)}
    assert rows["listen"]["origin"] == "stead.toml line 1"
    assert rows["offline"] == {
        "path": "offline", "value": True, "origin": "environment STEAD_OFFLINE"
    }  # fmt: skip
    assert rows["node.slots"]["origin"] == "default"
    changed = run("config", "show", "--changed").out
    assert "listen" in changed
    assert "node.slots" not in changed


def test_config_set(run: Run, home: Path) -> None:
    """A value is set in the type of its setting; a faulty one changes nothing."""
    assert run("config", "set", "node.slots", "5").code == 0
    assert run("config", "set", "node.labels", "gpu, big").code == 0
    assert run("config", "set", "offline", "yes").code == 0
    settings = load(home).settings
    assert (settings.node.slots, settings.node.labels) == (5, ["gpu", "big"])
    assert settings.offline
    before = (home / "stead.toml").read_text()
    result = run("config", "set", "node.slots", "many")
    assert result.code == 1
    assert "node.slots" in result.err
    assert (home / "stead.toml").read_text() == before


def test_key(run: Run, home: Path) -> None:
    """The owner's key is printed for other programs; where there is none it says which file."""
    assert run("key").out == KEY + "\n"
    assert json.loads(run("key", "--json").out)["key"] == KEY
    (home / "secrets" / "owner.key").unlink()
    result = run("key")
    assert result.code == 1
    assert "owner.key" in result.err


def test_key_new(run: Run, tmp_path: Path) -> None:
    """A new key is readable by its owner only; a file that exists is left as it is."""
    file = tmp_path / "mine.key"
    assert run("key", "new", str(file)).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = read_key(file)
    assert made.startswith("so_")
    result = run("key", "new", str(file))
    assert result.code == 1
    assert "exists already" in result.err
    assert read_key(file) == made


def test_invite(run: Run, gateway: Gateway) -> None:
    """An invitation is the very command to type on the other machine."""
    gateway.answers["/api/v1/nodes"] = {"name": "nas", "key": "sn_abc", "id": "1"}
    result = run("node", "invite", "nas")
    assert f"stead node join {gateway.url} sn_abc" in result.out
    assert "listens on this machine only" in result.err
    assert gateway.asked("POST", "/api/v1/nodes") == [{"name": "nas"}]


def test_drain(run: Run, gateway: Gateway) -> None:
    """It says what the node still has, and what nobody else could do; --undo takes it back."""
    stays = [{"needs": "gpu", "prefer": "", "avoid": "", "jobs": 3}]
    gateway.answers["/api/v1/nodes/nas/drain"] = {"name": "nas", "running": 2, "stays": stays}
    result = run("node", "drain", "nas")
    assert "gets no new jobs; it still has 2 jobs" in result.out
    assert "3 jobs cannot move (needs gpu): only nas could do that" in result.out
    assert "new jobs again" in run("node", "drain", "nas", "--undo").out
    assert gateway.asked("POST", "/api/v1/nodes/nas/drain") == [{"undo": False}, {"undo": True}]


def test_retire(run: Run, gateway: Gateway) -> None:
    """Drained, waited for, revoked; if its jobs take too long it stays drained, exit code 1."""
    path = "/api/v1/nodes/nas"
    gateway.answers[f"{path}/drain"] = {"name": "nas", "running": 1, "stays": []}
    gateway.answers[path] = {"name": "nas", "running": 0, "stays": []}
    result = run("node", "retire", "nas")
    assert result.code == 0 and "is retired" in result.out and "Waiting for 1 job" in result.err
    assert gateway.asked("DELETE", path)
    gateway.answers[path] = {"name": "nas", "running": 1, "stays": []}
    gateway.requests.clear()
    result = run("node", "retire", "nas", "--wait", "0.1")
    assert result.code == 1 and "It stays drained" in result.err
    assert not gateway.asked("DELETE", path)


def test_the_list_of_nodes(run: Run, gateway: Gateway) -> None:
    """Which is the main one, which is drained, and which has been silent for how long."""
    node = {"running": 0, "labels": [], "last_seen": 0, "revoked": False}
    gateway.answers["/api/v1/nodes"] = {"nodes": [
        {**node, "name": "home", "alive": False, "main": True, "silent_ms": 312_000},
        {**node, "name": "nas", "alive": True, "draining": True},
    ]}  # fmt: skip
    told = run("node", "list").out
    assert "home (main)" in told and "silent for 5 min" in told and "here, drained" in told


def test_join(run: Run, gateway: Gateway, home: Path) -> None:
    """Joining tries the key first, then keeps it (0600) and the gateway's URL."""
    gateway.answers["/node/v1/hello"] = {"node_id": "1", "name": "nas", "lease_ms": 30000}
    result = run("node", "join", gateway.url + "/", "-", stdin="sn_good\n")
    assert result.code == 0, result.err
    assert "the node nas" in result.out
    loaded = load(home)
    assert loaded.settings.node.gateway == gateway.url
    assert read_key(loaded.node_key_file) == "sn_good"
    assert stat.S_IMODE(loaded.node_key_file.stat().st_mode) == 0o600
    assert gateway.asked("POST", "/node/v1/hello")[0]["boot"]


@pytest.mark.parametrize(("key", "code"), [("sn_bad", 1), ("so_mine", 1)])
def test_join_refused(run: Run, gateway: Gateway, home: Path, key: str, code: int) -> None:
    """A key that does not open, or is of another kind, changes nothing here."""
    before = (home / "stead.toml").read_text()
    assert run("node", "join", gateway.url, key).code == code
    assert (home / "stead.toml").read_text() == before
    assert not (home / "secrets" / "node.key").exists()


def test_nodes(run: Run, gateway: Gateway) -> None:
    """Nodes are listed, and one is revoked by its name."""
    gateway.answers["/api/v1/nodes"] = {
        "nodes": [{"name": "nas", "alive": False, "running": 0, "labels": ["a"], "last_seen": 0}]
    }
    assert "nas   away" in run("node", "list").out
    gateway.answers["/api/v1/nodes/nas"] = {"ok": True}
    assert run("node", "revoke", "nas").code == 0
    assert gateway.asked("DELETE", "/api/v1/nodes/nas") == [None]


def test_chat(run: Run, gateway: Gateway) -> None:
    """A conversation shows what came meanwhile, sends with the chosen mark, and ends at the end."""
    old = [
        {"seq": 1, "role": "owner", "text": "earlier", "job_id": "j0"},
        {"seq": 2, "role": "assistant", "text": "answered", "job_id": "j0"},
        {"seq": 3, "role": "notice", "text": "no node is here", "job_id": None},
    ]
    gateway.events = [
        ("token", {"text": "Hel"}),
        ("end", {"state": "done", "text": "Hello", "job_id": JOB}),
    ]
    gateway.answers[f"/api/v1/jobs/{JOB}/cancel"] = {"state": "done"}
    gateway.chat = old
    result = run("chat", stdin="/light\nhi\n\n/odd\n/cancel\n/new\nhi\n/quit\nnever sent\n")
    assert result.code == 0
    assert "answered" in result.out
    assert "[no node is here]" in result.out
    assert result.out.count("Hello\n") == 2
    assert "There is no /odd." in result.out
    first, second = gateway.asked("POST", "/api/v1/messages")
    assert (first["mark"], first["session"]) == ("light", "main")
    assert second["session"].startswith("chat-")
    assert gateway.asked("POST", f"/api/v1/jobs/{JOB}/cancel") == [{}]
    asked = gateway.asked("GET", "/api/v1/messages")
    assert [query["after"] for query in asked[:3]] == ["-1", "3", "3"]


def test_chat_without_a_gateway(run: Run) -> None:
    """No gateway: exit code 3."""
    assert run("chat", stdin="hi\n").code == 3
