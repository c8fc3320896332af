"""`stead chat` over lost connections, restarts and kills: no gap, no double; and conversations."""

from __future__ import annotations

from tests.story.house import House
from tests.story.tmux import Open, terminal  # noqa: F401

WORDS = [f"word{n}" for n in range(60)]


def told(shown: str) -> list[str]:
    """The words of the answer that stand on the screen, in order; not those of the question."""
    answer = shown.rpartition("tell me\n")[2]
    return [word for word in answer.split() if word.startswith("word")]


def test_gateway_killed_in_mid_answer(house: House, terminal: Open) -> None:  # noqa: F811
    """kill -9 of the gateway under an answer: the terminal says so, goes on when it is back, and
    each word stands there once. What is sent while it is away is given back, not lost."""
    house.all_up()
    window = terminal(house, "chat")
    window.until(lambda shown: shown.endswith(">"))
    window.type(f"[[slow 100]] [[say {' '.join(WORDS)}]] tell me")
    window.until(lambda shown: "word5" in told(shown))
    house.kill("gateway")
    window.until("trying again")
    window.type("and another thing")
    window.until("> and another thing\n")
    window.until(lambda shown: shown.endswith("> and another thing"))
    house.start("gateway")
    shown = window.until("tokens")
    assert told(shown) == WORDS
    window.until(lambda shown: "trying again" not in shown)
    window.keys("Enter")
    window.until("You said: and another thing")
    assert len(house.rows("SELECT 1 FROM message WHERE role = 'owner'")) == 2


def test_terminal_closed_in_mid_answer(house: House, terminal: Open) -> None:  # noqa: F811
    """A terminal that is closed under an answer stops nothing: the next one shows what was said so
    far, and goes on with it."""
    house.all_up()
    first = terminal(house, "chat")
    first.until(lambda shown: shown.endswith(">"))
    first.type(f"[[slow 100]] [[say {' '.join(WORDS)}]] tell me")
    first.until(lambda shown: "word5" in told(shown))
    first.close()
    second = terminal(house, "chat")
    second.until(lambda shown: told(shown) == WORDS)
    second.type("/new work")
    second.until("work>")
    second.type("[[say At work.]] hello")
    second.until("\nAt work.\n")
    second.type("/retry")
    second.until(lambda text: text.count("\nAt work.\n") == 2)
    second.type("/rename The day's work")
    second.until("It is called")
    second.type("/sessions")
    second.until(lambda text: "* idle" in text and "The day's work" in text)
    second.type("/find hello")
    second.until(lambda text: text.count("hello") > 1)
    second.type("/switch ma", enter=False)
    second.keys("Tab", "Enter")
    second.until("In the conversation main")
    house.until(
        lambda: house.rows("SELECT state FROM job ORDER BY id") == [("done",)] * 3, 30, "all jobs"
    )
