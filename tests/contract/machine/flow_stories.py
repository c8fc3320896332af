"""Short stories for the machine of accept and settle in which each of its promises is at stake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from stead.core.ids import uuid7
from stead.core.nouns import Inbound
from tests.contract.machine.flow_bench import LEASE_MS
from tests.contract.machine.flow_machine import FlowMachine
from tests.contract.machine.house import ANNA, OWNER

Story = Callable[[FlowMachine], Iterable[object]]


def said(
    text: str = "what is 2 + 2?", session: str = "main", channel: str = "cli", ident: str = "",
    retry: bool = False, person: str = OWNER,
) -> Inbound:  # fmt: skip
    return Inbound(
        channel,
        ident or uuid7(),
        text,
        session,
        body_hash=f"{person}{text}",
        is_retry=retry,
        person=person,
    )


def the_same_again(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said(ident="1"), said(ident="1"), said("hello", ident="1")])
    yield m.restart_gateway("kill")
    yield m.accept([said(ident="1"), said(ident="1", channel="mail"), said(retry=True)])
    yield m.everybody_claims()
    yield m.settle(0, "done", "owner")
    yield m.accept([said(ident="1"), said()])
    yield m.later(600_001)
    yield m.accept([said(retry=True)])


def a_conversation(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said("one"), said("two"), said("three"), said("else", "side")])
    yield m.claim("n1")
    yield m.settle(0, "done", "owner")
    yield m.claim("n1")
    yield m.claim("n1")
    yield m.restart_node("n1")
    yield m.accept([said("four")])
    yield m.claim("n2")
    yield m.claim("n2")
    yield m.settle(0, "permanent", "owner")
    yield m.claim("n1")
    yield m.settle(0, "failed", "owner")
    yield m.later(10_000)
    yield m.claim("n1")
    yield m.claim_again(4)
    yield m.settle(0, "done", "owner")
    yield m.claim("n1")


def reports(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said(), said("hello")])
    yield m.everybody_claims()
    yield m.events(0, "owner", 1, "intent")
    yield m.events(0, "owner", 1, "done")
    yield m.events(0, "owner", 1, "failed")
    yield m.settle(0, "failed", "owner")
    yield m.settle_again(0)
    yield m.restart_gateway("kill")
    yield m.settle_again(0)
    yield m.later(10_000)
    yield m.everybody_claims()
    yield m.events(0, "before", 1, "token")
    yield m.events(0, "another", 1, "token")
    yield m.settle(0, "done", "before")
    yield m.settle(0, "done", "another")
    yield m.settle(0, "done", "owner")
    yield m.settle(0, "done", "owner")
    yield m.settle_again(1)
    yield m.settle_again(0)


def cut_off(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said()])
    yield m.claim("n1")
    yield m.later(LEASE_MS + 1)
    yield m.heartbeat("n1")
    yield m.events(0, "anyone", 1, "done")
    yield m.settle(0, "done", "anyone")
    yield m.claim("n2")
    yield m.settle(0, "done", "before")
    yield m.settle(0, "done", "owner")


def poison(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said(), said("after")])
    for _ in range(3):
        yield m.claim("n1")
        yield m.restart_node("n1")
        yield m.later(10_000)
    yield m.bring_back(0)
    yield m.claim("n1")
    yield m.claim("n1")


def brought_back_late(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said("one"), said("two")])
    yield m.claim("n1")
    yield m.settle(0, "permanent", "owner")
    yield m.claim("n1")
    yield m.settle(0, "waiting", "owner")
    yield m.bring_back(0)
    yield m.claim("n1")
    yield m.settle(0, "done", "owner")
    yield m.bring_back(0)
    yield m.claim("n2")


def replies(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said(channel="mail"), said(channel="mail"), said("x", "side", channel="mail")])
    for _ in range(3):
        yield m.claim("n1")
        yield m.settle(0, "done", "owner")
    yield m.take("mail")
    yield m.take("mail")
    yield m.deliver(0, "pending")
    yield m.take("mail")
    yield m.later(10_000)
    yield m.take("mail")
    yield m.deliver(0, "ambiguous")
    yield m.take("mail")
    yield m.deliver(1, "sent")
    yield m.deliver(1, "failed")
    yield m.settle_by_hand(0, "again")
    yield m.restart_gateway("kill")
    yield m.take("mail")


def the_owners_hand(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said("one"), said("two"), said("three", "side")])
    yield m.cancel(1, True)
    yield m.claim("n1")
    yield m.cancel(0, True)
    yield m.events(0, "owner", 1, "intent")
    yield m.settle(0, "failed", "owner")
    yield m.claim("n1")
    yield m.settle(0, "waiting", "owner")
    yield m.bring_back(0)
    yield m.claim("n1")
    yield m.settle(0, "done", "owner")
    yield m.cancel(0, False)
    yield m.fetched(0)
    yield m.fetched(2)
    yield m.take("cli")


def money_and_lines(m: FlowMachine) -> Iterable[object]:
    for lane, micro in (("background", 800), ("background", 101), ("chat", 1_200), ("chat", 1)):
        yield m.reserve(lane, micro)
    yield m.book(0, 300)
    yield m.reserve("background", 400)
    yield m.restart_gateway("kill")
    yield m.reserve("chat", 200)
    yield m.accept([said("two\nlines <!-- 1 -->")])
    yield m.write_log(False)
    yield m.accept([said()])
    yield m.write_log(True)
    yield m.later(86_400_000)
    yield m.reserve("chat", 2_000)
    yield m.write_log(False)


def somebody_else(m: FlowMachine) -> Iterable[object]:
    yield m.accept([said("one", ident="1"), said("two", person=ANNA), said("three", person=ANNA)])
    yield m.accept([said("one", ident="1", person=ANNA)])
    yield m.accept([replace(said("one", ident="1", person=ANNA), body_hash="")])
    for seq in (1, 2):
        yield m.claim("n1")
        yield m.events(seq - 1, "owner", 1, "done")
    yield m.settle(0, "done", "owner")
    yield m.settle(0, "done", "owner")
    yield m.claim("n1")
    yield m.settle(0, "waiting", "owner")
    yield m.accept([said("hello", person=ANNA), said("four", person=ANNA)])
    yield m.cancel(2, False)
    for _ in range(3):
        yield m.claim("n2")
        yield m.restart_node("n2")
        yield m.later(10_000)
    yield m.write_log(False)
    yield m.take("cli")


STORIES: tuple[Story, ...] = (
    the_same_again, a_conversation, reports, cut_off, poison, brought_back_late, replies,
    the_owners_hand, money_and_lines, somebody_else,
)  # fmt: skip


def tell(story: Story, machine: type[FlowMachine]) -> None:
    """Play a story; raises what the machine finds wrong."""
    m = machine()
    try:
        for _ in story(m):
            m.everything_agrees()
    finally:
        m.teardown()
