"""What the door does where nobody has said otherwise: all is allowed, names mean one model each."""

from __future__ import annotations

from stead.inference.backends import Backends
from stead.inference.seam import Asked, Plan, Verdict, Way, Who

_ANYTHING = Verdict()


class AllowAll:
    """The :class:`~stead.inference.seam.Policy` of a house without rules."""

    def check(self, who: Who, asked: Asked) -> Verdict:
        return _ANYTHING

    async def look(self, who: Who, asked: Asked, verdict: Verdict) -> Verdict:
        return verdict

    def ended(self, verdict: Verdict, tokens: int) -> None:
        pass

    def sees(self, who: Who, name: str) -> bool:
        return True


class Straight:
    """The :class:`~stead.inference.seam.Routing` by name alone: one way, and no other."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def plan(self, who: Who, asked: Asked, verdict: Verdict) -> Plan:
        """Raises ``UnknownModel``, ``ModelNotReady``."""
        target = self._backends.find(asked.model or "main")
        return Plan((Way(target.model, target.backend, asked.api),), "", target.reason)

    def began(self, way: Way) -> None:
        pass

    def ended(self, way: Way, *, status: int, retry_after_s: float = 0.0) -> None:
        pass
