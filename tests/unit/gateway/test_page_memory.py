"""The room *Memory*, with forms and links alone, over a whole gateway."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import quote

from tests.unit.gateway.browsing import HOSTILE, Browsing
from tests.unit.gateway.parts import Gate

CARD = "memory/cards/boiler.md"
DAY = 86_400_000


def write(gate: Gate, path: str, text: str) -> Path:
    file = gate.home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


async def test_every_page_is_sound_whatever_is_in_it(gate: Gate) -> None:
    """Hostile words in files, names, facts, notes, questions: all pages that links lead to come,
    are whole HTML, and show the words as words."""
    write(gate, CARD, f"---\ntopic: {HOSTILE}\n---\n# {HOSTILE}\n\n- {HOSTILE}\n")
    write(gate, "memory/2026-11-20.md", f"# 2026-11-20\n\n- 08:00:01 **{HOSTILE}**: {HOSTILE}\n")
    write(gate, f"memory/{HOSTILE.replace('/', '')}.md", f"{HOSTILE}\n")
    write(gate, "knowledge/contacts/bad.vcf", f"BEGIN:VCARD\nFN:{HOSTILE}\n")
    fact = {"subject": f"Ada {HOSTILE}", "predicate": HOSTILE, "value": HOSTILE, "kind": HOSTILE}
    for value in (HOSTILE, "other"):
        await gate.ask(
            "POST", "/api/v1/memory/graph/facts",
            {**fact, "value": value, "since": DAY, "entity": value != HOSTILE},
        )  # fmt: skip
    made = await gate.ask(
        "POST", "/api/v1/contacts", {"name": f"Bo {HOSTILE}", "emails": [HOSTILE]}
    )
    for kind, body in (
        ("notes", {"text": HOSTILE}), ("follow-ups", {"text": HOSTILE, "due": 5 * DAY})
    ):  # fmt: skip
        await gate.ask("POST", f"/api/v1/contacts/{made.data['id']}/{kind}", body)
    browsing = Browsing(gate)
    starts = ("/memory", f"/memory?q={quote(HOSTILE)}", f"/memory/graph?like={quote(HOSTILE)}")
    pages = await browsing.every(*starts)
    kinds = {url.partition("?")[0] for url in pages}
    assert {"/memory/file", "/memory/edit", "/memory/graph/of", "/memory/contacts/of"} <= kinds
    shown = [page for page in pages.values() if "<script>alert(1)</script>" in page.words]
    assert len(shown) > 8, [page.url for page in shown]
    for page in pages.values():
        assert "<script>alert" not in page.html.replace("&lt;", "")
        assert "49 ' " not in page.html


async def test_found_with_filters_and_followed_to_its_line(gate: Gate) -> None:
    """Words with typos, exact phrases, a layer, a time; a hit leads to its line in the file."""
    write(gate, CARD, "# Boiler\n\n- The boiler is serviced by Ines Weber\n- It stands below\n")
    write(gate, "memory/2026-11-20.md", "# 2026-11-20\n\n- 08:00:01 a boiler was seen\n")
    await gate.ask("POST", "/api/v1/memory/refresh")
    browsing = Browsing(gate)
    page = await browsing.get("/memory")
    form = page.form("q", "since")
    found = await browsing.send(form, q="boilr servced")
    assert "Ines Weber" in found.words
    exact = await browsing.send(form, q="serviced boiler", exact="1")
    assert "Nothing that fits" in exact.words
    layered = await browsing.send(form, q="boiler", layer="daily")
    assert "a boiler was seen" in layered.words and "Ines" not in layered.words
    late = await browsing.send(form, q="boiler", layer="daily", since="2026-11-21")
    assert "was seen" not in late.words
    wrong = await browsing.send(form, q="boiler", since="yesteryear", status=422)
    assert "is not a day" in wrong.words and wrong.form("q", "since").fields["q"] == "boiler"
    link = next(one for one in found.links if "boiler" in one and "#L3" in one)
    file = await browsing.get(link)
    assert 'id="L3" class="cited"' in file.html and "It stands below" in file.words


async def test_an_edit_meets_another(gate: Gate) -> None:
    """Shown before it is saved; when the file changed meanwhile nothing is lost on either side:
    the difference is shown, the text is still there, and may go over the other all the same."""
    rest = "three\n" + "and more\n" * 20
    file = write(gate, CARD, f"one\ntwo\n{rest}")
    browsing = Browsing(gate)
    form = (await browsing.get(f"/memory/edit?path={CARD}")).form("text", "base")
    assert form.fields["text"] == f"one\ntwo\n{rest}"
    checked = await browsing.send(form, "check", text=f"one\nDEUX\n{rest}")
    assert "-two" in checked.words and "+DEUX" in checked.words
    assert file.read_text() == f"one\ntwo\n{rest}"
    file.write_text(f"one\ntwo\n{rest}four, by hand\n")
    again = checked.form("text", "base")
    clash = await browsing.send(again, "save", status=422)
    assert "changed meanwhile" in clash.words and "-four, by hand" in clash.words
    form = clash.form("text", "now")
    assert form.fields["text"] == f"one\nDEUX\n{rest}" and "four" in file.read_text()
    saved = await browsing.send(form, "over")
    assert "Saved" in saved.words and file.read_text() == f"one\nDEUX\n{rest}"
    form = (await browsing.get(f"/memory/edit?path={CARD}")).form("text", "base")
    doubtful = await browsing.send(form, "save", text="1\n", status=422)
    assert "less" in doubtful.words and file.read_text() == f"one\nDEUX\n{rest}"
    await browsing.send(doubtful.form("text", "base"), "save", sure="1")
    assert file.read_text() == "1\n"
    history = await browsing.get(f"/memory/history?what={CARD}")
    change = next(link for link in history.links if link.startswith("/memory/history/"))
    undone = await browsing.send((await browsing.get(change)).form("change"))
    assert "Taken back" in undone.words and file.read_text() == f"one\nDEUX\n{rest}"
    new = (await browsing.get("/memory/edit?path=Garden%20tools")).form("text", "base")
    await browsing.send(new, "save", text="\n\n- a rake\n")
    assert (gate.home / "memory/cards/garden-tools.md").read_text() == "\n\n- a rake\n"


async def test_the_graph_as_of_a_day(gate: Gate) -> None:
    """Said, looked at as of a day, ended, taken back, and back again."""
    browsing = Browsing(gate)
    form = (await browsing.get("/memory/graph")).form("subject")
    made = await browsing.send(
        form, "assert", subject="Ada", predicate="lives in", value="Bremen", since="2020-01-01"
    )
    assert "Written down" in made.words and "Bremen" in made.words
    before = await browsing.send(made.form("as_of"), as_of="2019-06-01")
    assert "Bremen" not in before.words
    ended = await browsing.send(made.form("fact", "at"), "close", at="2021-01-01")
    assert "2020-01-01 to 2021-01-01" in ended.words
    assert "Bremen" in (await browsing.send(made.form("as_of"), as_of="2020-06-01")).words
    bad = await browsing.send(made.form("fact", "at"), "close", at="2001-01-01", status=422)
    assert "before it begins" in bad.words
    gone = await browsing.send(ended.form("fact", button="retract"), "retract")
    assert "No facts" in gone.words
    log = await browsing.get("/memory/graph/log")
    await browsing.send(log.form("operation"), "undo")
    assert "Bremen" in (await browsing.get("/memory/graph/of?name=Ada")).words
    empty = await browsing.send(form, "assert", subject="", predicate="x", value="y", status=422)
    assert empty.form("subject").fields["predicate"] == "x"


async def test_contacts_are_kept_and_reminded_of(gate: Gate) -> None:
    """Added, found, noted, reminded of, done, out and back."""
    browsing = Browsing(gate)
    form = (await browsing.get("/memory/contacts")).form("name", "emails")
    person = await browsing.send(form, "add", name="Ines Weber", emails="i@example.org\nx@y.org")
    noted = await browsing.send(person.form("text", button="note"), "note", text="likes tea")
    assert "likes tea" in noted.words and "x@y.org" in noted.words
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() + 3 * 86_400))
    follow = noted.form("text", "due")
    wrong = await browsing.send(follow, "follow", text="call", due="soon", status=422)
    assert wrong.form("text", "due").fields["text"] == "call"
    await browsing.send(follow, "follow", text="call back", due=day)
    people = await browsing.get("/memory/contacts")
    assert "call back" in people.words and day in people.words
    await browsing.send(people.form("fact"), "done")
    assert "call back" not in (await browsing.get("/memory/contacts")).words
    last = await browsing.get(next(one for one in noted.links if "/last" in one))
    assert "Nothing was heard" in last.words
    found = await browsing.get("/memory/contacts?like=x%40y.org")
    assert "Ines Weber" in found.words
    gone = await browsing.send(noted.form("who", button="remove"), "remove")
    assert "Ines" not in gone.words
    back = await browsing.send(gone.form("operation"), "undo")
    assert "Ines Weber" in back.words


async def test_forgotten_after_a_look(gate: Gate) -> None:
    """What would go is shown first; then it is gone, and the receipt says so."""
    file = write(gate, CARD, "- keep this\n- gooseberry 4711 is secret\n")
    browsing = Browsing(gate)
    form = (await browsing.get("/memory/forget")).form("kind", "words")
    empty = await browsing.send(form, "plan", kind="text", words=" ", status=422)
    assert "Say what is to be forgotten" in empty.words
    nothing = await browsing.send(form, "plan", kind="text", words="no such words")
    assert "Nothing of it was found" in nothing.words
    plan = await browsing.send(form, "plan", kind="text", words="gooseberry 4711")
    assert "gooseberry 4711 is secret" in plan.words and "gooseberry" in file.read_text()
    page = await browsing.send(plan.form("words", button="forget"), "forget")
    for _ in range(600):
        if "The receipt" in page.words:
            break
        await asyncio.sleep(0.1)
        page = await browsing.get("/memory/forget")
        assert 'role="alert"' not in page.html.partition('id="told-now"')[0], page.words
    assert "The receipt" in page.words and "gooseberry" not in file.read_text()
    assert "keep this" in file.read_text()


async def test_the_index_is_made_anew(gate: Gate) -> None:
    """How it is, and how far a new one is, until it is there."""
    write(gate, CARD, "- one\n- two\n")
    browsing = Browsing(gate)
    page = await browsing.get("/memory/index")
    page = await browsing.send(next(one for one in page.forms if one.action == "/memory/index"))
    for _ in range(600):
        if "Made anew" in page.words:
            break
        await asyncio.sleep(0.1)
        page = await browsing.get("/memory/index/state")
    assert "Made anew: 2 entries from 1 file" in page.words
