"""Enqueue to start: a worker waits in a long poll, a message comes, the worker has the job.

Measured from sending the message to the arrival of the claim's answer, over HTTP, with
recording, routing, two commits (the message, the claim) and the conversation's history
in between. The peer is a held request of the bare server that another one wakes, plus
two syncs of 4 KB.
"""

from __future__ import annotations

import select
import time

import msgspec

from bench.disk import Probe
from bench.figures import Figure, Place, quantile
from bench.house import Measured, bare_server, house
from bench.wire import Wire, post

ROUNDS = 300
WARM_UP = 30
AIM_MS = 3.0
#: Time for a claim to be held before the message is sent.
_SETTLE_S = 0.004


def run(place: Place) -> list[Figure]:
    """Percentiles over ``ROUNDS`` messages, each sent to an idle gateway."""
    started, after, woken = [], [], []
    with house(place, recall=False) as stead, bare_server() as peer, Probe(place.scratch) as disk:
        stead.gateway_up()
        with (
            Wire(stead.port) as owner,
            Wire(stead.port) as node,
            Wire(peer) as holder,
            Wire(peer) as waker,
        ):
            node.good(stead.as_node("/node/v1/hello", {"boot": "bench"}))
            for n in range(WARM_UP + ROUNDS):
                hold, wake = post("/hold", "", b"{}"), post("/wake", "", b"{}")
                bare_ms = 1000 * (_race(holder, hold, waker, wake)[0] + disk.sync() + disk.sync())
                message = stead.as_owner(
                    "/api/v1/messages",
                    {"text": "please look after the garden", "session": f"s{n // 20}"},
                )
                claim = stead.as_node(
                    "/node/v1/claim", {"request_id": f"c{n}", "boot": "bench", "wait_s": 25}
                )
                to_claim, to_accepted, claimed = _race(node, claim, owner, message)
                _finish(stead, node, claimed)
                if n >= WARM_UP:
                    woken.append(bare_ms)
                    started.append(1000 * to_claim)
                    after.append(1000 * (to_claim - to_accepted))
    peer_words = "one held request woken by another, bare, and two 4 KB fsyncs:"
    return [
        Figure(
            "enqueue to start over HTTP, p50", quantile(started, 0.5), "ms", AIM_MS,
            beside=f"{peer_words} {quantile(woken, 0.5):.2f} ms",
        ),
        Figure(
            "enqueue to start over HTTP, p99", quantile(started, 0.99), "ms",
            beside=f"{peer_words} {quantile(woken, 0.99):.2f} ms",
        ),
        Figure("of it, after the message was acknowledged, p50", quantile(after, 0.5), "ms"),
    ]  # fmt: skip


def _race(waiting: Wire, wait: bytes, asking: Wire, ask: bytes) -> tuple[float, float, bytes]:
    """Send ``wait``, then ``ask``: seconds from ``ask`` to the answers of both.

    Also the body of the answer to ``wait``.
    """
    waiting.send(wait)
    time.sleep(_SETTLE_S)
    poll = select.poll()
    for wire in (waiting, asking):
        poll.register(wire.sock, select.POLLIN)
    at: dict[int, float] = {}
    body = b""
    begun = time.perf_counter()
    asking.send(ask)
    while len(at) < 2:
        for fd, _ in poll.poll(10_000):
            at[fd] = time.perf_counter() - begun
            poll.unregister(fd)
            wire = waiting if fd == waiting.sock.fileno() else asking
            status, got = wire.answer()
            if status >= 300:
                raise RuntimeError(f"answered {status}: {got[:500]!r}")
            body = got if wire is waiting else body
    return at[waiting.sock.fileno()], at[asking.sock.fileno()], body


def _finish(stead: Measured, node: Wire, claimed: bytes) -> None:
    job = msgspec.json.decode(claimed)["job"]
    report = {
        "id": f"f-{job['id']}", "job_id": job["id"], "epoch": job["epoch"], "outcome": "done",
        "text": "It is looked after.",
    }  # fmt: skip
    node.good(stead.as_node("/node/v1/finish", report))
