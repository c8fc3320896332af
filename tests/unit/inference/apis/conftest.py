"""The official clients at a door of translators."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest

from stead.inference.scripted import Running
from tests.unit.inference.apis.foreign import Foreign, mounted


@pytest.fixture(scope="session")
def foreign(scripted: Running) -> Iterator[Foreign]:
    with mounted(scripted) as door:
        yield door


@pytest.fixture(scope="session")
def ours(foreign: Foreign) -> Iterator[openai.OpenAI]:
    """The OpenAI client."""
    url = f"{foreign.url}/v1"
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def theirs(foreign: Foreign) -> Iterator[anthropic.Anthropic]:
    """The Anthropic client."""
    with anthropic.Anthropic(
        base_url=foreign.url, api_key="k", max_retries=0, timeout=60
    ) as client:
        yield client
