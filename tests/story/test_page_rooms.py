"""Jobs, approvals, nodes and health in a real browser: live, by hand, without scripts, hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.story.browser import Screen, axe
from tests.story.house import House, house_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

RULES = """
[[permit]]
name = "look at the clock"
say = "ask"
tools = ["clock", "message"]
"""
#: What a text may try on a page.
HOSTILE = (
    "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>"
    "{{7*7}}"
    " \u202egnp.exe\u202c \u200bx\u2066y\u2069 ]]> \"'><svg onload=window.hit=1> &lt;b&gt; %s"
)
ROOMS = ("/jobs", "/approvals", "/nodes", "/health")


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house in which the agent asks before it looks at the clock."""
    for house in house_in(tmp_path_factory.mktemp("rooms"), more=RULES):
        house.all_up()
        yield house


@pytest.fixture(autouse=True)
def nothing_asked(lived_in: House) -> None:
    """Each test begins with no question open."""
    for one in lived_in.get("/api/v1/approvals")["approvals"]:
        lived_in.call("POST", f"/api/v1/approvals/{one['id']}/answer", {"answer": "no"})


def waits(house: House, job_id: str) -> Any:
    """The open question of a job, once it waits."""

    def look() -> Any:
        if house.story(job_id)["job"]["state"] != "waiting":
            return None
        return house.get(f"/api/v1/approvals/{job_id}")

    return house.until(look, 60, f"job {job_id} to ask")


def asks(house: House, session: str, text: str = "the time?") -> Any:
    """A question of the agent's, in a conversation of its own."""
    job = house.say(f"[[tool clock {{}}]] [[say It is late.]] {text}", session=session)
    return waits(house, job)


def flat(page: Page) -> bool:
    """Nothing sticks out at the side."""
    width = "document.documentElement"
    return bool(page.evaluate(f"{width}.scrollWidth <= {width}.clientWidth"))


def test_every_room_is_well_made(screen: Screen) -> None:
    """No finding of axe-core in light and dark, on a desk and on a phone; nothing sticks out."""
    house = screen.house
    house.ended(house.say("hello", session="axe"))
    dead = house.say("[[fail 400]] dead", session="axe-dead")
    house.ended(dead)
    one = asks(house, "axe-asked")
    for dark in (False, True):
        page = screen.page(dark=dark, phone=dark)
        for path in (*ROOMS, f"/jobs/{one['job_id']}", f"/approvals/{one['id']}", f"/jobs/{dead}"):
            page.goto(path)
            assert (path, axe(page)) == (path, [])
            assert (path, flat(page)) == (path, True)
    house.call("POST", f"/api/v1/approvals/{one['id']}/answer", {"answer": "no"})


def test_jobs_come_and_change_without_a_look(screen: Screen) -> None:
    """A job shows up when it is queued and changes as it goes on; nothing is fetched again."""
    page = screen.page("/jobs?session=live")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("window.mark = 1")
    job = screen.house.say("[[say Yes.]] live one", session="live")
    row = page.locator(f"#job-{job}")
    row.get_by_text("done").wait_for()
    other = screen.house.say("elsewhere", session="not live")
    screen.house.ended(other)
    second = screen.house.say("live two", session="live")
    page.locator(f"#job-{second}").get_by_text("done").wait_for()
    assert page.locator("#jobs > li").first.get_attribute("id") == f"job-{second}"
    assert page.locator(f"#job-{other}").count() == 0
    assert page.evaluate("window.mark") == 1
    assert [url for url in asked if "/jobs" in url] == []


def test_a_lost_stream_goes_on_without_gap_or_double(screen: Screen) -> None:
    """What happened while the page was offline comes when it is back; each job once."""
    page = screen.page("/jobs?session=lost")
    first = screen.house.say("before", session="lost")
    page.locator(f"#job-{first}").get_by_text("done").wait_for()
    page.context.set_offline(True)
    missed = [screen.house.say(f"missed {n}", session="lost") for n in range(3)]
    for job in missed:
        screen.house.ended(job)
    page.context.set_offline(False)
    for job in missed:
        page.locator(f"#job-{job}").get_by_text("done").wait_for()
    ids = page.evaluate("[...document.querySelectorAll('#jobs > li')].map((one) => one.id)")
    assert ids == [f"job-{job}" for job in [*missed[::-1], first]]
    screen.wrong.clear()  # that it was offline


def test_the_story_of_a_job_in_words(screen: Screen) -> None:
    """Its steps and tools, what they cost, why it went where it went; live until it is over."""
    house = screen.house
    one = asks(house, "story", HOSTILE)
    page = screen.page(f"/jobs/{one['job_id'][-8:]}")
    page.wait_for_url(f"**/jobs/{one['job_id']}")
    page.get_by_text("It asked you").wait_for()
    page.locator("#head").get_by_text("See what exactly it asks").wait_for()
    house.call("POST", f"/api/v1/approvals/{one['id']}/answer", {"answer": "once"})
    page.locator("#head").get_by_text("done").wait_for()
    page.locator("#reply").get_by_text("It is late.").wait_for()
    tool = page.locator("#steps li", has_text="tool:clock").last
    tool.locator("summary").click()
    tool.get_by_text("Out", exact=True).wait_for()
    assert page.get_by_text("By the rule").count() == 1
    assert "U+202E" in page.locator("section[aria-labelledby=said]").inner_text()
    assert page.evaluate("window.hit") is None


def test_a_job_is_stopped_and_a_dead_one_tried_again(screen: Screen) -> None:
    """By a button, after a question; what was wrong is said with what to do."""
    house = screen.house
    slow = house.say("[[stall]] slow", session="slow")
    page = screen.page(f"/jobs/{slow}")
    page.get_by_role("button", name="Stop this job").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop this job").click()
    page.locator("#head .badge", has_text="cancelled").wait_for()
    assert house.ended(slow)["job"]["state"] == "cancelled"
    dead = house.say("[[fail 400]] again", session="again")
    assert house.ended(dead)["job"]["state"] == "dead"
    page.goto("/jobs?state=dead")
    page.locator(f"#job-{dead} a").click()
    page.get_by_text("Why:").wait_for()
    with page.expect_response(f"**/jobs/{dead}/retry") as answered:
        page.get_by_role("button", name="Try again").click()
    assert answered.value.status == 200
    house.until(lambda: house.story(dead)["job"]["epoch"] > 1, 60, "another attempt")


def test_approved_denied_and_revoked_by_hand(screen: Screen) -> None:
    """The question comes to an open page with its count; what is said holds at once."""
    house = screen.house
    page = screen.page("/approvals")
    badge = page.locator("#count-approvals")
    first = asks(house, "by hand 1")
    card = page.locator(f"#approval-{first['id']}")
    card.get_by_text("waits for you").wait_for()
    badge.get_by_text("1", exact=False).wait_for(state="attached")
    card.get_by_role("button", name="Allow once").click()
    page.get_by_text("Allowed, this once.").first.wait_for()
    assert house.ended(first["job_id"])["job"]["state"] == "done"
    page.locator("#count-approvals:empty").wait_for(state="attached")

    second = asks(house, "by hand 2")
    card = page.locator(f"#approval-{second['id']}")
    card.get_by_label("If you deny it").fill("not at night")
    card.get_by_role("button", name="Deny").click()
    page.locator(f"#past-{second['id']}").get_by_text("denied").wait_for()
    house.ended(second["job_id"])
    assert house.get(f"/api/v1/approvals/{second['id']}")["said"] == "not at night"

    third = asks(house, "by hand 3")
    card = page.locator(f"#approval-{third['id']}")
    card.get_by_role("button", name="Always allow").click()
    page.get_by_role("dialog").get_by_role("button", name="Always allow").click()
    grant = page.locator("#grants li", has_text="clock").first
    grant.wait_for()
    house.ended(third["job_id"])
    grant.get_by_role("button", name="Take back").click()
    page.get_by_role("dialog").get_by_role("button", name="Take back").click()
    page.locator("#grants").get_by_text("taken back").wait_for()
    assert house.get("/api/v1/grants")["grants"] == []


def test_an_answer_given_elsewhere_shows_here(screen: Screen) -> None:
    """Two open pages and a terminal: none offers what is over; the second word is refused."""
    house = screen.house
    one = asks(house, "elsewhere")
    pages = [screen.page(f"/approvals/{one['id']}"), screen.page("/jobs")]
    pages[1].locator("#count-approvals", has_text="1").wait_for(state="attached")
    house.call("POST", f"/api/v1/approvals/{one['id']}/answer", {"answer": "no", "by": "phone"})
    pages[0].get_by_text("Phone said no").wait_for()
    assert pages[0].get_by_role("button", name="Allow once").count() == 0
    pages[1].locator("#count-approvals:empty").wait_for(state="attached")


def test_by_keyboard_alone(screen: Screen) -> None:
    """From a room to the question and its answer, without a mouse; a change keeps the place."""
    house = screen.house
    one = asks(house, "keys")
    page = screen.page("/jobs")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/approvals")
    button = page.locator(f"#approval-{one['id']}").get_by_role("button", name="Allow once")
    button.wait_for()
    for _ in range(60):
        page.keyboard.press("Tab")
        if button.evaluate("(one) => one === document.activeElement"):
            break
    other = asks(house, "keys too")
    page.locator(f"#approval-{other['id']}").wait_for()
    assert button.evaluate("(one) => one === document.activeElement")
    page.keyboard.press("Enter")
    assert house.ended(one["job_id"])["job"]["state"] == "done"
    house.call("POST", f"/api/v1/approvals/{other['id']}/answer", {"answer": "no"})


def test_nodes_are_invited_drained_and_sent_away(screen: Screen) -> None:
    """The key once; what each does; drained and back; retired when it has nothing to do."""
    page = screen.page("/nodes")
    page.get_by_label("Its name").fill("no good name!")
    page.get_by_role("button", name="Invite").click()
    page.get_by_text("letters, digits, dots, dashes").wait_for()
    page.get_by_label("Its name").fill("attic.2")
    page.get_by_role("button", name="Invite").click()
    page.get_by_text("The key is shown only now.").wait_for()
    assert "stead node join http://localhost:" in page.locator("#join").inner_text()
    page.goto("/nodes")
    card = page.locator("#node-attic_2")
    card.get_by_text("is away").wait_for()
    card.get_by_role("button", name="Drain").click()
    card.get_by_text("drained").wait_for()
    card.get_by_role("button", name="Give it jobs again").click()
    card.get_by_role("button", name="Drain").wait_for()
    card.get_by_role("button", name="Retire").click()
    page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    card.get_by_text("Its key was taken back.").wait_for()
    nodes = {one["name"]: one for one in screen.house.get("/api/v1/nodes")["nodes"]}
    assert nodes["attic.2"]["revoked"] and not nodes["hands"]["draining"]


def test_what_a_node_does_now(screen: Screen) -> None:
    """Its job stands on its card while it works on it, and no longer."""
    house = screen.house
    page = screen.page("/nodes")
    job = house.say("[[stall]] busy", session="busy", mark="heavy")
    page.locator(f"#node-hands a[href='/jobs/{job}']").wait_for()
    house.call("POST", f"/api/v1/jobs/{job}/cancel")
    page.locator("#node-hands").get_by_text("It has nothing to do").wait_for()


def test_health_in_words_and_by_hand(screen: Screen) -> None:
    """All that `stead status` says; a backend is tested; a change shows without a look."""
    house = screen.house
    page = screen.page("/health")
    page.locator("#sentences").get_by_text("gateway at").wait_for()
    house.ended(house.say("[[fail 400]] sick", session="sick"))
    page.locator("#sentences").get_by_text("could not be done").wait_for()
    page.get_by_role("link", name="See these jobs").first.click()
    page.wait_for_url("**/jobs?state=dead")


def test_without_scripts_all_can_be_read_and_said(screen: Screen) -> None:
    """Lists, stories and questions are there, and plain forms work."""
    house = screen.house
    one = asks(house, "no scripts")
    page = screen.page("/jobs", js=False)
    assert page.locator(f"#job-{one['job_id']}").count() == 1
    assert page.locator("#count-approvals").inner_text().startswith("1")
    page.goto("/approvals")
    page.locator(f"#approval-{one['id']}").get_by_role("button", name="Allow once").click()
    page.wait_for_url(f"**/approvals/{one['id']}")
    assert page.get_by_text("Owner said once").count() == 1
    page.goto(f"/jobs/{one['job_id']}")
    assert house.ended(one["job_id"])["job"]["state"] == "done"
    for path in ROOMS:
        page.goto(path)
        assert page.locator("h1").count() == 1


def test_hostile_text_is_text(screen: Screen) -> None:
    """In what is said, in a tool's arguments, in the name of a conversation: shown as it is."""
    house = screen.house
    call = json.dumps({"text": HOSTILE + "A" * 5000}).replace("]]", "\\u005d]")
    job = house.say(f"[[tool message {call}]] [[say ok]] {HOSTILE}", session="hostile <b>")
    one = waits(house, job)
    page = screen.page("/approvals")
    page.locator(f"#approval-{one['id']}").get_by_text("window.hit=1").first.wait_for()
    text = page.locator(f"#approval-{one['id']}").inner_text()
    assert "⟨U+202E⟩" in text and "\u202e" not in page.content()
    for path in ("/jobs", f"/jobs/{job}", f"/approvals/{one['id']}"):
        page.goto(path)
        page.get_by_text("</script>").first.wait_for()
        assert flat(page) and page.evaluate("window.hit") is None
        assert page.locator("main script, main img, main svg[onload]").count() == 0
    house.call("POST", f"/api/v1/approvals/{one['id']}/answer", {"answer": "no"})


def test_more_of_a_long_list(screen: Screen, tmp_path: Path) -> None:
    """Older rows come by a button, each once, and the list stays live meanwhile."""
    house = screen.house
    made = [house.say(f"[[say {n}]] {n}", session="long", mark="light") for n in range(35)]
    for job in made:
        house.ended(job)
    page = screen.page("/jobs?session=long")
    assert page.locator("#jobs > li").count() == 30
    page.get_by_role("link", name="Older").click()
    page.locator(f"#job-{made[0]}").wait_for()
    one_more = house.say("[[say more]] more", session="long")
    page.locator(f"#job-{one_more}").wait_for()
    ids = page.evaluate("[...document.querySelectorAll('#jobs > li')].map((one) => one.id)")
    assert ids == [f"job-{job}" for job in [one_more, *made[::-1]]]
