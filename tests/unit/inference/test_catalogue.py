"""The catalogue of local models, and which of them a setting means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stead.core.errors import ModelUnusable, UnknownModel
from stead.inference import catalogue, choice, machine, weights
from stead.inference.catalogue import Catalogue, HubSpec, LocalSpec, WheelsSpec

GB = 1 << 30
ROW = """
[[model]]
name = "{name}"
title = "T"
family = "f"
licence = "MIT"
bytes = 3
sha256 = "00"
memory_gb = 1
tools = "schema"
prompt = "small"
context = 512
source = [{source}]
"""


def test_shipped_catalogue_is_complete() -> None:
    """Every model that ships can be checked and can come from a copy, the hub and the index."""
    for model in catalogue.load().models:
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
        assert model.licence == "Apache-2.0"
        assert model.tools in ("native", "schema", "none")
        assert model.prompt in ("full", "small")
        assert [type(spec) for spec in model.source] == [LocalSpec, HubSpec, WheelsSpec]
        for spec in model.source:
            if isinstance(spec, HubSpec):
                assert spec.url.startswith("https://huggingface.co/")
            if isinstance(spec, WheelsSpec):
                assert sum(part.bytes for part in spec.parts) == model.bytes
                for part in spec.parts:
                    assert re.fullmatch(r"[0-9a-f]{64}", part.sha256)
                    assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", part.package)


@pytest.mark.parametrize(
    ("memory", "name"),
    [
        (64 * GB, "qwen2.5-coder-1.5b"),
        (int(7.5 * GB), "qwen2.5-coder-1.5b"),  # sold as 8 GB
        (6 * GB, "qwen2.5-coder-0.5b"),
        (int(1.9 * GB), "qwen2.5-coder-0.5b"),
        (GB, "smollm2-135m"),
        (0, "smollm2-135m"),
    ],
)
def test_auto_picks_by_memory(memory: int, name: str) -> None:
    """auto is the 1.5B model from 8 GB, the 0.5B from 2 GB, else the 135M."""
    assert catalogue.load().choose(memory).name == name


def test_unknown_name_tells_the_known_ones() -> None:
    """A misspelt model is answered with those there are."""
    with pytest.raises(UnknownModel, match=r"qwen2\.5-coder-1\.5b, .*, smollm2-135m"):
        catalogue.load().get("qwen")


def test_profile_never_promises_more_context_than_trained() -> None:
    """The window is the setting's, at most the model's own."""
    model = catalogue.load().get("smollm2-135m")
    assert model.profile(4096).context == 4096
    assert model.profile(100_000).context == model.context


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ROW.format(name="a", source='{kind = "pigeon"}'), "pigeon"),
        (ROW.format(name="a", source="") + "color = 1\n", "color"),
        (ROW.format(name="a", source="") + ROW.format(name="a", source=""), "twice"),
        ("", "model"),
        (
            ROW.format(
                name="a",
                source='{kind = "wheels", parts = [{package = "p==1", member = "m", '
                'wheel = 1, bytes = 2, sha256 = "00"}]}',
            ),
            "add up",
        ),
    ],
)
def test_faulty_catalogue_is_refused(text: str, words: str) -> None:
    """A fault in the data is named when it is read, not when it bites."""
    with pytest.raises(ValueError, match=words):
        catalogue.parse(text)


def _place(models: Path, known: Catalogue, name: str) -> None:
    file = weights.file_of(models, known.get(name))
    with file.open("wb") as empty:
        empty.truncate(known.get(name).bytes)


def test_offline_auto_takes_what_is_on_the_disk(tmp_path: Path) -> None:
    """Offline, the best model that is here goes before a better one that is not."""
    known = catalogue.load()

    def name(memory: int, offline: bool = True) -> str:
        return choice.pick(tmp_path, known, memory, offline=offline).name

    assert name(16 * GB) == "qwen2.5-coder-1.5b"  # nothing is here: said by its name
    _place(tmp_path, known, "smollm2-135m")
    assert name(16 * GB) == "smollm2-135m"
    _place(tmp_path, known, "qwen2.5-coder-0.5b")
    assert name(16 * GB) == "qwen2.5-coder-0.5b"
    assert name(GB) == "smollm2-135m"
    assert name(16 * GB, offline=False) == "qwen2.5-coder-1.5b"
    weights.discard(tmp_path, known.get("smollm2-135m"))
    assert name(GB) == "qwen2.5-coder-0.5b"  # large for this memory, but here


def test_model_of_the_owners_own(tmp_path: Path) -> None:
    """A path that ends in .gguf is a model; one that is not there is said."""
    file = tmp_path / "Mine-Q4.gguf"
    file.write_bytes(b"GGUF")
    assert choice.own_file(str(file)) == file
    assert choice.own_name(str(file), file) == "Mine-Q4"
    assert choice.own_file("smollm2-135m") is None
    assert choice.own_name("ollama:qwen3:4b", file) == "qwen3:4b"
    with pytest.raises(ModelUnusable, match="there is no file"):
        choice.own_file(str(tmp_path / "other.gguf"))


def _groups(tmp_path: Path, lines: str, limits: dict[str, str]) -> tuple[Path, Path]:
    tmp_path.mkdir()
    own = tmp_path / "cgroup"
    own.write_text(lines)
    root = tmp_path / "sys"
    for place, text in limits.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    return root, own


def test_memory_respects_control_groups(tmp_path: Path) -> None:
    """A container's limit counts, its own or one above it, in both versions of control groups."""
    whole = machine.memory_bytes(tmp_path / "none", tmp_path / "none")
    assert whole > 0
    root, own = _groups(
        tmp_path / "v2", "0::/a/b\n", {"a/memory.max": "1000000\n", "a/b/memory.max": "max\n"}
    )
    assert machine.memory_bytes(root, own) == 1_000_000
    root, own = _groups(
        tmp_path / "v1",
        "5:cpu:/x\n4:memory:/docker/1\n",
        {"memory/memory.limit_in_bytes": "2000000\n"},  # as seen from inside the container
    )
    assert machine.memory_bytes(root, own) == 2_000_000
    root, own = _groups(tmp_path / "max", "0::/\n", {"memory.max": "max\n"})
    assert machine.memory_bytes(root, own) == whole
