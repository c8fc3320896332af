"""Live events: each watcher sees each piece once, wherever it begins; memory is bounded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from stead.core.nouns import Step
from stead.core.states import StepState
from stead.core.wire import Event
from stead.flow import live as live_room
from stead.flow.live import Live, Seen


def tokens(*texts: str, first: int = 1) -> list[Event]:
    return [Event(seq, "token", text) for seq, text in enumerate(texts, first)]


async def texts(live: Live, job: str, after: int = 0) -> list[str]:
    """All that a watcher sees until the job's end."""
    return [seen.text async for seen in live.watch(job, after) if seen is not None]


async def take(watcher: AsyncIterator[Seen | None], count: int) -> list[Seen]:
    got: list[Seen] = []
    async with asyncio.timeout(5):
        while len(got) < count:
            seen = await anext(watcher)
            if seen is not None:
                got.append(seen)
    return got


def watch(live: Live, job: str, after: int = 0, beat_s: float = 15.0) -> AsyncIterator[Seen | None]:
    return aiter(live.watch(job, after, beat_s))


async def test_a_watcher_sees_each_piece_as_it_comes() -> None:
    """What is published is seen at once, in order, until the end."""
    live = Live()
    watcher = watch(live, "j")
    first = asyncio.create_task(take(watcher, 1))
    await asyncio.sleep(0)
    live.publish("j", 1, tokens("a", "b"))
    assert [seen.text for seen in await first] == ["a"]
    assert [seen.text for seen in await take(watcher, 1)] == ["b"]
    live.publish("j", 1, tokens("c", first=3))
    live.end("j")
    assert [seen.text for seen in await take(watcher, 1)] == ["c"]
    with pytest.raises(StopAsyncIteration):
        await anext(watcher)


async def test_only_what_is_for_people_is_shown() -> None:
    """Tokens, tools and notes are shown; steps and empty texts are not."""
    live = Live()
    step = Step(1, "tool:clock", "h", StepState.DONE)
    live.publish(
        "j", 1,
        [
            Event(1, "step", step=step), Event(2, "token", ""), Event(3, "tool", "looks"),
            Event(4, "note", "waits"), Event(5, "token", "done"), Event(6, "other", "x"),
        ],
    )  # fmt: skip
    live.end("j")
    seen = [one async for one in live.watch("j") if one is not None]
    assert [(one.type, one.text) for one in seen] == [
        ("tool", "looks"), ("note", "waits"), ("token", "done"),
    ]  # fmt: skip


async def test_from_the_middle() -> None:
    """Who comes back with the last id it saw gets what came after it, once."""
    live = Live()
    live.publish("j", 1, tokens("a", "b", "c"))
    seen = await take(watch(live, "j"), 2)
    live.publish("j", 1, tokens("d", first=4))
    live.end("j")
    assert await texts(live, "j", after=seen[-1].id) == ["c", "d"]
    assert await texts(live, "j") == ["a", "b", "c", "d"]


async def test_two_watchers_do_not_disturb_each_other() -> None:
    """A slow watcher and a quick one both see everything."""
    live = Live()
    quick = asyncio.create_task(texts(live, "j"))

    async def slowly() -> list[str]:
        got = []
        async for seen in live.watch("j"):
            await asyncio.sleep(0.001)
            got.append(seen.text if seen else "")
        return got

    slow = asyncio.create_task(slowly())
    for n in range(30):
        await asyncio.sleep(0)
        live.publish("j", 1, tokens(str(n), first=n + 1))
    live.end("j")
    assert await quick == await slow == [str(n) for n in range(30)]


async def test_a_batch_that_comes_twice() -> None:
    """A report that a node sends again shows nothing again, however it overlaps."""
    live = Live()
    live.publish("j", 1, tokens("a", "b"))
    live.publish("j", 1, tokens("a", "b"))
    live.publish("j", 1, tokens("b", "c", first=2))
    live.end("j")
    assert await texts(live, "j") == ["a", "b", "c"]


async def test_a_new_attempt_begins_anew() -> None:
    """After a reset the answer starts again; late pieces of the old attempt are not shown."""
    live = Live()
    live.publish("j", 1, tokens("old", "er"))
    watcher = watch(live, "j")
    assert [seen.text for seen in await take(watcher, 2)] == ["old", "er"]
    live.reset("j", "starting again")
    live.publish("j", 2, tokens("new"))
    live.publish("j", 1, tokens("late", first=3))
    live.end("j")
    assert [(one.type, one.text) for one in await take(watcher, 2)] == [
        ("reset", "starting again"), ("token", "new"),
    ]  # fmt: skip
    assert await texts(live, "j") == ["starting again", "new"]
    live.reset("nobody", "nothing to start again")
    assert live._feeds == {}


async def test_an_id_from_before_a_restart() -> None:
    """A watcher that saw pieces before the gateway's restart misses none of those after it."""
    before = Live()
    before.publish("j", 1, tokens(*"abcdef"))
    last = (await take(watch(before, "j"), 6))[-1].id
    await asyncio.sleep(0.01)
    after = Live()
    after.publish("j", 1, tokens("g", "h", "i", first=7))
    after.end("j")
    assert await texts(after, "j", after=last) == ["g", "h", "i"]
    assert await texts(after, "j", after=2**60) == ["g", "h", "i"]


async def test_signs_of_life() -> None:
    """While nothing happens a watcher gets a sign of life now and then."""
    live = Live()
    watcher = watch(live, "j", beat_s=0.005)
    assert [await anext(watcher), await anext(watcher)] == [None, None]
    live.publish("j", 1, tokens("a"))
    assert [seen.text for seen in await take(watcher, 1)] == ["a"]


async def test_a_job_that_is_over_is_not_waited_for() -> None:
    """Who asks for a job that has just ended is let go at once, however many ended since."""
    live = Live()
    for n in range(1000):
        live.end(f"j{n}")
    async with asyncio.timeout(1):
        assert await texts(live, "j0") == await texts(live, "j999") == []


async def test_a_job_that_goes_on() -> None:
    """A waiting job that was answered, or a dead one that was revived, is shown again."""
    live = Live()
    live.publish("j", 1, tokens("Shall I?"))
    live.end("j")
    live.again("j")
    live.publish("j", 2, tokens("Done."))
    live.end("j")
    assert await texts(live, "j") == ["Shall I?", "Done."]
    live.again("never seen")
    live.note("never seen", "it goes on")
    live.end("never seen")
    assert await texts(live, "never seen") == ["it goes on"]


async def test_a_stop_lets_every_watcher_go() -> None:
    """At the gateway's stop nobody is left waiting for the end of a job."""
    live = Live()
    tasks = [asyncio.create_task(texts(live, f"j{n % 2}")) for n in range(4)]
    await asyncio.sleep(0)
    live.close()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == [[], [], [], []]


# --- memory ----------------------------------------------------------------------


async def test_one_job_keeps_a_bounded_number_of_events() -> None:
    """A flood of tokens lets go of the oldest; the newest stay in order with none between lost."""
    live = Live()
    for n in range(60_000):
        live.publish("j", 1, tokens(f"{n:05}", first=n + 1))
    feed = live._feeds["j"]
    assert len(feed.events) < 11_000 and feed.chars <= live_room._KEEP_CHARS
    live.end("j")
    kept = [int(text) for text in await texts(live, "j")]
    assert kept == list(range(kept[0], 60_000)) and len(kept) > 5_000


async def test_one_huge_piece_is_kept() -> None:
    """A single piece longer than all that is kept is still shown."""
    live = Live()
    live.publish("j", 1, tokens("a", "x" * 3_000_000))
    live.end("j")
    assert [len(text) for text in await texts(live, "j")] == [3_000_000]


async def test_a_slow_watcher_that_was_left_behind_goes_on() -> None:
    """Who is slower than what is kept goes on with what there is."""
    live = Live()
    watcher = watch(live, "j")
    live.publish("j", 1, tokens("first"))
    (seen,) = await take(watcher, 1)
    for n in range(20_000):
        live.publish("j", 1, tokens(f"{n}", first=n + 2))
    following = (await take(watcher, 1))[0]
    assert following.id > seen.id + 1 and int(following.text) > 5_000


async def test_ended_jobs_are_let_go() -> None:
    """However many jobs come and go, only the last few keep their events, and only names of the
    rest, of which there is an end too."""
    live = Live()
    for n in range(live_room._KEEP_NAMES + 500):
        live.publish(f"j{n}", 1, tokens("text"))
        live.end(f"j{n}")
    assert len(live._ended) == live_room._KEEP_ENDED
    assert len(live._over) == live_room._KEEP_NAMES
    assert live._feeds == {}


async def test_watching_leaves_nothing_behind() -> None:
    """A watcher of a job of which nothing is known takes no memory when it goes."""
    live = Live()
    watcher = live.watch("nobody", beat_s=0.001)
    assert await anext(watcher) is None
    assert "nobody" in live._feeds
    await watcher.aclose()  # type: ignore[attr-defined]
    assert live._feeds == {}


async def test_what_comes_after_the_end_is_dropped() -> None:
    """A piece or a note that comes too late brings no job back to memory."""
    live = Live()
    live.publish("j", 1, tokens("a"))
    live.end("j")
    live.publish("j", 1, tokens("b", first=2))
    live.note("j", "late")
    live.reset("j", "late")
    live.end("j")
    assert live._feeds == {} and await texts(live, "j") == ["a"]


async def test_following_a_long_answer_costs_little() -> None:
    """Each new piece is found without looking through all those before it."""
    live = Live()
    watcher = watch(live, "j")
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    live.publish("j", 1, tokens(*("t" for _ in range(5_000))))
    await take(watcher, 5_000)
    sys.setprofile(count)
    try:
        for n in range(200):
            live.publish("j", 1, tokens("t", first=5_001 + n))
            await take(watcher, 1)
    finally:
        sys.setprofile(None)
    assert calls < 200 * 150


async def test_an_answer_whose_beginning_is_missing_is_not_shown_from_its_middle() -> None:
    """A gateway that was started in mid-answer passes on no tail of it; the whole comes at the end.
    What it says beside the text is shown, and so is the next attempt."""
    live = Live()
    live.publish("j", 1, [*tokens("ver window", first=7), Event(8, "note", "still here")])
    live.publish("j", 1, tokens(" and more", first=9))
    live.publish("j", 2, tokens("The river"))
    live.end("j")
    assert await texts(live, "j") == ["still here", "The river"]


async def test_a_watcher_that_leaves_before_the_first_word_does_not_keep_it_from_others() -> None:
    """Steps come before the text and are shown to nobody; who comes and goes meanwhile leaves the
    text whole for the next."""
    live = Live()
    step = Step(1, "model:main", "h", StepState.INTENT)
    live.publish("j", 1, [Event(1, "step", step=step)])
    watcher = watch(live, "j", beat_s=0.01)
    assert await anext(watcher) is None
    await watcher.aclose()  # type: ignore[attr-defined]
    live.publish("j", 1, tokens("whole", first=2))
    live.end("j")
    assert await texts(live, "j") == ["whole"]
