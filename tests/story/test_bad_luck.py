"""What keeps stead from starting or working: one sentence, an exit code, nothing lost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.story.house import House, house_in


def _refusal(house: House, *command: str, home: Path | None = None) -> str:
    """The one sentence with which a start is refused."""
    told = house.cli(*command, home=home, timeout=30)
    assert told.returncode not in (0, 3), told
    assert "Traceback" not in told.stderr + told.stdout
    lines = [line for line in told.stderr.splitlines() if line.strip()]
    assert 1 <= len(lines) <= 2, told.stderr
    return " ".join(lines)


def _answered_before(house: House) -> str:
    """A house that has answered something and stopped; the id of that job."""
    house.all_up()
    job_id = house.say("[[say Kept.]] remember this, agent")
    house.ended(job_id)
    for part in ("node", "model", "gateway"):
        assert house.stop(part) == 0, house.output()
    return job_id


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    for house in house_in(tmp_path_factory.mktemp("kept")):
        yield house, _answered_before(house)


@pytest.fixture
def kept(stopped: tuple[House, str]) -> Iterator[tuple[House, str]]:
    """A stopped house with a job in its database; each story leaves it as it was."""
    house, _ = stopped
    toml = (house.home / "stead.toml").read_text()
    yield stopped
    house.close()
    (house.home / "stead.toml").write_text(toml)


def _still_there(house: House, job_id: str) -> None:
    """The house starts, and what it knew it knows."""
    house.start("gateway")
    house.until(house.ready, 20, "the gateway")
    assert house.story(job_id)["reply"]["text"] == "Kept."
    assert house.stop("gateway") == 0


def test_the_port_is_taken(kept: tuple[House, str]) -> None:
    """`up` and `gateway` say which address is taken and what to do, and end."""
    house, job_id = kept
    with socket.create_server(("127.0.0.1", house.port)):
        for command in ("gateway", "up"):
            told = _refusal(house, command)
            assert f"127.0.0.1:{house.port} is already in use" in told and "listen" in told
    _still_there(house, job_id)


def test_a_second_gateway_on_the_same_home(kept: tuple[House, str]) -> None:
    """It is refused by name of the process that runs, which goes on undisturbed."""
    house, job_id = kept
    house.start("gateway")
    house.until(house.ready, 20, "the gateway")
    pid = house.parts["gateway"].pid
    told = _refusal(house, "gateway")
    assert f"process {pid}" in told and "already runs" in told
    assert f"process {pid}" in _refusal(house, "up")
    elsewhere = _refusal(house, "gateway", "--listen", "127.0.0.1:0")
    assert f"process {pid}" in elsewhere
    house.start("node")
    house.until(lambda: (house.home / "run" / "node.pid").exists(), 20, "the node")
    node = house.parts["node"].pid
    assert f"process {node}" in _refusal(house, "node", "run")
    assert house.story(job_id)["reply"]["text"] == "Kept."
    assert house.stop("gateway") == 0


def test_a_newer_database(kept: tuple[House, str]) -> None:
    """A database of a newer stead is refused untouched."""
    house, job_id = kept
    path = house.home / "state.db"
    with contextlib.closing(apsw.Connection(str(path))) as database:
        version = database.pragma("user_version")
        database.pragma("user_version", 999)
    before = _sha(path)
    told = _refusal(house, "gateway")
    assert "newer stead" in told and "999" in told
    assert _sha(path) == before
    looked = house.cli("status")
    assert looked.returncode != 0 and "newer stead" in looked.stdout + looked.stderr
    with contextlib.closing(apsw.Connection(str(path))) as database:
        database.pragma("user_version", version)
    _still_there(house, job_id)


def test_a_damaged_database(kept: tuple[House, str]) -> None:
    """A file that is no database any more is named, left alone, and can be put back."""
    house, job_id = kept
    path = house.home / "state.db"
    whole = path.read_bytes()
    for damaged in (b"\0" * 4096 + whole[4096:], b"not a database at all" * 100, whole[:1000]):
        path.write_bytes(damaged)
        told = _refusal(house, "gateway")
        assert str(path) in told and "backups" in told, told
        assert path.read_bytes() == damaged
        looked = house.cli("status")
        assert looked.returncode != 0 and "Traceback" not in looked.stderr
    path.write_bytes(whole)
    _still_there(house, job_id)


def test_a_locked_database(kept: tuple[House, str]) -> None:
    """Another program that holds the database: at the start a sentence; while it runs a 503
    that says so; and once it is let go the same message is taken."""
    house, job_id = kept
    path = house.home / "state.db"
    with contextlib.closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE fact SET value = value")
        told = _refusal(house, "gateway")
        assert "another program holds it locked" in told
        other.execute("ROLLBACK")
    house.start("gateway")
    house.until(house.ready, 20, "the gateway")
    message = {"text": "[[say ok]] hello", "external_id": "locked-1"}
    with contextlib.closing(apsw.Connection(str(path))) as other:
        other.set_busy_timeout(5000)  # the gateway may be writing just now
        other.execute("BEGIN IMMEDIATE")
        status, body = house.call("POST", "/api/v1/messages", message)
        assert (status, body["error"]["code"]) == (503, "store_unusable")
        assert "locked" in body["error"]["message"]
        assert house.story(job_id)["reply"]["text"] == "Kept."  # reading goes on
        other.execute("ROLLBACK")
    status, body = house.call("POST", "/api/v1/messages", message)
    assert (status, body["duplicate"]) == (202, False)
    assert house.stop("gateway") == 0


def test_an_open_door(kept: tuple[House, str], tmp_path: Path) -> None:
    """Beyond loopback only with a key of the owner's own making."""
    house, _ = kept
    for host in ("0.0.0.0", "[::]", "localhost.example", "127.0.0.1.example", "[::1:2]"):
        address = f"{host}:{house.port}"
        told = _refusal(house, "gateway", "--listen", address)
        assert "beyond this machine" in told and "key_file" in told
    key = tmp_path / "own.key"
    assert house.cli("key", "new", str(key)).returncode == 0
    toml = house.home / "stead.toml"
    before = toml.read_text()
    toml.write_text(before + f'[gateway]\nkey_file = "{key}"\n')
    house.start_at("gateway", house.home, "gateway", "--listen", f"0.0.0.0:{house.port}")
    house.until(house.ready, 20, "the gateway")
    assert house.call("GET", "/api/v1/status")[0] == 401  # the old key opens nothing now
    assert house.call("GET", "/api/v1/status", key=key.read_text().strip())[0] == 200
    assert house.stop("gateway") == 0
    toml.write_text(before)


def test_a_home_that_cannot_be_used(kept: tuple[House, str], tmp_path: Path) -> None:
    """A file where a folder should be, a folder of somebody else's, a disk that is read-only."""
    house, _ = kept
    file = tmp_path / "file"
    file.write_text("")
    assert str(file) in _refusal(house, "gateway", home=file / "home")
    told = house.cli("up", home=file)
    assert told.returncode == 2 and f"'{file}' is a file" in told.stderr
    if os.geteuid() == 0:
        others = tmp_path / "others"
        others.mkdir()
        os.chown(others, 12345, 12345)
        assert "belongs to user 12345" in _refusal(house, "up", home=others)
    else:
        shut = tmp_path / "shut"
        shut.mkdir(mode=0o500)
        assert "permission denied" in _refusal(house, "up", home=shut / "home")


def test_settings_that_are_wrong(kept: tuple[House, str]) -> None:
    """An unknown setting is named by its path; nothing starts with half a configuration."""
    house, job_id = kept
    toml = house.home / "stead.toml"
    before = toml.read_text()
    for more, path in (("[gateway]\nmax_body_mbs = 3\n", "max_body_mbs"), ("[limits\n", "toml")):
        toml.write_text(before + more)
        for command in ("up", "gateway"):
            assert path in _refusal(house, command)
    toml.write_text(before)
    _still_there(house, job_id)


def test_a_damaged_model_file(tmp_path: Path) -> None:
    """The model process says what is wrong with the file; the house lives on without it."""
    pytest.importorskip("xllamacpp")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 5000)
    for house in house_in(tmp_path, model=str(broken)):
        house.start("gateway", "model")
        assert house.parts["model"].wait(60) != 0
        house.until(house.ready, 20, "the gateway")
        status = house.get("/api/v1/status")
        assert status["model"]["ready"] is False and status["model"]["phase"] == "failed"
        assert str(broken) in status["model"]["words"]
        told = (house.home / "model.out").read_text()
        assert str(broken) in told and "Traceback" not in told
        job_id = house.say("kept for later, agent")
        assert house.story(job_id)["job"]["state"] == "queued"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """With no room left a message is refused with the reason; everything accepted is kept and is
    answered once there is room again, with no restart of anything."""
    for house in house_in(small_disk):
        house.start("gateway", "model")
        house.until(house.ready, 20, "the gateway")
        filler = small_disk / "filler"
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write_bytes(b"\0" * (free - 400_000))
        accepted, refused = [], None
        for number in range(60):
            text = f"[[say answer {number}]] {'x' * 30_000}"
            status, body = house.call(
                "POST", "/api/v1/messages", {"text": text, "session": f"s{number}"}
            )
            if status != 202:
                refused = (status, body["error"])
                break
            accepted.append(body["job_id"])
        assert refused is not None and accepted
        assert refused[0] == 503 and "disk is full" in refused[1]["message"], refused
        assert house.get("/api/v1/status")["queue"]["queued"] == len(accepted)
        filler.unlink()
        house.start("node")
        for number, job_id in enumerate(accepted):
            assert house.ended(job_id, 30)["reply"]["text"] == f"answer {number}"
        counted = house.rows("SELECT count(*) FROM message WHERE role = 'owner'")[0][0]
        assert counted == len(accepted)
