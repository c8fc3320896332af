"""What can be said to `stead chat` itself, rather than to the agent."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from stead.cli.common import dim, one_line, size, style, when
from stead.cli.talk.talk import Talk, title
from stead.core.errors import BadRequest, NotFound, SteadError


class Front(Protocol):
    """Who talks: line by line, or live."""

    talk: Talk

    def tell(self, text: str) -> None:
        """Words of the program's own; colours in them are its own too."""

    def arrive(self, go: Callable[[], object] = ...) -> None:
        """``go`` to another conversation, and show it."""

    def stop(self, every: bool) -> bool:
        """Stop the answer that comes, or all that was asked; whether there was any."""

    def send(self, text: str) -> None:
        """Say something, and follow what becomes of it."""

    def again(self, job_id: str) -> None:
        """Follow a job that goes on."""

    def fill(self, text: str) -> None:
        """Give a text to be changed."""

    def answer(self, word: str, text: str) -> None:
        """The owner's word on the question that is open."""

    def leave(self) -> None:
        """End the talk."""


class Command(NamedTuple):
    """One word after a slash."""

    do: Callable[[Front, str], None]
    args: str
    help: str


def _new(front: Front, rest: str) -> None:
    talk = front.talk
    front.arrive(lambda: talk.anew(rest))
    what = "off the record too" if talk.off else talk.session
    front.tell(dim(f"A new conversation: {one_line(what, 60)}"))


def _sessions(front: Front, rest: str) -> None:
    found = front.talk.sessions(like=rest)
    if not found:
        front.tell("No conversation is called like that." if rest else "There is none yet.")
    for one in found:
        front.tell(row(one, str(one["id"]) == front.talk.session))


def row(one: dict[str, Any], here: bool) -> str:
    """A conversation, in a line."""
    state = str(one.get("state", ""))
    colour = {"running": "cyan", "waiting": "yellow"}.get(state)
    about = title(one)
    about = "" if about == one["id"] else f"  {one_line(about, 50)}"
    mark = "*" if here else " "
    at = dim(when(one.get("last_at")))
    return f"{mark} {style(f'{state:<8}', fg=colour)} {at}  {one_line(str(one['id']), 40)}{about}"


def _switch(front: Front, rest: str) -> None:
    if not rest:
        front.tell("Which one? /sessions lists them; /switch NAME goes there.")
        return
    if front.talk.off:
        front.tell("What is off the record has no other conversations; /quit leaves it.")
        return
    name = front.talk.named(rest)
    front.tell(dim(f"In the conversation {one_line(name, 60)}"))
    front.arrive(lambda: front.talk.move(name))


def _rename(front: Front, rest: str) -> None:
    if not rest:
        front.tell("What shall it be called? /rename TITLE")
        return
    front.talk.rename(rest)
    front.tell(dim(f"It is called {one_line(rest, 60)} now."))


def _end(front: Front, rest: str) -> None:
    front.talk.end()
    front.tell(dim("This conversation is ended; what is said in it begins it again."))


def _find(front: Front, rest: str) -> None:
    if not rest:
        front.tell("What for? /find WORDS")
        return
    found = front.talk.find(rest)
    if not found:
        front.tell("Nothing was said like that.")
    for one in found:
        where = one_line(str(one["session"]), 30)
        front.tell(f"{dim(when(one['at']))}  {where}  {one_line(str(one['snippet']), 100)}")


def _attach(front: Front, rest: str) -> None:
    try:
        names = shlex.split(rest)
    except ValueError as error:
        raise BadRequest(f"The names of the files cannot be read: {error}.") from error
    if not names:
        held = ", ".join(one_line(str(one["name"]), 40) for one in front.talk.files)
        front.tell(f"With the next message: {held}" if held else "Which file? /attach FILE ...")
    for name in names:
        path = Path(name).expanduser()
        # As one types it who does not know of quoting.
        whole = Path(rest).expanduser()
        one = front.talk.attach(whole if not path.exists() and whole.exists() else path)
        front.tell(dim(f"Goes along: {one_line(str(one['name']), 60)} ({size(int(one['size']))})"))
        if whole.exists() and not path.exists():
            return


def _detach(front: Front, rest: str) -> None:
    front.talk.files = []
    front.tell(dim("No file goes along."))


def _stop(front: Front, rest: str) -> None:
    if not front.stop(rest == "all"):
        front.tell(
            dim("Nothing was asked yet." if not front.talk.last else "Nothing is under way.")
        )


def _retry(front: Front, rest: str) -> None:
    talk = front.talk
    if talk.last and talk.state(talk.last) == "dead":
        talk.revive(talk.last)
        front.again(talk.last)
    elif talk.message:
        front.again(talk.again())
    else:
        front.tell("Nothing was said yet that could be said again.")


def _edit(front: Front, rest: str) -> None:
    talk = front.talk
    if not talk.said:
        front.tell("Nothing was said yet that could be changed.")
        return
    talk.replaces = talk.message
    front.fill(talk.said)


def _marked(mark: str) -> Callable[[Front, str], None]:
    def do(front: Front, rest: str) -> None:
        talk = front.talk
        talk.mark = "" if talk.mark == mark else mark
        where = {"light": "answered in the gateway", "heavy": "sent to a node"}
        front.tell(dim(f"From now on {where.get(talk.mark, 'the router decides')}."))

    return do


def _approve(front: Front, rest: str) -> None:
    front.answer(rest.lower() or "once", "")


def _deny(front: Front, rest: str) -> None:
    front.answer("no", rest)


def _help(front: Front, rest: str) -> None:
    for name, command in COMMANDS.items():
        if command.help:
            front.tell(f"{f'/{name} {command.args}':<18} {command.help}")
    front.tell(KEYS)


def _quit(front: Front, rest: str) -> None:
    front.leave()


COMMANDS: dict[str, Command] = {
    "new": Command(_new, "[NAME]", "begin a new conversation"),
    "sessions": Command(_sessions, "[WORD]", "list the conversations"),
    "switch": Command(_switch, "NAME", "go to another conversation"),
    "rename": Command(_rename, "TITLE", "call this conversation something"),
    "end": Command(_end, "", "end this conversation (it stays in the record)"),
    "find": Command(_find, "WORDS", "search what was said in all conversations"),
    "attach": Command(_attach, "FILE ...", "send files with the next message"),
    "detach": Command(_detach, "", "send none"),
    "stop": Command(_stop, "[all]", "stop the answer that comes (as does Ctrl-C), or all"),
    "retry": Command(_retry, "", "ask again what was asked last"),
    "edit": Command(_edit, "", "change what was said last, and say it again"),
    "approve": Command(_approve, "[job|always]", "allow what is asked"),
    "deny": Command(_deny, "[WHY]", "forbid what is asked"),
    "light": Command(_marked("light"), "", "answer the next in the gateway (again: router)"),
    "heavy": Command(_marked("heavy"), "", "send the next to a node (again: router)"),
    "help": Command(_help, "", "this list"),
    "quit": Command(_quit, "", "leave (as does Ctrl-D)"),
    "cancel": Command(_stop, "", ""),
    "exit": Command(_quit, "", ""),
}
KEYS = """\
A line that ends with \\ goes on in the next; // at its beginning says a /.
At a terminal: Alt-Enter or Ctrl-J begins a line, Ctrl-R searches what you said, Tab completes,
Ctrl-X Ctrl-E opens your editor."""


def is_command(line: str) -> bool:
    """Whether a line is for the program: a path at its beginning is not."""
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    return word.startswith("/") and "/" not in word[1:]


def meant(line: str) -> str:
    """What a line that is no command says."""
    return line[1:] if line.startswith("//") else line


def obey(front: Front, line: str) -> None:
    """Do what a line says. Errors are told."""
    word, _, rest = line.strip().partition(" ")
    command = COMMANDS.get(word[1:].lower())
    if command is None:
        front.tell(f"There is no {one_line(word, 40)}.")
        _help(front, "")
        return
    try:
        command.do(front, rest.strip())
    except NotFound as error:
        front.tell(error.message)


def complete(text: str, talk: Talk) -> list[str]:
    """What a line that begins so could be."""
    word, space, rest = text.partition(" ")
    if not word.startswith("/"):
        return []
    if not space:
        return [
            f"/{name}" for name, c in COMMANDS.items() if c.help and f"/{name}".startswith(word)
        ]
    if word == "/switch":
        try:
            found = talk.sessions(like=rest, limit=30)
        except SteadError:
            return []
        return [f"{word} {one['id']}" for one in found if str(one["id"]).startswith(rest)]
    if word == "/attach":
        return [f"{word} {path}" for path in _paths(rest)]
    options = {"/stop": ["all"], "/approve": ["once", "job", "always"]}.get(word, [])
    return [f"{word} {one}" for one in options if one.startswith(rest)]


def _paths(begun: str) -> list[str]:
    """Files and folders that a name could go on as, in the form it can be read again."""
    before, slash, last = begun.rpartition("/")
    folder = Path(before + slash or ".").expanduser()
    try:
        found = [one for one in folder.iterdir() if one.name.startswith(last)]
    except OSError:
        return []
    shown = [one for one in found if last or not one.name.startswith(".")]
    names = [f"{before}{slash}{one.name}{'/' * one.is_dir()}" for one in shown]
    return sorted(name for name in names if name.isprintable())[:100]
