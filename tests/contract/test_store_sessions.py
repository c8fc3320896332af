"""The contract of a storage: conversations, what took the place of what, and words in them."""

from __future__ import annotations

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.core.nouns import Turn
from stead.core.people import inside
from stead.core.storage import Store
from tests.contract.storages import House, chat, claim, claimed, converse, finish, inbound

ADA = "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"


async def say(store: Store, text: str, session: str = "main", **more: object) -> str:
    """A message and its answer; its id."""
    accepted = await store.accept(inbound(text, session=session, **more), chat(session), "")
    job = await claimed(store)
    await finish(store, job, text=f"answer to {text}")
    return accepted.message_id


async def prompt(store: Store, text: str = "now", **more: object) -> list[str]:
    """What the next message would be told of the conversation before it."""
    await store.accept(inbound(text, **more), chat(), "")
    job = await claimed(store)
    turns: list[Turn] = await store.history(job)
    await finish(store, job, text="ok")
    return [turn.text for turn in turns]


# --- in the place of ------------------------------------------------------------------


async def test_what_is_said_anew_takes_the_place_of_all_after(house: House) -> None:
    """In prompts the new words stand where the old ones stood, and what came after is not there;
    the record has both, and says which took the place of which."""
    store = house.store
    await say(store, "one")
    two = await say(store, "two")
    await say(store, "three")
    anew = await say(store, "TWO", replaces=two)
    assert await prompt(store) == ["one", "answer to one", "TWO", "answer to TWO"]
    store = house.reopen()
    shown = {m["text"]: m for m in (await store.view_messages("main", -1, 50))["messages"]}
    assert shown["TWO"]["replaces"] == two and shown["TWO"]["replaced_by"] == ""
    for old in ("two", "answer to two", "three", "answer to three"):
        assert shown[old]["replaced_by"] == anew
    assert shown["one"]["replaced_by"] == shown["answer to one"]["replaced_by"] == ""
    story = await store.view_why(two)
    assert story["message"]["replaced_by"] == anew
    assert (await store.view_why(anew))["message"]["replaces"] == two


async def test_a_prompt_ends_before_what_it_takes_the_place_of(store: Store) -> None:
    """The new words are told what was said before the old ones, at every attempt."""
    await say(store, "one")
    two = await say(store, "two")
    assert await prompt(store, "TWO", replaces=two) == ["one", "answer to one"]


async def test_going_back_behind_a_new_turn_brings_the_old_one_again(store: Store) -> None:
    """Who says a turn of the first way anew goes on from it: the second way is not there."""
    one = await say(store, "one")
    two = await say(store, "two")
    await say(store, "ONE", replaces=one)
    assert await prompt(store, "TWO", replaces=two) == ["one", "answer to one"]
    assert await prompt(store) == ["one", "answer to one", "TWO", "ok"]


async def test_a_retry_again_and_again_is_told_the_same(store: Store) -> None:
    """Each try is told what stood before the first, whichever of them it takes the place of."""
    await say(store, "one")
    last = await say(store, "try")
    for _ in range(5):
        assert await prompt(store, "look", replaces=last) == ["one", "answer to one"]
        last = (await store.view_messages("main", -1, 2))["messages"][0]["id"]


async def test_only_what_the_owner_said_here_can_be_said_anew(store: Store) -> None:
    """Words of others, of other conversations or of nobody are refused, and nothing is written."""
    await say(store, "one")
    there = await say(store, "elsewhere", session="other")
    answer = (await store.view_messages("main", -1, 1))["messages"][0]["id"]
    for replaces, error in ((there, NotFound), ("nobody", NotFound), (answer, BadRequest)):
        with pytest.raises(error):
            await store.accept(inbound("x", replaces=replaces), chat(), "")
    assert len((await store.view_messages("main", -1, 50))["messages"]) == 2
    assert await claim(store) is None


async def test_what_is_under_way_from_a_turn_on(store: Store) -> None:
    """The jobs that a new turn makes void are those from its place on that are not over."""
    await converse(store, "before", "yes")
    first = await store.accept(inbound("a"), chat(), "")
    second = await store.accept(inbound("b"), chat(), "")
    anew = await store.accept(inbound("A", replaces=first.message_id), chat(), "")
    await store.accept(inbound("c"), chat(), "")
    assert await store.jobs_instead("main", anew.message_id) == [first.job_id, second.job_id]
    assert await store.jobs_instead("main", first.message_id) == []
    assert await store.jobs_instead("other", anew.message_id) == []


# --- the list ---------------------------------------------------------------------------


async def test_conversations_the_last_one_first_and_in_pages(house: House) -> None:
    """Each is in exactly one page, whichever the size of the pages; the last one used comes
    first, with how it begins."""
    for n in range(7):
        await say(house.store, f"about {n}\nand more", session=f"s{n}")
    await say(house.store, "again", session="s3")
    store = house.reopen()
    seen: list[str] = []
    before = ""
    while True:
        page = await store.view_sessions(before=before, limit=3)
        seen += [one["id"] for one in page["sessions"]]
        before = page["next"]
        if not page["more"]:
            break
    assert seen[0] == "s3" and sorted(seen) == [f"s{n}" for n in range(7)]
    assert before == ""
    (first,) = (await store.view_sessions(limit=1))["sessions"]
    assert first["title"] == "about 3 and more" and first["turns"] == 2
    found = await store.view_sessions(like="ABOUT 5")
    assert [one["id"] for one in found["sessions"]] == ["s5"]
    with pytest.raises(BadRequest):
        await store.view_sessions(before="nonsense")


async def test_running_idle_and_ended(store: Store) -> None:
    """A conversation runs while a job of it is queued or runs, is idle then, and ended when the
    owner said so, until something is said in it."""

    async def state() -> str:
        return str((await store.view_session("main"))["state"])

    with pytest.raises(NotFound):
        await store.view_session("main")
    await store.accept(inbound("a"), chat(), "")
    assert await state() == "running"
    job = await claimed(store)
    view = await store.view_session("main")
    assert view["state"] == "running" and view["jobs"][0]["state"] == "running"
    await finish(store, job, text="b")
    assert await state() == "idle"
    await store.end_session("main")
    assert await state() == "ended"
    await say(store, "c")
    assert await state() == "idle"


async def test_a_name_is_kept_and_taken_back(store: Store) -> None:
    """It is shown instead of how the conversation begins, until it is taken back."""
    await say(store, "hello there")
    await store.name_session("main", "The garden")
    assert (await store.view_session("main"))["title"] == "The garden"
    await store.name_session("main", "")
    assert (await store.view_session("main"))["title"] == "hello there"
    for change in (store.name_session("nowhere", "x"), store.end_session("nowhere")):
        with pytest.raises(NotFound):
            await change


async def test_what_is_hidden_is_there_still(store: Store) -> None:
    """Out of the list is not out of the record, and words bring it back."""
    await say(store, "a")
    await store.hide_session("main")
    assert (await store.view_sessions())["sessions"] == []
    assert len((await store.view_sessions(hidden=True))["sessions"]) == 1
    assert len((await store.view_messages("main", -1, 9))["messages"]) == 2
    await say(store, "b")
    assert len((await store.view_sessions())["sessions"]) == 1


async def test_each_sees_their_own(store: Store) -> None:
    """Neither list nor search of one person has anything of another's."""
    await say(store, "the owner's plan")
    await say(store, "ada's plan", session=inside(ADA, "main"))
    for person, text in (("owner", "the owner's plan"), (ADA, "ada's plan")):
        (one,) = (await store.view_sessions(person=person))["sessions"]
        assert one["title"] == text
        hits = (await store.view_search("plan", person=person))["hits"]
        assert {text, f"answer to {text}"} == {hit["snippet"] for hit in hits}


# --- news -----------------------------------------------------------------------------------


async def test_news_of_some_conversations(store: Store) -> None:
    """All that was recorded in them after a place, in order and whole, and nothing of others."""
    await say(store, "old")
    mark = await store.last_message()
    await say(store, "a", session="x")
    await say(store, "b", session="y")
    await say(store, "c", session="z")
    news = await store.view_news(mark, ["x", "z", "new"], 3)
    assert [m["text"] for m in news["messages"]] == ["a", "answer to a", "c"]
    assert news["more"] and sorted(news["sessions"]) == ["x", "z"]
    rest = await store.view_news(news["upto"], ["x", "z", "new"], 3)
    assert [m["text"] for m in rest["messages"]] == ["answer to c"]
    assert not rest["more"] and rest["upto"] == await store.last_message()


async def test_older_messages_in_pages_and_pieces(store: Store) -> None:
    """Pages meet without a gap; a long text is shown in part, with its length and the rest."""
    for n in range(4):
        await say(store, f"{n}" * 50)
    texts: list[str] = []
    before, more = 0, True
    while more:
        page = await store.view_older("main", before, 3, 10)
        texts = [m["text"] for m in page["messages"]] + texts
        before, more = page["messages"][0]["seq"], page["more"]
        assert {m["length"] for m in page["messages"]} == {50, 60}
    assert [text[0] for text in texts] == list("0a1a2a3a")
    assert all(len(text) == 10 for text in texts)
    ident = page["messages"][0]["id"]
    piece = await store.view_message(ident, at=45, most=3)
    assert (piece["text"], piece["length"], piece["from"]) == ("000", 50, 45)
    assert (await store.view_message(ident))["text"] == "0" * 50
    with pytest.raises(NotFound):
        await store.view_message("nothing")


# --- search ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("tulip", 2), ("TULIP bulbs", 2), ('"bulbs of tulips"', 2), ('"tulips bulbs"', 0),
        ("straße", 2), ("ЁЛКА", 2), ("ёлка", 2), ("50%", 2), ("50_", 0),
        ("caf\u00e9", 2), ("cafe\u0301", 2), ("\\", 2), ("nothing", 0),
    ],
)  # fmt: skip
async def test_words_are_found_however_they_are_written(
    store: Store, words: str, found: int
) -> None:
    """Large or small letters, letters with marks in either form, and signs that SQL knows."""
    await say(store, "Bulbs of tulips in der Straße, Ёлка, 50% off, Caf\u00e9 a\\b")
    hits = (await store.view_search(words))["hits"]
    assert len(hits) == found
    for hit in hits:
        assert hit["marks"] and all(0 <= a < b <= len(hit["snippet"]) for a, b in hit["marks"])


async def test_a_search_goes_back_in_pages(store: Store) -> None:
    """Each hit once, the newest first; off the record nothing is found; no words are refused."""
    for n in range(6):
        await say(store, f"needle {n}", session=f"s{n % 2}")
    await say(store, "needle", session="off-the-record:abc")
    seen: list[int] = []
    before = 0
    while True:
        page = await store.view_search("needle", before=before, limit=5)
        seen += [hit["seq"] for hit in page["hits"]]
        before = page["next"]
        if not before:
            break
    assert len(seen) == 12 and seen == sorted(seen, reverse=True)
    one = await store.view_search("needle", session="s1", limit=50)
    assert {hit["session"] for hit in one["hits"]} == {"s1"} and len(one["hits"]) == 6
    for empty in ("", "  ", '""'):
        with pytest.raises(BadRequest):
            await store.view_search(empty)
