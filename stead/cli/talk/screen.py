"""The terminal of a live talk: what is said scrolls away above, below it one writes on.

Drawn by prompt_toolkit, which knows the keys and the widths; only `stead chat` on a terminal loads
it. Words that go to the scrollback are written to the terminal as they are, so whoever calls must
have made them harmless.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import DummyStyle, Style
from prompt_toolkit.styles.base import BaseStyle
from prompt_toolkit.widgets import SearchToolbar

from stead.cli.talk.folds import Folds
from stead.cli.talk.keys import bindings
from stead.cli.talk.rows import clipped

#: At most so often is the terminal written to, in seconds, and rows are gathered meanwhile.
_EVERY_S = 0.02
_ONE = ThreadPoolExecutor(1)
_STYLE = {"status": "fg:ansibrightblack", "prompt": "bold", "question": "fg:ansiyellow"}


class Screen:
    """What a talk shows, and what is typed. All but :meth:`run` may be called by any thread.

    ``said`` gets each line that was entered, ``stopped`` is called at Ctrl-C, and ``complete``
    gives what an unfinished text could go on as, whole. ``history``: what was said before, and
    what gives more of it, the newest first.
    """

    def __init__(
        self,
        *,
        said: Callable[[str], None],
        stopped: Callable[[], bool],
        complete: Callable[[str], list[str]],
        history: tuple[Iterable[str], Callable[[], Iterable[str]]],
        colour: bool,
    ) -> None:
        self.folds = Folds()
        self._said = said
        self._rows: deque[str] = deque()
        self._tail = ""
        self._status = ""
        self._prompt = "> "
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._due = False
        self._drawn = 0.0
        self._output = _Output.on(sys.stdout)
        self._input = Buffer(
            multiline=True,
            history=_Said(*history, self.folds),
            enable_history_search=False,
        )
        self._app = self._application(stopped, complete, colour)

    def _application(
        self, stopped: Callable[[], bool], complete: Callable[[str], list[str]], colour: bool
    ) -> Application[None]:
        search = SearchToolbar()
        text = BufferControl(
            self._input,
            search_buffer_control=search.control,
            preview_search=True,
            input_processors=[BeforeInput(self._shown_prompt)],
        )
        writing = Window(
            text,
            wrap_lines=True,
            dont_extend_height=True,
            get_line_prefix=self._prefix,
            height=lambda: Dimension(min=1, max=max(3, self._output.get_size().rows // 2)),
        )
        rows = HSplit(
            [self._line(self._shown_tail), self._line(self._shown_status), writing, search]
        )
        style: BaseStyle = Style.from_dict(_STYLE) if colour else DummyStyle()
        app: Application[None] = Application(
            Layout(rows, focused_element=writing),
            key_bindings=bindings(self, self._input, stopped, complete),
            style=style,
            include_default_pygments_style=False,
            color_depth=None if colour else ColorDepth.DEPTH_1_BIT,
            output=self._output,
            enable_page_navigation_bindings=False,
            mouse_support=False,
            erase_when_done=True,
            after_render=lambda app: self._output.free(),
        )
        return app

    def _line(self, shown: Callable[[], StyleAndTextTuples]) -> ConditionalContainer:
        window = Window(FormattedTextControl(shown), height=1, dont_extend_height=True)
        return ConditionalContainer(window, Condition(lambda: bool(shown())))

    # --- for any thread ---

    @property
    def width(self) -> int:
        """Columns there are now."""
        return self._output.get_size().columns

    def write(self, text: str) -> None:
        """Rows for the scrollback."""
        self._rows.append(text)
        self._soon()

    def tail(self, text: str) -> None:
        """The row that is being written."""
        self._tail = text.expandtabs(8)
        self._soon()

    def status(self, text: str) -> None:
        """What goes on, in a line."""
        self._status = text
        self._soon()

    def prompt(self, text: str) -> None:
        """What stands before the input."""
        self._prompt = text
        self._soon()

    def fill(self, text: str) -> None:
        """Put a text into the input, to be changed."""
        self._call(lambda: setattr(self._input, "text", self.folds.fold(text)))
        self._call(lambda: self._input.cursor_right(len(self._input.text)))

    def give_back(self, text: str) -> None:
        """As :meth:`fill`, unless something else is being written."""
        self._call(lambda: None if self._input.text else self.fill(text))

    def leave(self) -> None:
        """End :meth:`run`."""
        self._call(self._exit)

    # --- the loop ---

    def run(self) -> None:
        """Read and show until somebody leaves."""
        while self._rows:  # what is known before is no part of what is drawn
            sys.stdout.write(f"{self._rows.popleft()}\n")
        sys.stdout.flush()
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        for name in ("SIGTERM", "SIGHUP"):
            self._loop.add_signal_handler(getattr(signal, name), self._exit)
        try:
            await self._app.run_async(pre_run=self._begun)
        except EOFError:  # the terminal has gone
            pass
        finally:
            self._loop = None
            self._output.over()
            sys.stdout.flush()

    def _begun(self) -> None:
        self._context = contextvars.copy_context()
        self._soon()

    def _exit(self) -> None:
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    def enter(self) -> None:
        """What stands in the input was entered."""
        typed = self._input.text
        self._input.reset(append_to_history=bool(typed.strip()))
        self._said(typed)

    def hint(self, text: str) -> None:
        """A word of the program's own, until the next."""
        self.status(text)

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            self._call(self._later)

    def _call(self, what: Callable[[], object]) -> None:
        loop, context = self._loop, self._context
        if loop is not None and context is not None:
            loop.call_soon_threadsafe(what, context=context)
        else:
            self._due = False

    def _later(self) -> None:
        if self._loop is None:
            return
        wait = self._drawn + _EVERY_S - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._draw, context=self._context)
        else:
            self._draw()

    def _draw(self) -> None:
        """Write what is new above the input, in one go: no half of it is ever seen."""
        self._due = False
        self._drawn = time.monotonic()
        if not self._app.is_running or self._app.is_done:
            return
        rows: list[str] = []
        while self._rows:
            rows.append(self._rows.popleft())
        if rows:
            self._output.hold()
            self._app.renderer.erase()
            self._output.write_raw("".join(f"{row}\n" for row in rows))
        self._app.invalidate()

    # --- what is shown ---

    def _shown_tail(self) -> StyleAndTextTuples:
        return [("", clipped(self._tail, self.width - 1))] if self._tail else []

    def _shown_status(self) -> StyleAndTextTuples:
        if not self._status or self.width < 20:
            return []
        most = self.width - 1
        text = self._status
        return [("class:status", text if len(text) <= most else text[: most - 1] + "…")]

    def _shown_prompt(self) -> StyleAndTextTuples:
        return [("class:prompt", self._prompt)]

    def _prefix(self, number: int, wrapped: int) -> StyleAndTextTuples:
        return [] if number == 0 and wrapped == 0 else [("", "  ")]


class _Said(History):
    """What was said before; what is said now is kept by the gateway. What is known at the start is
    there with the first key, ``later`` is looked for meanwhile."""

    def __init__(
        self, first: Iterable[str], later: Callable[[], Iterable[str]], folds: Folds
    ) -> None:
        super().__init__()
        self._folds = folds
        self._add(first)
        self._later: Future[list[str]] | None = _ONE.submit(lambda: list(later()))

    def _add(self, texts: Iterable[str]) -> None:
        for text in texts:
            if not self._loaded_strings or text != self._loaded_strings[-1]:
                self._loaded_strings.append(self._folds.fold(text))

    async def load(self) -> AsyncGenerator[str, None]:
        at = 0
        while True:
            while at < len(self._loaded_strings):
                yield self._loaded_strings[at]
                at += 1
            if self._later is None:
                return
            found = await asyncio.shield(asyncio.wrap_future(self._later))
            if self._later is not None:
                self._later = None
                self._add(found)

    def load_history_strings(self) -> Iterable[str]:
        return self._loaded_strings

    def store_string(self, string: str) -> None:
        """The record has it."""


class _Output(Vt100_Output):
    """As prompt_toolkit's, but it can be held back, and leaves bracketed paste on until the end:
    what is pasted while it was off would be taken for lines that were entered."""

    @classmethod
    def on(cls, stream: object) -> _Output:
        made = cls.from_pty(sys.stdout)
        assert isinstance(made, _Output)
        made.enable_cpr = False  # a terminal that answers late would write into the input
        return made

    _held = False
    _ended = False

    def hold(self) -> None:
        """Write nothing until :meth:`free`: it is to be seen at once."""
        self._held = True

    def free(self) -> None:
        self._held = False
        self.flush()

    def flush(self) -> None:
        if not self._held:
            super().flush()

    def disable_bracketed_paste(self) -> None:
        if self._ended:
            super().disable_bracketed_paste()

    def over(self) -> None:
        """The talk has ended."""
        self._ended = True
        self.free()
        self.disable_bracketed_paste()
        self.flush()
