"""The model process: choose, fetch, check, load and serve one local model.

Runs in the foreground of a process of its own (``stead model serve``) and tells
what it does in the state file of :mod:`stead.inference.modelstate`. The server is
llama.cpp's own, inside xllamacpp: OpenAI-compatible, on loopback, with a key.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from stead.core.errors import (
    ModelBusy,
    ModelDamaged,
    ModelNotReady,
    ModelUnusable,
    NoRuntime,
    PullFailed,
    PullRefused,
    SteadError,
)
from stead.core.keys import ensure_key
from stead.core.nouns import ModelProfile
from stead.inference import catalogue, choice, machine, modelstate, pull, weights
from stead.inference.catalogue import CatalogueModel
from stead.inference.modelstate import ModelState
from stead.inference.sources import Stopped

log = logging.getLogger("stead.model")

OK = 0
FAILED = 1
"""It may go better at another try (the network, memory)."""
STAYS = 2
"""Trying again changes nothing before the owner has done something; ``why`` says what."""

SLOTS = 2
"""Conversations answered at once; each keeps its prompt in memory."""
_ROOMY = 1_750_000_000
"""Bytes of memory below which there is one slot only."""
_UPDATE_S = 0.25
_STOP_S = 1.5
_LOOK_S = 1.0
_TURN_S = 3.0
_CACHE_MIB = 512
_ERRORS_ONLY = 1
_BATCH = 256
_HTTP_THREADS = 8


def serve(
    home: Path, *, model: str, context: int, threads: int, offline: bool, parent: int = 0
) -> int:
    """Run the local model until told to stop; return the exit code (OK, FAILED or STAYS).

    ``model`` is ``auto``, ``off``, ``scripted``, a catalogue name, the path of a .gguf file,
    or ``ollama:NAME``. ``context`` is in tokens a conversation; ``threads`` 0 is one a core.
    ``parent`` is the process whose end ends this one; 0 is whoever started it.
    """
    try:
        with _only_one(home):
            return _Runtime(home, context, threads, offline, parent or os.getppid()).run(model)
    except ModelBusy as error:
        sys.stderr.write(f"{error.message}\n")
        return STAYS


class _Runtime:
    """One run of the model process."""

    def __init__(self, home: Path, context: int, threads: int, offline: bool, parent: int) -> None:
        self.home = home
        self.models = weights.folder(home)
        self.context = context
        self.threads = threads or machine.cores()
        self.offline = offline
        self.parent = parent
        self.key_file = home / "secrets" / "runtime.key"
        self.before = modelstate.read_last(home)
        self.state = ModelState("loading", since=time.time())
        self._stop = threading.Event()
        self._told = 0.0

    # --- the whole way --------------------------------------------------------

    def run(self, wanted: str) -> int:
        """Go through all phases; every way out leaves a state that says why."""
        self._catch_signals()
        name = "" if wanted in ("auto", "off") else wanted
        try:
            if wanted == "off":
                self._tell("off")
                return OK
            self._tell("loading", model=name)
            if wanted == "scripted":
                self._serve_scripted()
            self._serve_file(*self._obtain(wanted))
        except (Stopped, KeyboardInterrupt):
            self._tell("stopped", why="it was told to stop")
            return OK
        except PullRefused as error:
            return self._give_up("missing", error, STAYS)
        except (NoRuntime, ModelDamaged) as error:
            return self._give_up("failed", error, STAYS)
        except ModelNotReady as error:
            return self._give_up("failed", error, FAILED)
        except SteadError as error:  # an unknown name, an unusable home
            return self._give_up("failed", error, STAYS)
        except Exception as error:  # noqa: BLE001 - the edge of a process: the owner must hear of it
            why = f"the model process failed: {type(error).__name__}: {error}"
            return self._give_up("failed", ModelUnusable(why), FAILED)

    def _give_up(self, phase: str, error: SteadError, code: int) -> int:
        self._tell(phase, why=error.message)
        sys.stderr.write(f"{error.message}\n")
        return code

    # --- which model, and its file --------------------------------------------

    def _obtain(self, wanted: str) -> tuple[Path, ModelProfile, CatalogueModel | None]:
        """The file to load, and how to talk to what is in it."""
        if file := choice.own_file(wanted):
            name = choice.own_name(wanted, file)
            return file, ModelProfile(name, "schema", "small", self.context), None
        known = catalogue.load()
        if wanted != "auto":
            return self._fetched(known.get(wanted))
        memory = machine.memory_bytes()
        best = choice.pick(self.models, known, memory, offline=self.offline)
        try:
            return self._fetched(best)
        except PullFailed as error:
            here = [m for m in known.fitting(memory) if weights.present(self.models, m)]
            if not here:
                raise
            sys.stderr.write(f"{error.message}\nTaking {here[0].name} instead.\n")
            return self._fetched(here[0])

    def _fetched(self, model: CatalogueModel) -> tuple[Path, ModelProfile, CatalogueModel | None]:
        profile = model.profile(self.context)
        self.state = replace(
            self.state,
            model=profile.name,
            tools=profile.tools,
            prompt=profile.prompt,
            context=profile.context,
        )
        file = weights.file_of(self.models, model)
        if file.exists():
            # A load that was never finished may have died of the file: read it again.
            broke = self.before.phase == "loading" and self.before.model == model.name
            weights.check(file, model, self._checking(model), force=broke)
        else:
            self._tell("fetching", total=model.bytes)
            means = pull.Means(offline=self.offline, stop=self._stop.is_set)
            file = pull.pull(self.models, model, self._pulling, means)
        self._tell("loading", done=0, total=0, why="")
        return file, profile, model

    def _pulling(self, progress: pull.Progress) -> None:
        phase = "loading" if progress.phase == "checking" else "fetching"
        why = progress.note if progress.phase == "waiting" else ""
        self._tell_now_and_then(phase, done=progress.done, total=progress.total, why=why)

    def _checking(self, model: CatalogueModel) -> weights.Report:
        def report(done: int) -> None:
            if self._stop.is_set():
                raise Stopped
            self._tell_now_and_then("loading", done=done, total=model.bytes)

        return report

    # --- loading and serving --------------------------------------------------

    def _serve_file(
        self, file: Path, profile: ModelProfile, known: CatalogueModel | None
    ) -> NoReturn:
        self._tell(
            "loading",
            model=profile.name,
            tools=profile.tools,
            prompt=profile.prompt,
            context=profile.context,
        )
        key = self._key()
        server = self._load(file, profile, key, known)
        # A first short answer, so that the owner's first one does not pay for touching
        # the weights the first time.
        server.handle_chat_completions(
            {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        )
        self._ready(f"{server.listening_address}/v1")
        self._wait()
        # Not handed back to the library: ending an answer under way can take it long.
        self._end()

    def _load(
        self, file: Path, profile: ModelProfile, key: str, known: CatalogueModel | None
    ) -> Any:
        """Read the model into memory and listen. Raises ``ModelUnusable`` or ``ModelDamaged``."""
        library = _xllamacpp()
        params = _params(library, file, profile, key, self.threads)
        # The library holds the interpreter's lock while it loads, so no handler of ours could
        # run: let the signals end the process at once. A dead "loading" reads as stopped.
        with _plain_signals(), _words_to(self.home / "run" / "model.load.log") as words:
            try:
                return library.Server(params)
            except RuntimeError as error:
                failure = error
        if known is not None:
            weights.check(file, known, self._checking(known), force=True)
        elif not weights.looks_like_gguf(file):
            raise ModelUnusable(name=profile.name, why=f"{file} is not a GGUF file") from failure
        free = machine.available_bytes() // 1_000_000
        why = (
            f"llama.cpp could not load {file} ({_reason(words)}; {free} MB of memory are free). "
            "Try another file or, if memory was short, a smaller model or context "
            "under [model] in stead.toml"
        )
        raise ModelUnusable(name=profile.name, why=why) from failure

    def _serve_scripted(self) -> NoReturn:
        # Loaded late: its web server is of no use to a real model.
        from stead.inference import scripted

        key = self._key()
        self.state = replace(self.state, model="scripted", tools="native", prompt="small")
        failed: list[BaseException] = []

        def ready(port: int) -> None:
            self._ready(f"http://127.0.0.1:{port}/v1")

        def work() -> None:
            try:
                scripted.serve(0, key, on_ready=ready)
            except BaseException as error:  # noqa: BLE001 - told by the main thread
                failed.append(error)
            self._stop.set()

        # In a thread, so that signals stay ours.
        threading.Thread(target=work, name="scripted", daemon=True).start()
        self._wait()
        if failed:
            raise ModelUnusable(name="scripted", why=str(failed[0])) from failed[0]
        self._end()

    def _key(self) -> str:
        self.key_file.parent.mkdir(mode=0o700, exist_ok=True)
        return ensure_key(self.key_file, "runtime")

    def _ready(self, url: str) -> None:
        self._tell("ready", url=url, key_file=str(self.key_file), done=0, total=0, why="")

    def _wait(self) -> None:
        """Return when told to stop, or when the parent is gone."""
        while not self._stop.wait(_LOOK_S):
            if os.getppid() != self.parent:
                return
            if not modelstate.path(self.home).exists():  # removed under us: we are here still
                with contextlib.suppress(OSError):
                    modelstate.write(self.home, self.state)

    # --- signals and state ----------------------------------------------------

    def _catch_signals(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._stop.set()
            # Whatever is under way polls the event; what cannot (a silent hub) is cut off.
            timer = threading.Timer(_STOP_S, self._end)
            timer.daemon = True
            timer.start()

        def orphaned(number: int, frame: FrameType | None) -> None:
            # Sent when the *thread* that started us ends; only the process's end counts.
            if os.getppid() != self.parent:
                stop(number, frame)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGUSR1, orphaned)
        machine.die_with_parent(signal.SIGUSR1)
        if os.getppid() != self.parent:  # it ended before the line above
            self._stop.set()

    def _end(self) -> NoReturn:
        """End this process now, whatever its threads are doing."""
        self._tell("stopped", url="", why="it was told to stop")
        os._exit(OK)

    def _tell(self, phase: str, **changes: Any) -> None:
        new = phase != self.state.phase
        if new:
            changes.setdefault("since", time.time())
        self.state = replace(self.state, phase=phase, **changes)
        self._told = time.monotonic()
        modelstate.write(self.home, self.state)
        if new:
            level = logging.ERROR if phase == "failed" else logging.INFO
            log.log(level, "%s", modelstate.words(self.state))

    def _tell_now_and_then(self, phase: str, **changes: Any) -> None:
        """As ``_tell``, but at most a few times a second."""
        if phase != self.state.phase or time.monotonic() - self._told >= _UPDATE_S:
            self._tell(phase, **changes)


# --- llama.cpp --------------------------------------------------------------------


def _xllamacpp() -> Any:
    """The runtime."""
    try:
        import xllamacpp  # late: it is an extra, and 100 MB of code
    except ImportError as error:
        raise NoRuntime(why=str(error)) from error
    return xllamacpp


def _params(library: Any, file: Path, profile: ModelProfile, key: str, threads: int) -> Any:
    """How llama.cpp's server is run here."""
    params = library.CommonParams()
    params.model.path = str(file)
    params.model_alias = {profile.name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # a free one
    params.api_keys = [key]
    params.cors_origins = ""  # no web page may ask it
    params.ui = False
    params.endpoint_slots = False  # it shows prompts
    params.verbosity = _ERRORS_ONLY
    params.use_jinja = True
    params.fit_params = False  # it would shrink the context behind our back
    # Each slot has room of its own. One pool for all (kv_unified) may be smaller, but when
    # it runs full both answers fail.
    memory = machine.memory_bytes()
    slots = SLOTS if memory >= _ROOMY else 1
    params.n_parallel = slots
    params.n_ctx = profile.context * slots
    # A conversation that lost its slot gets its prompt back from here.
    params.cache_prompt = True
    params.cache_ram_mib = min(_CACHE_MIB, memory // (16 << 20))
    # Small batches: a long prompt in one slot must not keep the other one waiting, and a
    # client that left is noticed between two batches.
    params.n_batch = params.n_ubatch = _BATCH
    # A connection that is kept open holds one of these.
    params.n_threads_http = _HTTP_THREADS
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads
    return params


@contextmanager
def _plain_signals() -> Iterator[None]:
    """SIGTERM and SIGINT end the process at once, without any handler."""
    wanted = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.SIG_DFL) for number in wanted]
    try:
        yield
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _words_to(file: Path) -> Iterator[Path]:
    """While the block runs, what the library writes to stderr goes to ``file``.

    The library says why a load failed only there. Kept after a crash, for people.
    """
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with file.open("wb") as log:
            os.dup2(log.fileno(), 2)
        yield file
    finally:
        os.dup2(before, 2)
        os.close(before)


def _reason(words: Path) -> str:
    """The first error among the library's words: ``0.00.143 E llama_model_load: ... why``."""
    try:
        lines = words.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, found, text = line.partition(" E ")
        if found:
            return text.split(": ", 1)[-1].strip()
    return "it did not say why"


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the model process's lock. Raises ``ModelBusy`` when another one keeps it."""
    file = home / "run" / "model.lock"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("wb") as lock:
        deadline = time.monotonic() + _TURN_S  # one that is just ending gets time to
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    state = modelstate.read(home)
                    who = f"another model process (pid {state.pid}); stop that one first"
                    raise ModelBusy(name=state.model or "local model", who=who) from None
            time.sleep(_UPDATE_S)
        yield
