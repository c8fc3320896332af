"""Real models for tests, obtained once through the real pull code and kept.

They lie in ``$STEAD_TEST_MODELS`` or ``~/.cache/stead-test-models``. Where one
cannot be got a test is skipped, but fails when ``CI=true``.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from stead.core.errors import PullFailed
from stead.inference import catalogue, pull, weights


def models_dir() -> Path:
    """Where the real models of the tests are kept."""
    return Path(os.environ.get("STEAD_TEST_MODELS", "~/.cache/stead-test-models")).expanduser()


@functools.cache
def _obtain(name: str) -> Path | str:
    model, models = catalogue.load().get(name), models_dir()
    file = weights.file_of(models, model)
    if weights.present(models, model) and weights.stamped(file, model.sha256):
        return file
    try:
        return pull.pull(models, model, lambda progress: None)
    except PullFailed as error:
        return error.message


def obtain(name: str) -> Path:
    """The checked file of a catalogue model; skips (in CI: fails) when it cannot be got."""
    got = _obtain(name)
    if isinstance(got, Path):
        return got
    if os.environ.get("CI") == "true":
        pytest.fail(got)
    pytest.skip(got)


def give(home: Path, name: str) -> Path:
    """Put a real model into a home, at no cost in disk or time where a hard link can be made."""
    source, model = obtain(name), catalogue.load().get(name)
    models = weights.folder(home)
    models.mkdir(parents=True, exist_ok=True)
    target = weights.file_of(models, model)
    try:
        os.link(source, target)
    except OSError:
        target.symlink_to(source)
    weights.stamp(target, model.sha256)
    return target
