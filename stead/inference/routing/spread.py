"""Which of several instances gets a call: the one that knows the conversation, else the idlest."""

from __future__ import annotations

import zlib
from collections import OrderedDict

from stead.inference.routing.table import Choice

#: So many conversations are remembered; of older ones the place is worked out from their name.
MOST_SESSIONS = 10_000
#: A conversation leaves an instance that has so many calls more than another, and twice as many.
#: Until then waiting costs less than reading its prompt anew.
MUCH = 4


class Spread:
    """Remembers where conversations are, since that is where their prompt cache is."""

    def __init__(self) -> None:
        self._at: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._turn = 0

    def __len__(self) -> int:
        return len(self._at)

    def first(self, choice: Choice, session: str, well: list[int] | None = None) -> int:
        """Which instance, by its index, gets a call; one of ``well`` if that is given."""
        places = choice.places
        loads = [place.load for place in places]
        among = well if well is not None else range(len(loads))
        least = min(loads) if well is None else min([loads[i] for i in well])
        if not session:
            self._turn += 1
            idle = [i for i in among if loads[i] == least]
            return idle[self._turn % len(idle)]
        at = self._at
        name = (choice.backend, session)
        kept = at.get(name)
        if kept is not None:
            index = choice.index.get(kept, -1)
            if index in among and (loads[index] < least + MUCH or loads[index] < 2 * least):
                at.move_to_end(name)
                return index
        # Among equals by the conversation's name, so that a restart does not scatter them.
        mark = session.encode()
        found = min(
            [i for i in among if loads[i] == least],
            key=lambda i: zlib.crc32(mark, zlib.crc32(places[i].key.encode())),
        )
        at[name] = places[found].key
        at.move_to_end(name)
        if len(at) > MOST_SESSIONS:
            at.popitem(last=False)
        return found

    def order(self, choice: Choice, session: str, well: list[int]) -> list[int]:
        """Those of ``well`` (indices of instances) in the order in which they shall be asked."""
        if len(choice.places) == 1:
            return well
        first = self.first(choice, session, well)
        rest = [i for i in well if i != first]
        rest.sort(key=lambda i: choice.places[i].load)
        return [first, *rest]
