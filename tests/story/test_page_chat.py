"""The chat room in a browser: words as they are written, nothing lost and nothing twice, whatever
happens to the line, and with nothing but a keyboard, a phone, or no JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.story.browser import Screen, axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORDS = " ".join(f"word{n}" for n in range(80))


def said(page: Page, role: str = "assistant") -> list[str]:
    return list(page.locator(f".msg.{role}[data-seq] > .body").all_inner_texts())


def send(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.keyboard.press("Enter")


def answered(page: Page, text: str) -> None:
    page.locator(".msg.assistant[data-seq] > .body", has_text=text).last.wait_for()


def test_words_as_they_are_written(screen: Screen) -> None:
    """Enter sends; the answer grows in the page and is then shown as it is meant; a second page
    and what is said in a terminal show the same, without being asked for."""
    page = screen.page("/chat?s=a/b c")
    other = screen.page("/chat?s=a/b c", phone=True)
    send(page, f"[[slow 20]] [[say **bold** {WORDS}]] tell me")
    for one in (page, other):
        one.locator(".msg.live", has_text="word3").wait_for()
    for one in (page, other):
        answered(one, "word79")
        assert said(one) == [f"bold {WORDS}"] and len(said(one, "owner")) == 1
        assert one.locator(".msg.assistant strong").inner_text() == "bold"
        one.locator(".msg.live, .msg.waits").first.wait_for(state="detached")
    screen.house.say("[[say from afar]]", session="a/b c")
    for one in (page, other):
        answered(one, "from afar")


def test_keys_alone(screen: Screen) -> None:
    """Esc stops an answer; the arrow up edits what was said last, and what came of it is folded;
    again asks for another answer; Shift+Enter makes a line."""
    page = screen.page("/chat?s=keys")
    send(page, f"[[slow 100]] [[say {WORDS}]]")
    page.locator(".msg.live", has_text="word2").wait_for()
    page.keyboard.press("Escape")
    page.locator(".msg.notice[data-seq]").wait_for()
    page.locator("#stop").wait_for(state="hidden")
    page.keyboard.press("ArrowUp")
    page.locator("#editing").wait_for()
    assert WORDS in page.locator("#text").input_value()
    page.locator("#text").fill("[[say one]]")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("more")
    page.keyboard.press("Enter")
    answered(page, "one")
    assert page.locator(".msg.old").count() == 2
    page.reload()
    assert page.locator(".msg.old").count() == 2
    page.locator(".msg.owner:not(.old) [data-do=again]").focus()
    page.keyboard.press("Enter")
    page.locator(".msg.assistant:not(.old)[data-seq]", has_text="one").last.wait_for()
    page.locator(".msg.old.assistant").wait_for(state="attached")


def test_off_the_line_and_back(screen: Screen) -> None:
    """What is typed while the line is away waits, over a reload too, and is sent once."""
    page = screen.page("/chat?s=offline")
    send(page, "[[say first]]")
    answered(page, "first")
    page.context.set_offline(True)
    send(page, "[[say second]]")
    page.locator(".msg.waits", has_text="waits for the line").wait_for()
    page.locator("#text").fill("half a thought")
    page.context.set_offline(False)
    page.reload()
    answered(page, "second")
    assert page.locator("#text").input_value() == "half a thought"
    assert said(page) == ["first", "second"] and len(said(page, "owner")) == 2
    page.locator(".msg.waits").first.wait_for(state="detached")


def test_hostile_words(screen: Screen) -> None:
    """Scripts, pictures of others, forged links and turned writing do nothing, while they are
    written and after; nobody else is asked for anything (``screen`` looks)."""
    page = screen.page("/chat?s=hostile")
    evil = "<img src=https://evil.example/x onerror=alert(1)> ![p](https://evil.example/p.png)"
    send(page, f"[[say {evil} <script>alert(1)</script> <b>x</b> \u202etxt.exe]] end")
    answered(page, "txt.exe")
    body = page.locator(".msg.assistant .body")
    assert body.locator("img, script, b").count() == 0
    assert "<script>" in body.inner_text() and "\u202e" not in page.content()
    assert "[picture: p]" in body.inner_text()


def test_long_and_many(screen: Screen) -> None:
    """A long message is shown in part, with a way to all of it; many are loaded as one goes back,
    each once, and only so many are held."""
    house = screen.house
    house.ended(house.say("[[say ok]] " + "long " * 60_000, session="long"))
    page = screen.page("/chat?s=long")
    link = page.locator(".msg.owner a", has_text="the whole has")
    assert len(page.content()) < 100_000
    link.click()
    assert page.locator("main pre").inner_text().count("long") > 30_000
    page.locator("a", has_text="Further on").click()
    page.locator("a", has_text="Back").wait_for()
    for n in range(75):
        house.say(f"[[say a{n}]]", session="many")
    house.until(lambda: house.get("/api/v1/sessions/many")["state"] == "idle", 60, "the end")
    page = screen.page("/chat?s=many")
    assert page.locator(".msg").count() == 60
    for there in (120, 150):
        page.locator("#log").evaluate("(log) => { log.scrollTop = 0; }")
        page.locator(".msg").nth(there - 1).wait_for(state="attached")
    seqs = page.locator(".msg").evaluate_all("(all) => all.map((one) => Number(one.dataset.seq))")
    assert len(seqs) == 150 and seqs == sorted(set(seqs))


def test_found_again(screen: Screen) -> None:
    """Words of any conversation are found, and lead to where they were said; conversations have
    names, ends, and a place out of the list."""
    house = screen.house
    house.ended(house.say("[[say the Quokka smiles]]", session="zoo"))
    page = screen.page("/chat/conversations?q=quokka")
    assert page.locator("mark").first.inner_text() == "Quokka"
    page.locator("a.whole", has=page.locator("mark")).first.click()
    assert "s=zoo" in page.url
    page = screen.page("/chat?s=zoo", js=False)
    page.locator("summary[aria-label='This conversation']").click()
    page.locator("input[name=name]").fill("The zoo")
    page.locator("button", has_text="Rename").click()
    assert page.locator("h1").inner_text() == "The zoo"
    page.locator("summary[aria-label='This conversation']").click()
    page.locator("button", has_text="End it").click()
    assert page.locator("#state").inner_text() == "ended"


def test_without_javascript(screen: Screen) -> None:
    """All is read, and a form sends; the same form sent twice is one message."""
    page = screen.page("/chat?s=plain", js=False)
    page.locator("#text").fill("[[say **plain**]]")
    page.locator("#send").click()
    house = screen.house
    house.until(lambda: len(house.get("/api/v1/messages?session=plain")["messages"]) == 2, 20, "it")
    page.goto("/chat?s=plain")
    assert page.locator(".msg.assistant strong").inner_text() == "plain"
    form = {"s": "plain", "text": "twice", "token": "abc"}
    for _ in range(2):
        assert page.request.post("/chat/say", form=form, max_redirects=0).status == 303
    shown = house.get("/api/v1/messages?session=plain")["messages"]
    assert [message["text"] for message in shown].count("twice") == 1


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_in_the_way_of_anybody(screen: Screen, dark: bool) -> None:
    """axe-core finds nothing, light and dark, on a desk and a phone."""
    house = screen.house
    house.ended(
        house.say("[[tool clock {}]] [[say # Head\n\n```\ncode\n```\n- a]] hi", session="axe")
    )
    for path in ("/chat?s=axe", "/chat/conversations", "/chat/conversations?q=code", "/chat/new"):
        page = screen.page(path, dark=dark, phone=dark)
        assert axe(page) == [], path
        page.context.close()


def test_the_gateway_is_killed_while_it_answers(screen: Screen) -> None:
    """kill -9 in mid-answer: the page comes back by itself and has each word once; what was typed
    meanwhile is sent, once."""
    house = screen.house
    page = screen.page("/chat?s=killed")
    send(page, f"[[slow 40]] [[say {WORDS}]] tell me")
    page.locator(".msg.live", has_text="word3").wait_for()
    house.kill("gateway")
    send(page, "[[say after]]")
    page.locator(".msg.waits", has_text="waits for the line").wait_for()
    house.start("gateway")
    house.until(house.whole, 60, "gateway and node")
    answered(page, "after")
    assert said(page) == [WORDS, "after"]
    assert len(said(page, "owner")) == 2
