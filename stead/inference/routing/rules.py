"""What the owner says of routing: lanes, and rules that judge what names no model of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from stead.core.languages import language_of
from stead.inference.backends import Backend
from stead.inference.seam import Api, Asked, Who


@dataclass(frozen=True, slots=True)
class Lane:
    """A name for models, in the order of trying. The fields are those of ``[[lane]]``."""

    name: str
    models: tuple[str, ...]
    """Names of models or of other lanes."""
    weights: tuple[float, ...] = ()
    paid: bool = False
    cloud: bool = False
    shadow: str = ""
    shadow_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Judge:
    """A rule that gives a request to a lane if all it says holds. As in ``[[judge]]``."""

    name: str
    lane: str
    models: tuple[str, ...] = ("auto",)
    apis: frozenset[str] = frozenset()
    tools: str = "any"
    images: str = "any"
    min_chars: int = 0
    max_chars: int = 0
    language: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    share: str = "any"

    def holds(self, who: Who, asked: Asked) -> bool:
        """What is dear to find out is looked at last."""
        return (
            (not self.apis or asked.api in self.apis)
            and (self.tools == "any" or asked.tools == (self.tools == "yes"))
            and (self.images == "any" or asked.images == (self.images == "yes"))
            and asked.chars >= self.min_chars
            and (not self.max_chars or asked.chars <= self.max_chars)
            and (self.share == "any" or who.lane == self.share)
            and (not self.keys or who.name in self.keys or self._jobs(who))
            and (not self.language or language_of(last_words(asked)) in self.language)
        )

    def _jobs(self, who: Who) -> bool:
        """``jobs``, as in the rules of the house: the agent's own calls."""
        return who.job_id is not None and "jobs" in self.keys

    def words(self) -> str:
        """What it asks for: ``images, tools, at least 20000 characters``."""
        said = [f"{'no ' * (value == 'no')}{what}" for what, value in (
            ("tools", self.tools), ("images", self.images)
        ) if value != "any"]  # fmt: skip
        if self.min_chars:
            said.append(f"at least {self.min_chars} characters")
        if self.max_chars:
            said.append(f"at most {self.max_chars} characters")
        said += [f"language {code}" for code in sorted(self.language)]
        said += [f"from {name}" for name in sorted(self.keys)]
        said += [f"as {api}" for api in sorted(self.apis)]
        said += [f"{self.share} work"] * (self.share != "any")
        return ", ".join(said) or "anything"


@dataclass(frozen=True, slots=True)
class Setup:
    """All that routing is made of. It is taken over as a whole, or not at all."""

    backends: tuple[Backend, ...] = ()
    """One for each instance: those of the same name are instances of one backend."""
    lanes: tuple[Lane, ...] = ()
    judges: tuple[Judge, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    """``main`` and ``light``: which model or lane that is where no lane is called so."""
    services: Mapping[str, Backend] = field(default_factory=dict)
    """The light services by their lane: ``embed``, ``speech``, ``transcription``, ``ocr``..."""
    probe_s: Mapping[str, float] = field(default_factory=dict)
    """By backend: how often it is looked at when no call tells how it is; 0: never."""


#: Lanes that stand for ``main`` as long as nobody sets them up.
AS_MAIN = ("cron", "subagent", "review", "vision")
#: What an API is asked for where a request names no model.
BY_API: Mapping[Api, str] = {
    Api.EMBEDDINGS: "embed",
    Api.SPEECH: "speech",
    Api.TRANSCRIPTIONS: "transcription",
    Api.OCR: "ocr",
    Api.RERANK: "rerank",
    Api.ACTIVITY: "vad",
}
#: What well-known clients ask for unless they are told otherwise, where any model does as well.
#: Embeddings are no such thing: they are kept, and those of two models do not belong together, so
#: the name of one model never comes to mean another by itself.
FAMILIAR: Mapping[Api, frozenset[str]] = {
    Api.TRANSCRIPTIONS: frozenset(
        {
            "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-large-v3",
            "whisper-large-v3-turbo",
        }
    ),
    Api.SPEECH: frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts"}),
    Api.OCR: frozenset({"mistral-ocr-latest"}),
}  # fmt: skip
#: In which shapes a request can be sent on, the best first. Another than its own is translated.
SHAPES: Mapping[Api, tuple[Api, ...]] = {
    Api.CHAT: (Api.CHAT, Api.MESSAGES),
    Api.MESSAGES: (Api.MESSAGES, Api.CHAT),
    Api.RESPONSES: (Api.RESPONSES, Api.CHAT, Api.MESSAGES),
    Api.COMPLETIONS: (Api.COMPLETIONS, Api.CHAT, Api.MESSAGES),
    Api.COUNT_TOKENS: (Api.COUNT_TOKENS, Api.CHAT),
    **{api: (api,) for api in BY_API},
}


_LANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}")


def hint(name: str, api: Api) -> str:
    """What in stead.toml would give such a name a meaning, as the end of an error's message."""
    lane = BY_API.get(api, "main")
    if _LANE.fullmatch(name):
        tables = f'`[[lane]]` with `name = "{name}"` and `models = ["{lane}"]`'
    elif len(name) <= 200 and name.isprintable() and not {'"', "\\"} & {*name}:
        tables = f'`[[judge]]` with a `name`, `models = ["{name}"]` and `lane = "{lane}"`'
    else:
        return ""
    return f" To give that name a meaning, add to stead.toml, say, {tables}."


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Part] | None = None


class _Words(msgspec.Struct):
    """Where the words are in the requests of the various APIs."""

    messages: list[_Message] | None = None
    input: str | list[_Message | str] | None = None
    prompt: str | list[str] | None = None


_WORDS = msgspec.json.Decoder(_Words)


def last_words(asked: Asked) -> str:
    """The text of the last message that is the user's; empty if there is none to be read."""
    try:
        found = _WORDS.decode(asked.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if found.messages:
        return _last(found.messages)
    for given in (found.input, found.prompt):
        if isinstance(given, str):
            return given
        if given:
            texts = [one for one in given if isinstance(one, str)]
            return texts[-1] if texts else _last([m for m in given if isinstance(m, _Message)])
    return ""


def _last(messages: Sequence[_Message]) -> str:
    for message in reversed(messages):
        content = message.content
        if message.role == "user" and content:
            if isinstance(content, str):
                return content
            text = "\n".join(part.text for part in content)
            if text:
                return text
    return ""
