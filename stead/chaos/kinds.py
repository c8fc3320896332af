"""The kinds of faults: whom they meet, how long they last, what they need to be possible."""

from __future__ import annotations

from dataclasses import dataclass

GATEWAY, NODE, MODEL, RECEIVER = "gateway", "node", "model", "receiver"

PROCESS, NET, CLOCK, DISK, ANSWERS = "process", "net", "clock", "disk", "answers"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. ``touches``: two faults that touch the same of one target wait for
    each other. ``for_s``: shortest and longest duration. ``needs``: shim, netns or nft."""

    name: str
    about: str
    targets: tuple[str, ...]
    touches: str
    for_s: tuple[float, float]
    needs: str = ""
    group: str = "other"
    """``kill`` and ``partition`` are counted by ``--kills`` and ``--partitions``."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("kill", "SIGKILL, started again", (GATEWAY, NODE, MODEL), PROCESS, (0.0, 0.6),
             group="kill"),
        Kind("torn", "SIGKILL, and what was not synced is lost", (GATEWAY, NODE), PROCESS,
             (0.0, 0.4), needs="shim", group="kill"),
        Kind("restart", "SIGTERM, started again", (GATEWAY, NODE), PROCESS, (0.0, 0.3)),
        Kind("pause", "SIGSTOP, then SIGCONT", (GATEWAY, NODE, MODEL), PROCESS, (0.2, 1.0)),
        Kind("sleep", "SIGSTOP for longer than a lease", (GATEWAY, NODE), PROCESS, (2.6, 3.4)),
        Kind("cut", "connections to the gateway cut and refused", (NODE,), NET, (0.3, 3.0),
             group="partition"),
        Kind("black-hole", "what is sent to the gateway vanishes", (NODE,), NET, (0.5, 3.5),
             group="partition"),
        Kind("drop", "packets dropped in a network namespace", (NODE,), NET, (0.5, 3.0),
             needs="netns", group="partition"),
        Kind("loss", "packets lost at random in a network namespace", (NODE,), NET, (1.0, 4.0),
             needs="nft"),
        Kind("one-way", "requests arrive, answers vanish", (NODE,), NET, (0.5, 3.0),
             group="partition"),
        Kind("answers-lost", "the connection breaks before the answer", (NODE,), NET, (0.3, 2.0)),
        Kind("answers-cut", "the connection breaks within the answer", (NODE,), NET, (0.3, 2.0)),
        Kind("trickle", "answers arrive in small bits", (NODE,), NET, (0.5, 2.0)),
        Kind("latency", "slow network", (NODE,), NET, (0.5, 3.0)),
        Kind("duplicate", "reports arrive twice", (NODE,), NET, (1.0, 4.0)),
        Kind("reorder", "requests overtake each other", (NODE,), NET, (1.0, 3.0)),
        Kind("clock-jump", "the clock jumps", (GATEWAY, NODE), CLOCK, (0.5, 3.0), needs="shim"),
        Kind("clock-drift", "the clock runs fast or slow", (GATEWAY, NODE), CLOCK, (1.0, 5.0),
             needs="shim"),
        Kind("disk-full", "no space left on the disk", (GATEWAY, NODE), DISK, (0.3, 2.0),
             needs="shim"),
        Kind("disk-error", "input/output errors of the disk", (GATEWAY, NODE), DISK, (0.2, 1.0),
             needs="shim"),
        Kind("disk-slow", "each sync takes its time", (GATEWAY, NODE), DISK, (1.0, 5.0),
             needs="shim"),
        Kind("model-stall", "the model falls silent", (MODEL,), ANSWERS, (0.3, 1.5)),
        Kind("model-cut", "the model breaks off in mid-answer", (MODEL,), ANSWERS, (0.3, 2.0)),
        Kind("model-half", "the model ends half an answer in good order", (MODEL,), ANSWERS,
             (0.3, 2.0)),
        Kind("model-error", "an error event in mid-answer", (MODEL,), ANSWERS, (0.3, 2.0)),
        Kind("model-garbage", "the model answers what is no JSON", (MODEL,), ANSWERS, (0.3, 2.0)),
        Kind("model-500", "the model fails", (MODEL,), ANSWERS, (0.3, 2.0)),
        Kind("model-429", "the model refuses for a while", (MODEL,), ANSWERS, (0.3, 2.0)),
        Kind("receiver-503", "the receiver of pushed replies is away", (RECEIVER,), ANSWERS,
             (0.3, 2.0)),
        Kind("receiver-cut", "it has the reply and breaks off", (RECEIVER,), ANSWERS, (0.3, 1.0)),
        Kind("receiver-silent", "it has the reply and says nothing", (RECEIVER,), ANSWERS,
             (0.3, 1.0)),
    )
}  # fmt: skip
