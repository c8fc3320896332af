"""What finds things in texts: detectors of maintained libraries, and the owner's own list.

Secrets are found by the detectors of detect-secrets (the package ``bc-detect-secrets``), personal
data by the recognizers of Presidio (``presidio-analyzer``) that go by patterns and check digits;
its language models are not used, and nothing is fetched. Both are loaded at first use, in the
process of :mod:`~stead.inference.policy.scanner` alone, where a signal can end an expression that
takes for ever.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from stead.inference.policy.frames import SetupRule

_WINDOW = 8192
_OVERLAP = 1024
#: How long an expression of the owner may take for one text, in seconds.
_PATTERN_S = 0.5


class Span(NamedTuple):
    """Where something was found, and what kind of thing it is."""

    start: int
    end: int
    kind: str


Detector = Callable[[str], Iterable[Span]]


class Missing(Exception):
    """The kind whose detector is not installed."""


class _TooLong(Exception):
    """An expression took too long."""


def detectors_for(rule: SetupRule) -> list[Detector]:
    """All that a rule looks with. Raises ``Missing``."""
    found: list[Detector] = []
    for kind in rule.finds:
        if kind == "secrets":
            found += [_whole_keys(_library(_secrets())), _known_keys]
        elif kind == "passwords":
            found.append(_library(_passwords()))
        else:
            found.append(_library(_personal(kind)))
    if rule.words:
        found.append(_words(rule.words))
    found += [_pattern(text, number) for number, text in enumerate(rule.patterns, 1)]
    return found


def windows(text: str) -> Iterator[tuple[int, str]]:
    """Pieces of a long text, each with its place. They overlap, and end at a line if one does."""
    start = 0
    while len(text) - start > _WINDOW:
        end = start + _WINDOW
        line = text.rfind("\n", start + _WINDOW // 2, end)
        end = line + 1 if line > 0 else end
        yield start, text[start:end]
        start = end - _OVERLAP
    yield start, text[start:]


def _library(find: Callable[[str], Iterable[Span]]) -> Detector:
    """A detector over windows, so that its time grows with the text and no faster."""

    def detect(text: str) -> Iterable[Span]:
        return {
            Span(start + span.start, start + span.end, span.kind)
            for start, piece in windows(text)
            for span in find(piece)
        }

    return detect


# --- secrets ---------------------------------------------------------------------------

#: Keys that the library does not know: of model providers, and stead's own.
_KNOWN = re.compile(
    r"\b(?:sk-(?:ant-|proj-|svcacct-|or-v1-)?[A-Za-z0-9_-]{20,}|AIza[0-9A-Za-z_-]{35}"
    r"|glpat-[0-9A-Za-z_-]{20,}|github_pat_[0-9A-Za-z_]{30,}|hf_[A-Za-z0-9]{30,}"
    r"|s[ojnpr]_[A-Za-z0-9_-]{40,}|whsec_[A-Za-z0-9+/=]{30,})"
)
_KEY_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE = "private key"


def _whole_keys(detector: Detector) -> Detector:
    """Private keys with all of their lines, however many windows these are in."""

    def detect(text: str) -> Iterator[Span]:
        for start, end, kind in detector(text):
            if kind == _PRIVATE:
                last = _KEY_END.search(text, start)
                end = max(end, last.end() if last else len(text))
            yield Span(start, end, kind)

    return detect


def _known_keys(text: str) -> Iterator[Span]:
    for match in _KNOWN.finditer(text):
        yield Span(match.start(), match.end(), "api key")


@cache
def _plugins() -> dict[str, Any]:
    """The detectors of detect-secrets by the name of their class. Raises ``ImportError``."""
    package = importlib.import_module("detect_secrets.plugins")
    base = importlib.import_module("detect_secrets.plugins.base")
    found: dict[str, Any] = {}
    for entry in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{entry.name}")
        for name, one in _classes(module):
            if issubclass(one, base.BasePlugin) and not inspect.isabstract(one):
                found[name] = one
    return found


def _classes(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, one in inspect.getmembers(module, inspect.isclass):
        if one.__module__ == module.__name__:
            yield name, one


@cache
def _secrets() -> Callable[[str], Iterable[Span]]:
    """All that know the form of a secret; those that guess by its disorder are left out."""
    try:
        plugins = _plugins()
    except ImportError:
        raise Missing("secrets") from None
    expressions = [
        (expression, str(one.secret_type))
        for one in plugins.values()
        if isinstance(getattr(one, "denylist", None), list | tuple)
        for expression in one.denylist
    ]
    special = [one() for one in (plugins.get("JwtTokenDetector"),) if one is not None]

    def find(text: str) -> Iterator[Span]:
        for expression, kind in expressions:
            for match in expression.finditer(text):
                yield Span(match.start(), match.end(), kind.lower())
        for plugin in special:
            yield from _values(text, plugin)

    return find


@cache
def _passwords() -> Callable[[str], Iterable[Span]]:
    """Values beside words such as password and secret, line by line."""
    try:
        plugin = _plugins()["KeywordDetector"]()
    except (ImportError, KeyError):
        raise Missing("passwords") from None
    hint = re.compile(r"pass|pwd|secret|token|key|cred|auth", re.IGNORECASE)

    def find(text: str) -> Iterator[Span]:
        at = 0
        for line in text.splitlines(keepends=True):
            if hint.search(line):
                for span in _values(line, plugin):
                    yield Span(at + span.start, at + span.end, "password")
            at += len(line)

    return find


def _values(text: str, plugin: Any) -> Iterator[Span]:
    """Of a detector that tells what it found, and not where."""
    for value in {str(one) for one in plugin.analyze_string(text) if one}:
        at = text.find(value)
        while at >= 0:
            yield Span(at, at + len(value), str(plugin.secret_type).lower())
            at = text.find(value, at + len(value))


# --- personal data ---------------------------------------------------------------------

_PERSONAL = {
    "email": ("EmailRecognizer",),
    "phone": ("PhoneRecognizer",),
    "card": ("CreditCardRecognizer",),
    "iban": ("IbanRecognizer",),
    "ip_address": ("IpRecognizer",),
}
#: Below this a recognizer only guesses, but for phone numbers, whose library knows their plans.
_SURE = 0.5
_SURE_PHONE = 0.4
_NATIONAL = re.compile(
    r"(?:Ssn|Nhs|Nino|Nif|Nie|FiscalCode|Pesel|PersonalIdentityCode|TaxId|Sin|Tfn|Medicare|Aadhaar"
    r"|Rrn|Nin|SocialSecurity|Personnummer|Cpf|Tckn|Itin)Recognizer$"
)


@cache
def _personal(kind: str) -> Callable[[str], Iterable[Span]]:
    try:
        library = importlib.import_module("presidio_analyzer.predefined_recognizers")
    except ImportError:
        raise Missing(kind) from None
    _fetch_nothing()
    if kind == "personal":
        kinds = ("email", "phone", "card", "iban", "national_id")
        parts = [_personal(one) for one in kinds]
        return lambda text: (span for part in parts for span in part(text))
    names = _PERSONAL.get(kind) or tuple(
        name for name, _ in inspect.getmembers(library, inspect.isclass) if _NATIONAL.search(name)
    )
    recognizers = [getattr(library, name)() for name in names if hasattr(library, name)]
    sure = _SURE_PHONE if kind == "phone" else _SURE
    words = kind.replace("_", " ")

    def find(text: str) -> Iterator[Span]:
        for one in recognizers:
            for result in one.analyze(text, one.supported_entities, None) or ():
                if result.score >= sure:
                    yield Span(result.start, result.end, words)

    return find


def _fetch_nothing() -> None:
    """The list of top-level domains is taken as it came with its package."""
    tldextract: Any = importlib.import_module("tldextract")
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    importlib.import_module("tldextract.tldextract").__dict__["TLD_EXTRACTOR"] = extract
    tldextract.extract = extract


# --- the owner's own list --------------------------------------------------------------


def _words(words: tuple[str, ...]) -> Detector:
    """Whole words; however they are written, large or small, and whatever space is in them."""
    longest_first = sorted(words, key=len, reverse=True)
    choices = "|".join(r"\s+".join(map(re.escape, word.split())) for word in longest_first)
    expression = re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE)

    def detect(text: str) -> Iterator[Span]:
        for match in expression.finditer(text):
            yield Span(match.start(), match.end(), "word of the list")

    return detect


def _pattern(text: str, number: int) -> Detector:
    """One that takes too long counts as found in all of the text: nothing slips through."""
    expression = re.compile(text)
    kind = f"pattern {number}"

    def detect(text: str) -> list[Span]:
        before = signal.signal(signal.SIGALRM, _ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, _PATTERN_S)
            try:
                matches = expression.finditer(text)
                return [
                    Span(*match.span(), kind) for match in matches if match.end() > match.start()
                ]
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _TooLong:
            return [Span(0, len(text), f"{kind} (it took too long)")]
        finally:
            signal.signal(signal.SIGALRM, before)

    return detect


def _ring(number: int, frame: FrameType | None) -> None:
    raise _TooLong
