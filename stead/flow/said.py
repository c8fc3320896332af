"""The owner's word on a question, said in the conversation: ``approve 1a2b3c4d``.

So a question that reached him by a channel can be answered there. The word is written before its
message is: it is in the record of the question, with who said it; and who got no receipt for the
message sends it again, which then finds the question answered.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from stead.core.errors import AlreadyAnswered, BadRequest, NotFound
from stead.core.nouns import Inbound
from stead.core.permits import ALWAYS, JOB, ONCE
from stead.core.storage import View


class Settled(Protocol):
    """What an answer has settled."""

    @property
    def approval(self) -> View:
        """With ``preview``: what it was about, in words."""


Decide = Callable[[str, str, str, str], Awaitable[Settled]]
"""(question, word, text, by whom)."""

_WORD = re.compile(
    r"\s*/?(approve|deny|answer)\s+([0-9a-f][0-9a-f-]{5,35})\b[:,.]?\s*(.*?)\s*",
    re.IGNORECASE | re.DOTALL,
)


async def answered(message: Inbound, decide: Decide) -> str | None:
    """What is told to who said it; None: the message is something else."""
    found = None if message.foreign else _WORD.fullmatch(message.text)
    if found is None:
        return None
    verb, ident, rest = found[1].lower(), found[2].lower(), found[3]
    word, text = {"deny": "no", "answer": "answer"}.get(verb, rest.lower() or ONCE), rest
    if verb == "approve":
        text = ""
        if word not in (ONCE, JOB, ALWAYS):
            return None
    try:
        decided = await decide(ident, word, text, f"owner ({message.channel})")
    except NotFound:
        return None
    except (AlreadyAnswered, BadRequest) as error:
        return error.message
    what = " ".join(str(decided.approval["preview"]).split())
    short = what if len(what) <= 120 else f"{what[:119]}…"
    return f"{'No' if word == 'no' else 'Yes' if verb == 'approve' else 'Noted'}: {short}"
