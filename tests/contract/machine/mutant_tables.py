"""The mutants: one broken promise each. See ``mutants``."""

from __future__ import annotations

from stead.core import placement
from stead.flow import flow
from stead.memory import daily
from stead.queue import queue
from stead.store.sqlite import (
    approvals,
    claims,
    discarded,
    ends,
    holds,
    jobs,
    ledger,
    outbox,
    record,
    store,
    suspects,
)
from tests.contract.machine.mutants import Mutant

QUEUE = [
    Mutant(
        "a stale epoch writes to the journal", jobs,
        '" WHERE id = ? AND epoch = ? AND node_id = ? AND state = \'running\'",',
        '" WHERE id = ?1 AND ?2 > 0 AND node_id = ?3 AND state = \'running\'",',
    ),
    Mutant(
        "a stale epoch ends a job", ends,
        "owner = (job.epoch, job.node_id) == (one.report.epoch, one.node_id)",
        "owner = job.node_id == one.node_id",
    ),
    Mutant(
        "another node ends a job", ends,
        "owner = (job.epoch, job.node_id) == (one.report.epoch, one.node_id)",
        "owner = job.epoch == one.report.epoch",
    ),
    Mutant(
        "a repeated report is refused", ends, "if earlier is None:", "if True:"
    ),
    Mutant(
        "any second report is taken for a repeat", ends,
        "AND report_id = ? AND report_id <> ''", "AND ?4 <> ''",
    ),
    Mutant(
        "a repeat ends what runs now", ends,
        "if look is None or not _owns(look.job, one):", "if look is None:",
    ),
    Mutant(
        "what is known is not held against the row", ends,
        "if fenced and not self._c.changes():", "if False:",
    ),
    Mutant(
        "a question is answered twice", approvals,
        'if question["state"] != OPEN:', "if False:",
    ),
    Mutant(
        "a question outlives its job", ends,
        "if look.job.state is JobState.WAITING:", "if False:",
    ),
    Mutant(
        "a wish to cancel is not seen at the end", ends,
        "AND cancel_req = 0 AND", "AND cancel_req < 2 AND",
    ),
    Mutant(
        "the epoch stays", claims,
        "job.epoch + 1, one.node_id",
        "max(job.epoch, 1), one.node_id",
    ),
    Mutant(
        "two of a conversation at once", jobs,
        '{holds.on_arrival("?10", "?14", "?15", "0")}',
        '{holds.on_arrival("?10", "NULL", "?15", "0")}',
    ),
    Mutant(
        "the next of a conversation is forgotten", ends,
        "(job.state is not JobState.QUEUED or not _keeps_turn(job))",
        "(job.state is JobState.WAITING)",
    ),
    Mutant(
        "the last of a conversation goes next", holds,
        "ORDER BY id LIMIT 1)\n",
        "ORDER BY id DESC LIMIT 1)\n",
    ),
    Mutant(
        "an answered job does not wait its turn", ends,
        '{holds.on_arrival(NOW, "?2", "?3")}',
        '{holds.on_arrival(NOW, "NULL", "?3")}',
    ),
    Mutant(
        "what is not due is given out", jobs,
        '{holds.on_arrival("?10", "?14", "?15", "0")}',
        '{holds.on_arrival("0", "?14", "?15", "0")}',
    ),
    Mutant(
        "the order of a lane is lost", claims,
        "SELECT rank, id, deadline_at > 0",
        "SELECT -rank, id, deadline_at > 0",
    ),
    Mutant(
        "the order of what came at once is lost", claims,
        "if head > upto:", "if head >= upto:",
    ),
    Mutant(
        "prio counts for nothing", jobs,
        "min(job.prio, _MOST_PRIO)) * self._age_ms",
        "min(job.prio, _MOST_PRIO)) * 0",
    ),
    Mutant(
        "waiting does not make up for prio", jobs,
        "min(job.prio, _MOST_PRIO)) * self._age_ms",
        "min(job.prio, _MOST_PRIO)) * self._age_ms * 1000",
    ),
    Mutant(
        "what is too late is given out", claims,
        "deadline_at > 0 AND deadline_at < {NOW} AS late",
        "0 AS late",
    ),
    Mutant(
        "a reminder holds up its conversation", holds,
        "AND hold IN (-1, 0, 3, 4)",
        "AND hold IN (-1, 0, 2, 3, 4)",
    ),
    Mutant(
        "who is tried again is overtaken", ends,
        "hold = holds.PAUSED if _keeps_turn(job) else holds.LATER",
        "hold = holds.LATER",
    ),
    Mutant(
        "a key has one place only", holds,
        "max(1, conc_limit) > (",
        "1 > (",
    ),
    Mutant(
        "any worker gets any job", placement,
        "if any(label not in labels for label in names(needs)) or",
        "if",
    ),
    Mutant(
        "a job goes where it never should", placement,
        "or name in names(avoid):",
        ":",
    ),
    Mutant(
        "nobody leaves a job to whom it prefers", placement,
        "or not any(one in there for one in preferred)",
        "or True",
    ),
    Mutant(
        "the gateway does others' work", placement,
        'if (GATEWAY in labels) is not (needs == GATEWAY):',
        'if GATEWAY not in labels and needs == GATEWAY:',
    ),
    Mutant(
        "the same request gets another job", claims,
        "if one.key == (request_id, node_id):",
        "if False:",
    ),
    Mutant(
        "another's request is answered with one's job", claims,
        'if one.key == (request_id, node_id):',
        'if one.request_id == request_id:',
    ),
    Mutant(
        "a heartbeat keeps no lease", jobs,
        'f"UPDATE job SET lease_until = {NOW} + ?4"',
        '"UPDATE job SET lease_until = lease_until + 0 * ?4"',
    ),
    Mutant(
        "a heartbeat keeps what is another's", jobs,
        "WHERE id = ?1 AND epoch = ?2 AND node_id = ?3", "WHERE id = ?1 AND epoch = ?2 AND ?3 > ''",
    ),
    Mutant(
        "nobody is told to cancel", jobs, "elif row[0]:", "elif False:",
    ),
    Mutant(
        "an outcome is overwritten", jobs,
        "WHERE step.state = 'intent' AND excluded.state <> 'intent'",
        "WHERE excluded.state <> 'intent'",
    ),
    Mutant(
        "an intent that was cut off stays an intent", jobs,
        "if news and epoch > 1:", "if False:",
    ),
    Mutant(
        "a crash is not counted", ends,
        "= job.crashes + 1, beside",
        "= job.crashes, beside",
    ),
    Mutant(
        "company does not save", ends,
        "= job.crashes + 1, beside",
        "= job.crashes + 1, 0",
    ),
    Mutant(
        "two suspects on one node", suspects,
        "if self._held(node_id):", "if False:",
    ),
    Mutant(
        "the last chance is taken in company", suspects,
        "if not (one.alone and self._busy(node_id)):",
        "if True:",
    ),
    Mutant(
        "who was only cut off has crashed", suspects,
        '" WHERE id = ? AND crashes > 0 AND',
        '" WHERE id = ? AND crashes > 99 AND',
    ),
    Mutant(
        "a stop of the gateway costs a try", ends,
        'report.outcome == "failed" and ruling.counts', 'report.outcome == "failed"',
    ),
    Mutant(
        "a restarted node still holds what it had", ends,
        "WHERE state = 'running' AND node_id = ? AND boot <> ? ORDER BY +id",
        "WHERE state = 'running' AND node_id = ? AND boot = ? ORDER BY +id",
    ),
    Mutant(
        "nobody is dead of a deadline", ends, "if unclaimed and 0 <", "if False and 0 <"
    ),
    Mutant(
        "an end leaves no line", ends,
        "if ruling.line and not is_off_the_record(job.session):", "if False:",
    ),
    Mutant(
        "a revived job is dead again at once", ends,
        "SET tries = 0, crashes = 0, deadline_at = 0", "SET deadline_at = 0",
    ),
    Mutant(
        "the owner's answer is lost", ends,
        "**job.payload.get(\"answers\", {}), str(asked or 0): words", "**{}",
    ),
    Mutant(
        "a waiting claim is not woken", queue,
        "if not waiter.future.done() and waiter.fits(job, there):",
        "if False:",
    ),
    Mutant(
        "a wake-up is lost to another job", queue,
        "if woken is not None and woken != ready(granted.job):",
        "if False:",
    ),
    Mutant(
        "leases do not start anew after a stop", queue,
        "        await self._store.extend_leases(self.policy.lease_ms)\n        self._held",
        "        self._held",
    ),
]  # fmt: skip

#: Of accept, settle, and what hangs on them.
FLOW = [
    Mutant(
        "the same message twice is two", record,
        'WHERE m.channel = ? AND m.external_id = ?",',
        'WHERE m.channel = ? AND m.external_id = ? AND 0",',
    ),
    Mutant(
        "one is given another's message for one's own", record,
        'if person_of(asked[1]) != person_of(inbound.session):',
        'if False:',
    ),
    Mutant(
        "two people share a conversation", flow,
        'return replace(message, session=inside(message.person, message.session))',
        'return message',
    ),
    Mutant(
        "what others say is in the owner's log", flow,
        'return words.received_of(self.called(message.person), message, told)',
        'return words.received(message, told)',
    ),
    Mutant(
        "what is done for others is in the owner's log", record,
        "(is_off_the_record(found[0]) or person_of(found[0]) != OWNER)",
        "is_off_the_record(found[0])",
    ),
    Mutant(
        "the owner is not asked", ends, "if ruling.aside:", "if False:",
    ),
    Mutant(
        "the owner is asked where others talk", record,
        """f" AND m.session NOT LIKE '{OTHERS}%'\"""",
        '""',
    ),
    Mutant(
        "a client's own retry is a new message", record,
        'if found is None and inbound.is_retry and inbound.body_hash:',
        'if False:',
    ),
    Mutant(
        "an old request is taken for a retry", record,
        '{_NOW} - {_RETRY_MS} ORDER',
        '{_NOW} - {_RETRY_MS} * 99 ORDER',
    ),
    Mutant(
        "a retry sees another history", record,
        ' AND seq <= ? AND role IN',
        ' AND ? > 0 AND role IN',
    ),
    Mutant(
        "a conversation is told out of order", record,
        'ORDER BY turn, seq"',
        'ORDER BY seq"',
    ),
    Mutant(
        "an end gives no reply", ends,
        'if job.message_id is not None and ruling.reply is not None:',
        'if False:',
    ),
    Mutant(
        "an end is told twice", ends,
        "        record.day_line(c, ruling.line)\n    ready",
        "        [record.day_line(c, ruling.line) for _ in 'ab']\n    ready",
    ),
    Mutant(
        "a message is not told of", store,
        '            if line and not off:\n',
        '            if False:\n',
    ),
    Mutant(
        "a line is written twice", daily,
        'if ident not in known or entry not in tail:',
        'if True:',
    ),
    Mutant(
        "a stale worker is heard", flow,
        'if steps or not self._queue.holds(report.job_id, report.epoch, node_id):',
        'if steps:',
    ),
    Mutant(
        "late work is thrown away", discarded,
        "outcome IN ('crashed', 'cut off')",
        "outcome = 'crashed'",
    ),
    Mutant(
        "a reply is taken twice", outbox,
        "SET state = 'sending', tries = tries + 1",
        "SET state = 'pending', tries = tries + 1",
    ),
    Mutant(
        "one reply overtakes another", outbox,
        'AND {_OPEN} AND o.blocked = 0"\n        f" AND o.next_at <= {_NOW} ORDER',
        'AND {_OPEN}"\n        f" AND o.next_at <= {_NOW} ORDER',
    ),
    Mutant(
        "a conversation comes to a stop", outbox,
        'if state != "pending":',
        'if False:',
    ),
    Mutant(
        "what was sent is sent again", outbox,
        "WHERE id = ? AND state IN ('sending', 'ambiguous') AND state <> ?",
        "WHERE id = ? AND ? <> ''",
    ),
    Mutant(
        "a reply that was read is sent", outbox,
        "WHERE {column} = ? AND state = 'pending' RETURNING",
        "WHERE {column} = ? AND state = 'never' RETURNING",
    ),
    Mutant(
        "a call is booked twice", ledger,
        'elif known[0] == "reserved":\n            _, at, reserved, *scopes = known',
        'elif known[0]:\n            _, at, reserved, *scopes = known',
    ),
    Mutant(
        "money is spent that was set aside", ledger,
        'if there + one[_RESERVED] > cap.micro:',
        'if one[_RESERVED] > cap.micro:',
    ),
    Mutant(
        "what was cut off costs nothing", ledger,
        "state = 'unknown', cost_micro = reserved_micro",
        "state = 'reserved', cost_micro = reserved_micro",
    ),
]  # fmt: skip
