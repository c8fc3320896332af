"""The agent fills in a form in a real browser, and sends nothing before the owner has said yes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.story.house import House, house_in
from tests.website import Site, need_chromium, serving

FORM = """<!doctype html><title>Table for two</title><h1>Book a table</h1>
<form method="post" action="/booked">
<label>Name <input name="name"></label>
<label>Guests <select name="guests"><option>2</option><option>4</option></select></label>
<button>Book it</button></form>"""


def tool(name: str, **args: Any) -> str:
    return f"[[tool {name} {json.dumps(args)}]]"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    need_chromium()
    with serving() as made:
        made.pages["/"] = FORM
        made.pages["/booked"] = "<title>Booked</title><p>See you at eight."
        yield made


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[House]:
    more = f'[egress]\nprivate = ["127.0.0.1:{site.port}"]\n'
    for made in house_in(tmp_path_factory.mktemp("browser"), more=more):
        made.all_up()
        yield made


def ref(shown: str, words: str) -> str:
    """The reference on the line of a snapshot that holds some words."""
    line = next(line for line in shown.split("\n") if words in line and "[ref=" in line)
    return line.partition("[ref=")[2].partition("]")[0]


def results(story: Any) -> list[str]:
    steps = [step for step in story["steps"] if step["name"] == "tool:browser"]
    outputs = [json.loads(step["output"]) for step in steps if step["state"] == "done"]
    return [said.get("result") or f"error: {said.get('error')}" for said in outputs]


def waits(house: House, job_id: str, known: set[str]) -> Any:
    """The open question of a job that is none of those that are known."""

    def look() -> Any:
        if house.story(job_id)["job"]["state"] != "waiting":
            return None
        row = house.get(f"/api/v1/approvals/{job_id}")
        return None if row["id"] in known else row

    return house.until(look, 120, f"job {job_id} to ask")


def opened(site: Site) -> str:
    return tool("more_tools", group="browser") + tool("browser", action="open", url=f"{site.url}/")


def test_a_form_is_filled_in_with_the_owners_word(house: House, site: Site) -> None:
    """To look needs no word; what is typed and what is clicked is shown to the owner as a person
    would say it, and is done on that very page once he has allowed it, each of them once."""
    looked = house.ended(house.say(f"{opened(site)} [[say I see it.]] look at the form"), 120)
    assert looked["reply"]["text"] == "I see it.", looked
    (shown,) = results(looked)
    name, guests, book = ref(shown, "Name"), ref(shown, "Guests"), ref(shown, "Book it")
    job = house.say(
        f"{opened(site)} "
        + tool("browser", action="type", fields={name: "Ann", guests: "4"})
        + tool("browser", action="click", ref=book)
        + " [[say Booked.]] book a table"
    )
    known: set[str] = set()
    for words in ("'Ann' into the textbox 'Name'", "Click the button 'Book it' on 127.0.0.1"):
        row = waits(house, job, known)
        assert words in row["preview"] and site.posted == []
        known.add(row["id"])
        status, body = house.call(
            "POST", f"/api/v1/approvals/{row['id']}/answer", {"answer": "once"}
        )
        assert status == 200, body
    story = house.ended(job, 120)
    assert story["reply"]["text"] == "Booked.", story
    assert "See you at eight." in results(story)[-1]
    assert site.posted == [{"name": "Ann", "guests": "4"}]


def test_killed_while_the_page_is_open_nothing_is_sent_twice(house: House, site: Site) -> None:
    """A node that dies takes its browser with it. The job goes on elsewhere: it is told that the
    page is gone, and nothing on it is done without one."""
    site.posted.clear()
    job = house.say(
        f"{opened(site)} [[first 1500]] "
        + tool("browser", action="click", ref="e9")
        + " [[say The page was gone.]] book a table"
    )

    def is_open() -> bool:
        return any(step["name"] == "tool:browser" for step in house.story(job)["steps"])

    house.until(is_open, 120, "the page to be open")
    below = psutil.Process(house.parts["node"].pid).children(recursive=True)
    assert any("chrom" in process.name() for process in below)
    house.kill("node")
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not alive, "its browser lives on"
    house.start("node")
    story = house.ended(job, 120)
    assert story["reply"]["text"] == "The page was gone.", story
    assert "no page is open" in results(story)[-1]
    assert site.posted == []
