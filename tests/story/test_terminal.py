"""`stead chat` in a real terminal: what is typed, what is shown, what is stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.house import House, house_in
from tests.story.tmux import Open, Terminal, terminal  # noqa: F401

RULES = """
[[permit]]
name = "look at the clock"
say = "ask"
tools = ["clock"]
"""
SLOW = " ".join(f"slow{n}" for n in range(400))


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    for house in house_in(tmp_path_factory.mktemp("talked-in"), more=RULES):
        house.all_up()
        yield house


def said(house: House, session: str, role: str = "owner") -> list[str]:
    """What the record has of a conversation."""
    rows = house.rows(
        "SELECT text FROM message WHERE session = ? AND role = ? ORDER BY seq", session, role
    )
    return [text for (text,) in rows]


def ready(window: Terminal) -> Terminal:
    """Once it reads what is typed."""
    window.until(lambda shown: shown.endswith(">"))
    return window


def test_talk_and_leave(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """An answer is shown once, with what it took; one goes on writing while it comes, and what is
    sent meanwhile is answered after it. Ctrl-D leaves a tidy terminal."""
    house, window = lived_in, ready(terminal(lived_in, "chat", "--session", "a"))
    window.type("[[slow 250]] [[say One two three four five six seven eight nine ten.]] first")
    window.until(lambda shown: "\nOne two" in shown and "ten." not in shown.split("\nOne two")[1])
    window.type("[[say And the second.]] second", enter=False)
    assert "second" in window.until("> [[say And the second.]] second")
    window.keys("Enter")
    shown = window.until("\nAnd the second.\n")
    assert shown.count("\nOne two three four five six seven eight nine ten.\n") == 1
    assert shown.index("\nOne two") < shown.index("\nAnd the second.")
    window.until(lambda text: text.count(" tokens, $") == 2)
    assert len(said(house, "a")) == 2
    window.keys("C-d")
    assert window.until("[left 0]").splitlines()[-1] == "[left 0]"


def test_stop(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """Ctrl-C and /stop end the answer, not the program; where nothing is under way Ctrl-C clears
    what was typed, or says how to leave."""
    house, window = lived_in, ready(terminal(lived_in, "chat", "--session", "b"))
    for stop in ("C-c", "/stop"):
        window.type(f"[[slow 50]] [[say {SLOW}]] {stop}")
        window.until(
            lambda shown: "\nslow0 " in shown.rpartition("> [[slow")[2] and "answering" in shown
        )
        if stop == "C-c":
            window.keys("C-c")
        else:
            window.type(stop)
        window.until("\nstopped" if stop == "C-c" else lambda text: text.count("\nstopped") == 2)
    states = house.rows("SELECT state FROM job WHERE session = 'b'")
    assert states == [("cancelled",), ("cancelled",)]
    window.type("half a thought", enter=False)
    window.until("> half a thought")
    window.keys("C-c")
    window.until(lambda shown: "half a thought" not in shown)
    window.keys("C-c")
    window.until("Ctrl-D leaves.")
    window.type("[[say Still here.]] are you?")
    window.until("\nStill here.\n")


def test_history(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """What was said is there at the next start, by arrow and by search: from the record, also what
    was said in another conversation; no file keeps it."""
    house = lived_in
    for session, text in (("c", "the oldest apricot"), ("c", "a newer plum"), ("c2", "a far fig")):
        house.ended(house.say(f"[[say Yes.]] {text}", session=session))
    window = ready(terminal(house, "chat", "--session", "c"))
    window.keys("Up")
    window.until(lambda shown: shown.endswith("> [[say Yes.]] a newer plum"))
    window.keys("Up")
    window.until(lambda shown: shown.endswith("> [[say Yes.]] the oldest apricot"))
    window.keys("C-c", "C-r")
    window.type("plu", enter=False)
    window.until(lambda shown: "plu" in shown.splitlines()[-1])
    window.keys("Enter")
    window.until(lambda shown: shown.endswith("> [[say Yes.]] a newer plum"))
    window.keys("Enter")
    window.until(lambda shown: len(said(house, "c")) == 3)
    assert said(house, "c")[-1] == "[[say Yes.]] a newer plum"


def test_lines_and_pastes(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """A message has as many lines as one likes; a paste never sends itself, and a long one is
    shown in short and sent whole."""
    house, window = lived_in, ready(terminal(lived_in, "chat", "--session", "d"))
    window.type("[[say Fine.]] one\\")
    window.type("two", enter=False)
    window.keys("M-Enter")
    window.type("three", enter=False)
    window.keys("C-j")
    window.type("four")
    window.until("\nFine.\n")
    assert said(house, "d") == ["[[say Fine.]] one\ntwo\nthree\nfour"]
    window.paste("[[say Pasted.]] red\ngreen\nblue\n")
    window.until(lambda shown: shown.endswith("blue"))
    assert len(said(house, "d")) == 1
    window.keys("Enter")
    window.until("\nPasted.\n")
    assert said(house, "d")[1] == "[[say Pasted.]] red\ngreen\nblue"
    long = "\n".join(f"row {n} of a long text that was pasted" for n in range(300))
    window.type("[[say Long.]] look: ", enter=False)
    window.paste(long)
    window.until(lambda shown: re.search(r"\[pasted \d+: 300 lines\]$", shown))
    window.type(" what is it?")
    window.until("\nLong.\n")
    assert said(house, "d")[2] == f"[[say Long.]] look: {long} what is it?"
    assert "row 7" not in window.shown()


def test_narrow_and_wide(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """In a narrow window rows end between words, also of scripts without spaces; code stays as it
    is, to be copied; the next answer fits a window that was made wider."""
    window = ready(terminal(lived_in, "chat", "--session", "e", width=28, height=12))
    window.type("[[say The quick brown fox jumps over the lazy dog again.]] x")
    shown = window.until("tokens")
    assert "\nThe quick brown fox jumps\nover the lazy dog again.\n" in shown
    text = "日本語の文章には空白がないので、どこでも改行ができます。"
    window.type(f"[[say {text}]] y")
    window.until(lambda shown: shown.count("\nwaited") == 2)
    rows = window.shown().split("]] y\n")[1].split("\nwaited")[0].splitlines()
    assert "".join(rows) == text and len(rows) == 3
    assert all(not row.startswith(("、", "。")) for row in rows), rows
    code = "print('a line of code that is longer than the window')"
    window.paste(f"[[say ```]] [[say {code}]] [[say ```]] z")
    window.keys("Enter")
    window.until("window')\n```")
    assert f"\n{code}\n" in window.shown(joined=True)
    window.resize(100, 24)
    wide = "Now there is room for a row that is a good deal longer than it was before."
    window.type(f"[[say {wide}]] w")
    window.until(f"\n{wide}\n")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}], ids=str)
def test_colours(lived_in: House, terminal: Open, env: dict[str, str]) -> None:  # noqa: F811
    """Colours and weights only where they are wanted and can be shown."""
    window = terminal(lived_in, "chat", "--session", "f", env=env)
    ready(window)
    window.type("[[say Plain enough.]] hello")
    window.until("tokens")
    told = window.shown(colours=True).split("[left")[0]
    assert ("\x1b[" in told) == (not env), told
    assert "\nPlain enough." in window.shown()


def test_hostile_words(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """What a model says moves no cursor, renames no window and turns no text around; it is shown
    for what it is."""
    house, window = lived_in, ready(terminal(lived_in, "chat", "--session", "g"))
    bad = "A\x1b[2J\x1b]0;owned\x07B\x9b31mC\u202eD\rE"
    house.ended(house.say(f"[[say {bad}]] go", session="g", channel="page"))
    shown = window.until("\nA␛")
    assert "A␛[2J␛]0;owned␇B�31mC�D␍E" in shown
    assert "Ctrl-D leaves" in shown
    assert "owned" not in window._tmux("display-message", "-p", "#{pane_title}")


def test_said_elsewhere(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """What is asked on the page is seen in the terminal as it happens, the answer while it comes,
    and nothing of it twice; what one is typing stays."""
    house, window = lived_in, ready(terminal(lived_in, "chat", "--session", "h"))
    window.type("I am just typ", enter=False)
    job = house.say(f"from [[slow 60]] [[say {SLOW}]]", session="h", channel="page")
    window.until(lambda shown: "page > from" in shown and shown.count("slow20 ") == 2)
    assert house.story(job)["job"]["state"] == "running"
    window.type("ing [[say Typed.]]")
    window.type("/stop")
    window.until("\nTyped.\n")
    shown = window.shown()
    assert shown.count("page > from") == 1 and shown.count("slow1 ") == 2  # asked, and answered
    assert said(house, "h")[1] == "I am just typing [[say Typed.]]"


def test_asked_in_place(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """What the agent asks is shown and answered where one talks; what was answered elsewhere
    meanwhile goes on by itself."""
    house, window = lived_in, ready(terminal(lived_in, "chat", "--session", "i"))
    window.type("[[tool clock {}]] [[say It is late.]] the time?")
    shown = window.until("allow?")
    assert "clock" in shown and "look at the clock" in shown
    window.type("perhaps")
    window.until("That is no answer.")
    window.type("yes")
    window.until("\nIt is late.\n")
    window.type("[[tool clock {}]] [[say Then not.]] the time?")
    window.until(lambda text: text.splitlines()[-1].startswith("allow?"))
    window.type("no, I have a watch")
    window.until("\nThen not.\n")
    said_no = house.rows("SELECT said FROM approval WHERE word = 'no'")
    assert said_no == [("I have a watch",)]
    window.type("[[tool clock {}]] [[say Answered.]] the time?")
    window.until(lambda text: text.splitlines()[-1].startswith("allow?"))
    (row,) = house.get("/api/v1/approvals")["approvals"]
    assert house.cli("approve", row["id"]).returncode == 0
    window.until("\nAnswered.\n")
    window.until(lambda text: text.splitlines()[-1] == "i>")


def test_a_question_from_before(lived_in: House, terminal: Open) -> None:  # noqa: F811
    """Who comes back finds the question that is open, and can put it off."""
    house = lived_in
    job = house.say("[[tool clock {}]] [[say Late.]] the time?", session="j")
    house.until(lambda: house.story(job)["job"]["state"] == "waiting", 60, "the question")
    window = terminal(house, "chat", "--session", "j")
    window.until("allow?")
    window.type("/later")
    window.until("It waits.")
    window.type("/deny not now")
    window.until("\nLate.\n")


def test_piped(lived_in: House, terminal: Open, tmp_path: Path) -> None:  # noqa: F811
    """In a pipe each line is a message; what is written to a pipe is the talk, without colours or
    prompts."""
    house, out = lived_in, tmp_path / "out.txt"
    window = terminal(
        house, "chat", "--session", "k", before="printf '[[say One.]] a\\n[[say Two.]] b\\n' | "
    )
    window.until("[left 0]")
    assert "One.\n" in window.shown() and "Two.\n" in window.shown()
    window = terminal(house, "chat", "--session", "k2", after=f" > {out}")
    window.until("Ctrl-D leaves")
    window.type("[[say To a file.]] c")
    window.until("tokens")
    window.keys("C-d")
    window.until("[left 0]")
    assert out.read_text() == "To a file.\n"


def test_files_go_along(lived_in: House, terminal: Open, tmp_path: Path) -> None:  # noqa: F811
    """A file is attached by its name, also one with spaces and by Tab, and goes with the next
    message; what cannot be attached is said, and nothing is sent."""
    house, window = lived_in, ready(terminal(lived_in, "chat", "--session", "l"))
    (tmp_path / "a list.txt").write_text("apples\n")
    window.type(f"/attach {tmp_path}/nothing.txt")
    window.until("cannot be attached")
    window.type(f"/attach {tmp_path}/a li", enter=False)
    window.keys("Tab", "Enter")
    window.until("Goes along: a list.txt (7 bytes)")
    window.until(lambda shown: shown.endswith("l +1>"))
    window.type("[[say Thanks.]] for you")
    window.until("\nThanks.\n")
    (message,) = [m for m in house.get("/api/v1/messages?session=l")["messages"] if m["files"]]
    assert [one["name"] for one in message["files"]] == ["a list.txt"]
    window.until(lambda shown: shown.endswith("\nl>"))
