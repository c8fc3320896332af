"""Short stories for the queue's machine in which every promise of the queue is at stake.

Chance finds more than these, but takes its time: a mutant is caught by one of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.contract.machine.queue_bench import LANES, LEASE_MS, Spec
from tests.contract.machine.queue_machine import QueueMachine

Story = Callable[[QueueMachine], Iterable[object]]


def a_lane_in_order(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue(
        [Spec(prio=1), Spec(wait=60_000), Spec(), Spec(lane="background", prio=-1), Spec(idem="i")]
    )
    yield m.enqueue([Spec(idem="i"), Spec(prio=-1)])
    for _ in range(6):
        yield m.claim([("n1", LANES)])
    yield m.advance(60_000)
    yield m.claim([("n2", LANES), ("n1", LANES)])


def workers_and_needs(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(needs="@gateway"), Spec(needs="gpu,home-lan"), Spec(needs="gpu")])
    yield m.claim([("n1", LANES)])
    yield m.claim([("n2", LANES), ("n2", LANES), ("gw", LANES), ("gw", LANES)])
    yield m.claim_again(0, None)
    yield m.claim_again(3, None)
    yield m.claim_again(3, "n1")
    yield m.enqueue([Spec()])
    yield m.claim_again(3, "n1")


def a_conversation(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(key="a"), Spec(key="a"), Spec(key="a"), Spec(key="a")])
    yield m.claim([("n1", LANES), ("n2", LANES)])
    yield m.finish([(0, "waiting", "owner")])
    yield m.answer(7, True)
    yield m.claim([("n1", LANES), ("n2", LANES)])
    yield m.finish([(0, "failed", "owner")])
    yield m.claim([("n1", LANES)])
    yield m.advance(10_000)
    for _ in range(4):
        yield m.claim([("n1", LANES), ("n1", LANES)])
        yield m.finish([(0, "done", "owner")])


def reports(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(most=3), Spec(most=3)])
    yield m.claim([("n1", LANES), ("n1", LANES)])
    yield m.finish([(0, "failed", "another"), (0, "failed", "owner"), (0, "failed", "owner")])
    yield m.report_again(0)
    yield m.advance(10_000)
    yield m.claim([("n1", LANES), ("n1", LANES)])
    yield m.finish([(1, "done", "before"), (0, "away", "before"), (0, "away", "owner")])
    yield m.report_again(0)
    yield m.advance(500)
    yield m.claim([("n1", LANES)])
    yield m.report_again(0)
    yield m.report_again(1)
    yield m.finish([(0, "done", "owner"), (1, "permanent", "owner")])
    yield m.revive(0, True)
    yield m.claim([("n2", LANES)])
    yield m.report_again(2)
    yield m.ask_for_nothing()


def leases(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(most=2), Spec(most=2), Spec(left=20_000)])
    yield m.claim([("n1", LANES), ("n2", LANES)])
    yield m.advance(LEASE_MS - 1)
    yield m.heartbeat("n1", False)
    yield m.advance(2)
    yield m.rescue()
    yield m.claim([("n2", LANES)])
    yield m.heartbeat("n1", True)
    yield m.oversleep()
    yield m.claim([("n2", LANES)])
    yield m.restart_node("n2")
    yield m.claim([("n2", LANES), ("n2", LANES)])
    yield m.restart_node("n1")
    yield m.oversleep()
    yield m.revive(0, True)
    for _ in range(2):
        yield m.claim([("n1", LANES)])
        yield m.oversleep()


def stops_of_the_gateway(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec()])
    yield m.claim([("n1", LANES)])
    yield m.advance(LEASE_MS + 1)
    yield m.restart_gateway("kill")
    yield m.rescue()
    yield m.advance(1_000)
    yield m.restart_gateway("stop")
    yield m.restart_gateway("extend")
    yield m.finish([(0, "failed", "owner")])
    yield m.advance(3_600_000)
    yield m.claim([("n1", LANES)])


def steps(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(most=3)])
    yield m.claim([("n1", LANES)])
    yield m.journal(0, "owner", [(1, "intent", ""), (1, "done", "a")])
    yield m.journal(0, "owner", [(1, "done", "b"), (2, "intent", "")])
    yield m.journal(0, "another", [(3, "intent", "")])
    yield m.restart_node("n1")
    yield m.claim([("n1", LANES)])
    yield m.journal(0, "before", [(2, "done", "late")])
    yield m.journal(0, "owner", [(2, "intent", "")])
    yield m.finish([(0, "waiting", "owner")])
    yield m.answer(3, True)
    yield m.claim([("n1", LANES)])
    yield m.journal(0, "owner", [(2, "failed", "")])


def the_owners_hand(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(), Spec(), Spec(key="a", most=1), Spec(key="a")])
    yield m.claim([("n1", LANES)])
    yield m.cancel(0, True)
    yield m.cancel(1, True)
    yield m.heartbeat("n1", False)
    yield m.cancel(1, True)
    yield m.finish([(0, "failed", "owner")])
    yield m.cancel(0, False)
    yield m.revive(0, False)
    yield m.answer(0, False)
    yield m.claim([("n1", LANES)])


def claims_that_wait(m: QueueMachine) -> Iterable[object]:
    yield m.wait_for_work("n1", LANES)
    yield m.wait_for_work("n2", LANES)
    yield m.enqueue([Spec(needs="gpu"), Spec()])
    yield m.wait_for_work("n2", LANES)
    yield m.enqueue([Spec(key="a"), Spec(key="a")])
    yield m.wait_for_work("n1", LANES)
    yield m.finish([(2, "done", "owner")])


def waiting_makes_up_for_prio(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(prio=1), Spec(prio=1, needs="gpu"), Spec(prio=1, prefer="n2,n9")])
    yield m.enqueue([Spec(avoid="n1"), Spec(prio=-1)])
    for _ in range(3):
        yield m.claim([("n1", LANES), ("n2", LANES)])
    yield m.enqueue([Spec(prio=1), Spec(prio=1, needs="gpu")])
    yield m.advance(3_600_000)
    yield m.enqueue([Spec(), Spec(left=20_000)])
    yield m.claim([("n1", LANES)])
    yield m.advance(LEASE_MS)
    for _ in range(2):
        yield m.claim([("n2", LANES), ("n1", LANES)])


def placement(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(prefer="n2,n9"), Spec(avoid="n1"), Spec(prefer="n1", avoid="n2")])
    yield m.claim([("n1", LANES), ("n1", LANES)])
    yield m.a_node_comes_or_goes("n2")
    yield m.claim([("n1", LANES), ("n1", LANES), ("gw", LANES)])
    yield m.claim([("n2", LANES)])


def keys_with_places(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue(
        [Spec(key="c", most=3), Spec(key="c"), Spec(key="c"), Spec(key="a", wait=60_000)]
    )
    yield m.enqueue([Spec(key="a", most=3), Spec(key="a")])
    yield m.claim([("n1", LANES), ("n1", LANES), ("n1", LANES), ("n1", LANES)])
    yield m.finish([(0, "failed", "owner"), (2, "failed", "owner")])
    yield m.claim([("n1", LANES), ("n1", LANES)])
    yield m.advance(60_000)
    for _ in range(4):
        yield m.claim([("n1", LANES), ("n1", LANES)])
        yield m.finish([(0, "done", "owner")])


def who_brings_workers_down(m: QueueMachine) -> Iterable[object]:
    work = Spec(lane="background", most=1)
    yield m.enqueue([work])
    yield m.claim([("n2", LANES)])
    yield m.enqueue([work, work, Spec(most=2)])
    yield m.claim([("n1", LANES), ("n1", LANES), ("n1", LANES)])
    yield m.restart_node("n1")
    yield m.claim([("n2", LANES[1:])])
    yield m.claim([("n2", LANES), ("n2", LANES)])
    yield m.enqueue([work, Spec()])
    yield m.claim([("n1", LANES), ("n1", LANES), ("n1", LANES)])
    yield m.finish([(0, "done", "owner")])
    yield m.claim([("n2", LANES)])
    yield m.restart_node("n1")
    yield m.restart_node("n2")


def who_was_only_cut_off(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(most=2), Spec(most=3)])
    yield m.claim([("n1", LANES), ("n2", LANES)])
    yield m.oversleep()
    yield m.claim([("n1", LANES)])
    yield m.heartbeat("n1", False)
    yield m.heartbeat("n2", True)
    yield m.oversleep()
    yield m.restart_node("n1")
    yield m.heartbeat("n1", False)


def failed_and_too_late(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(left=20_000, most=3)])
    yield m.claim([("n1", LANES)])
    yield m.finish([(0, "failed", "owner")])
    yield m.advance(LEASE_MS)
    yield m.claim([("n1", LANES)])
    yield m.rescue()


def woken_for_another(m: QueueMachine) -> Iterable[object]:
    yield m.wait_for_work("n1", LANES)
    yield m.wait_for_work("n2", LANES)
    yield m.enqueue([Spec(), Spec(prio=-1, avoid="n2")])


def questions(m: QueueMachine) -> Iterable[object]:
    yield m.enqueue([Spec(key="a", most=3), Spec(key="a"), Spec(), Spec()])
    for _ in range(3):
        yield m.claim([("n1", LANES)])
    yield m.finish([(0, "asks", "owner"), (1, "asks", "owner"), (2, "asks", "owner")])
    yield m.answer(0, True)
    yield m.claim([("n1", LANES)])
    yield m.decide(0, "answer", True)
    yield m.decide(0, "once", True)
    yield m.decide(0, "no", False)
    yield m.cancel(2, True)
    yield m.advance(12_000)
    yield m.expire()
    yield m.finish([(0, "done", "owner")])
    yield m.claim([("n1", LANES), ("n2", LANES)])


STORIES: tuple[Story, ...] = (
    a_lane_in_order, workers_and_needs, a_conversation, reports, leases, stops_of_the_gateway,
    steps, the_owners_hand, claims_that_wait, waiting_makes_up_for_prio, placement,
    keys_with_places, who_brings_workers_down, who_was_only_cut_off,
    failed_and_too_late, woken_for_another, questions,
)  # fmt: skip


def tell(story: Story, machine: type[QueueMachine]) -> None:
    """Play a story; raises what the machine finds wrong."""
    m = machine()
    try:
        for _ in story(m):
            m.everything_agrees()
    finally:
        m.teardown()
