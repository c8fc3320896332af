"""What requests say is looked at in a process of its own; what cannot be is not let through."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stead.core.errors import BlockedByRule, NoGuard, NotLookedAt
from stead.core.scope import KeyScope
from stead.inference.policy.guard import Guard
from stead.inference.policy.house import HousePolicy
from stead.inference.policy.rules import Rule, Then
from stead.inference.seam import Api, Asked, Verdict, Who

OWNER = Who("owner")
TOKEN = "ghp_" + "a1B2" * 9
SECRET = "Operation Walnut"


@pytest.fixture
async def houses() -> AsyncIterator[list[Guard]]:
    """The guards of a test; they are ended after it."""
    guards: list[Guard] = []
    yield guards
    for guard in guards:
        await guard.aclose()


def house(guards: list[Guard], *rules: Rule, **more: Any) -> HousePolicy:
    guards.append(Guard(rules, **more))
    return HousePolicy(rules, lambda key_id: KeyScope(), guards[-1])


def asked(*texts: str, model: str = "big", kind: str = "application/json") -> Asked:
    messages = [{"role": "user", "content": text} for text in texts]
    body = json.dumps({"model": model, "messages": messages, "temperature": 0.50}).encode()
    return Asked(Api.CHAT, body, kind, model)


async def looked(policy: HousePolicy, what: Asked, who: Who = OWNER) -> Verdict:
    verdict = policy.check(who, what)
    assert verdict.look
    return await policy.look(who, what, verdict)


async def test_words_of_the_owner(houses: list[Guard]) -> None:
    """Whole words in any case and with any space between; a request without them goes on."""
    policy = house(houses, Rule("names", Then.LOCAL, words=(SECRET, "Bob")))
    for text, found in (
        ("about operation  WALNUT today", True), ("BOB said", True), ("bobsleigh", False),
        ("Operation\nWalnut", True), ("a walnut operation", False),
    ):  # fmt: skip
        verdict = await looked(policy, asked("hello", text))
        assert verdict.local_only is found and not verdict.look, text
        assert verdict.reasons == (
            ("rule names: found 1 x word of the list: never leaves the house",) if found else ()
        )


async def test_what_is_found_is_refused(houses: list[Guard]) -> None:
    """A block names the kind of what was found and the rule, and never the thing itself."""
    policy = house(houses, Rule("names", Then.BLOCK, words=(SECRET,), why="Ask me first"))
    with pytest.raises(BlockedByRule) as refused:
        await looked(policy, asked(f"about {SECRET}"))
    told = refused.value.message
    assert "word of the list" in told and "Ask me first" in told and "Walnut" not in told
    assert (refused.value.status, refused.value.code) == (403, "blocked_by_rule")


async def test_what_is_found_is_blacked_out(houses: list[Guard]) -> None:
    """Only the found words go; every other byte of the body is as it was."""
    policy = house(houses, Rule("names", Then.REDACT, words=(SECRET, "Bob"), patterns=(r"KD-\d+",)))
    what = asked("caf\u00e9 first", f"tell Bob of {SECRET}, KD-4711", "last")
    verdict = await looked(policy, what)
    assert verdict.body is not None
    word, number = "[redacted: word of the list]", "[redacted: pattern 1]"
    assert verdict.body == what.body.replace(b"Bob", word.encode()).replace(
        SECRET.encode(), word.encode()
    ).replace(b"KD-4711", number.encode())
    assert "2 x word of the list" in verdict.reasons[0] and "blacked out" in verdict.reasons[0]
    untouched = await looked(policy, asked("nothing to see"))
    assert untouched.body is None and untouched.reasons == ()


async def test_within_the_arguments_of_a_tool(houses: list[Guard]) -> None:
    """JSON within a text stays JSON."""
    policy = house(houses, Rule("names", Then.REDACT, words=("Bob",)))
    inner = json.dumps({"to": "Bob", "text": 'say "hi"'})
    verdict = await looked(policy, asked(inner))
    assert verdict.body is not None
    content = json.loads(verdict.body)["messages"][0]["content"]
    assert json.loads(content) == {"to": "[redacted: word of the list]", "text": 'say "hi"'}


async def test_a_form_cannot_be_blacked_out(houses: list[Guard]) -> None:
    """What is no JSON is looked at as a whole; blacking out in it is refused, other rules hold."""
    redact = house(houses, Rule("names", Then.REDACT, words=("Bob",)))
    local = house(houses, Rule("names", Then.LOCAL, words=("Bob",)))
    form = Asked(Api.TRANSCRIPTIONS, b"--x\r\n\r\nfor Bob\r\n--x--", "multipart/form-data", "ears")
    with pytest.raises(NotLookedAt, match="no JSON"):
        await looked(redact, form)
    assert (await looked(local, form)).local_only


async def test_an_expression_that_takes_for_ever(houses: list[Guard]) -> None:
    """It holds up nobody for long, and counts as found: nothing slips through."""
    policy = house(houses, Rule("mine", Then.LOCAL, patterns=(r"(a+)+$", r"\bok\b")))
    verdict = await looked(policy, asked("a" * 60 + "!"))
    assert verdict.local_only and "took too long" in verdict.reasons[0]
    assert "pattern 2" in (await looked(policy, asked("all ok"))).reasons[0]


async def test_a_process_that_falls_is_started_anew(houses: list[Guard]) -> None:
    """Killed between two requests or within one, it is replaced, and nothing goes by unseen."""
    policy = house(houses, Rule("names", Then.LOCAL, words=("Bob",)))
    for _ in range(2):
        assert (await looked(policy, asked("Bob"))).local_only
        pid = houses[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


async def test_what_takes_too_long_is_refused(houses: list[Guard]) -> None:
    """A process that hangs is ended; its request is refused, and the next one looked at."""
    policy = house(houses, Rule("names", Then.LOCAL, words=("Bob",)), time_s=0.2)
    assert (await looked(policy, asked("Bob"))).local_only
    pid = houses[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(NotLookedAt, match="longer than") as refused:
        await looked(policy, asked("Bob"))
    assert refused.value.status == 503
    assert (await looked(policy, asked("Bob"))).local_only
    assert houses[0].pid != pid


async def test_who_leaves_disturbs_nobody(houses: list[Guard]) -> None:
    """A client that leaves while its request is looked at; the others get their own answers."""
    policy = house(houses, Rule("names", Then.LOCAL, words=("Bob",)))
    texts = ["Bob" if n % 2 else "Ann" for n in range(12)]
    tasks = [asyncio.ensure_future(looked(policy, asked(text))) for text in texts]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for number, (text, result) in enumerate(zip(texts, results, strict=True)):
        if number % 3:
            assert isinstance(result, Verdict) and result.local_only is (text == "Bob")


async def test_it_ends_when_nobody_needs_it(houses: list[Guard]) -> None:
    """After a while without requests the process is gone; the next request starts another."""
    policy = house(houses, Rule("names", Then.LOCAL, words=("Bob",)), idle_s=0.05)
    await looked(policy, asked("Bob"))
    for _ in range(500):
        if houses[0].pid is None:
            break
        await asyncio.sleep(0.01)
    assert houses[0].pid is None
    assert (await looked(policy, asked("Bob"))).local_only


async def test_nothing_is_started_where_nothing_is_looked_for(houses: list[Guard]) -> None:
    """Without a rule on content there is no process, and no look."""
    policy = house(houses, Rule("home", Then.LOCAL))
    verdict = policy.check(OWNER, asked("Bob"))
    assert verdict.local_only and not verdict.look and houses[0].pid is None


async def test_secrets(houses: list[Guard]) -> None:
    """Forms of known secrets are found by the library, keys of model providers and stead's own
    beside; a private key goes with all of its lines."""
    pytest.importorskip("detect_secrets")
    policy = house(houses, Rule("secrets", Then.REDACT, finds=("secrets",)))
    lines = "\n".join("MIIEpAIBAAKCAQEA" * 4 for _ in range(400))
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"
    aws, own, openai = "AKIA" + "IOSFODNN7EXAMPLE", "so_" + "k" * 43, "sk-proj-" + "Ab1x" * 12
    texts = [f"use {TOKEN} please", f"{aws} {own}", f"my {openai}.", f"here:\n{key}\nthe end"]
    plain = "The password is in the safe; see section 4.2 of the token ring manual, page 1234567."
    verdict = await looked(policy, asked(*texts, plain))
    assert verdict.body is not None
    for secret in (TOKEN, aws, own, openai, "MIIEpAIBAAKC"):
        assert secret.encode() not in verdict.body, secret
    contents = [one["content"] for one in json.loads(verdict.body)["messages"]]
    assert contents[0] == "use [redacted: github token] please"
    assert contents[3].endswith("the end") and contents[4] == plain
    assert TOKEN not in " ".join(verdict.reasons)


async def test_a_detector_that_is_not_installed(houses: list[Guard]) -> None:
    """It is said which package is missing, and nothing is let through meanwhile."""
    try:
        import presidio_analyzer  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        policy = house(houses, Rule("people", Then.LOCAL, finds=("personal",)))
        with pytest.raises(NoGuard, match=r"pip install 'stead\[guard-personal\]'"):
            await looked(policy, asked("hello"))
        return
    pytest.skip("presidio-analyzer is installed here")


async def test_personal_data(houses: list[Guard]) -> None:
    """Addresses, telephone numbers, cards and accounts with right check digits are found."""
    pytest.importorskip("presidio_analyzer")
    policy = house(houses, Rule("people", Then.REDACT, finds=("personal",)))
    said = "bob@example.com, +49 170 1234567, 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00"
    wrong = "order 4111111111111112 of DE88 3704 0044 0532 0130 00"
    verdict = await looked(policy, asked(said, wrong))
    assert verdict.body is not None
    contents = [one["content"] for one in json.loads(verdict.body)["messages"]]
    kinds = ("email", "phone", "card", "iban")
    assert contents[0] == ", ".join(f"[redacted: {kind}]" for kind in kinds)
    assert "4111111111111112" in contents[1]
