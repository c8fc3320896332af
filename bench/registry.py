"""Every bench, one line each. A new one is a file in ``parts/`` and a line here."""

from __future__ import annotations

from bench.figures import Bench
from bench.parts import (
    accept,
    browser,
    claims,
    curation,
    egress,
    fair,
    first_token,
    front,
    inference,
    memory,
    memory_index,
    million,
    ping,
    prune,
    queue,
    ready,
    recall,
    sandbox,
    size,
    start,
    status,
)

BENCHES: tuple[Bench, ...] = (
    Bench("accept", "a message in, until it is on disk", 40, accept.run),
    Bench("start", "from a message to a worker that has it, when idle", 40, start.run),
    Bench("claims", "jobs claimed and finished per second over HTTP", 60, claims.run),
    Bench("queue", "jobs claimed and finished per second in the queue itself", 60, queue.run),
    Bench("million", "the queue with a million jobs queued and a million over", 170, million.run),
    Bench("first-token", "what stead adds before the first token", 60, first_token.run),
    Bench("inference", "the model door beside nginx: CPU, first token, memory", 600, inference.run),
    Bench("fair", "first token beside ten burning jobs and ten thousand queued", 300, fair.run),
    Bench("egress", "a sandboxed call that reaches a server through the proxy", 60, egress.run),
    Bench("fair-boxed", "the same, the burning jobs in sandboxes", 300, fair.run_boxed),
    Bench("sandbox", "what a sandbox adds to a tool call", 60, sandbox.run),
    Bench("browser", "a browser that is started, and one step in it", 120, browser.run),
    Bench("front", "the page in a browser that has never been here", 300, front.run),
    Bench("prune", "claims while a million finished jobs are pruned", 600, prune.run),
    Bench("memory", "idle memory of gateway and node", 60, memory.run),
    Bench("memory-index", "search in 10,000 and 100,000 entries", 900, memory_index.run),
    Bench("memory-million", "search in a million entries", 3000, memory_index.run_million),
    Bench("curation", "a year of daily logs, reviewed", 1500, curation.run),
    Bench("ready", "`stead up` until it is ready", 60, ready.run),
    Bench("recall", "what memory adds to a job before its first token", 400, recall.run),
    Bench("status", "`stead status`", 40, status.run),
    Bench("size", "what an installation weighs", 120, size.run),
    Bench("ping", "first token of a real model", 170, ping.run),
)
