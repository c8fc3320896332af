"""How long the machines run: bounded and the same each time, or deep.

``pytest --hypothesis-profile=deep tests/contract`` (``make model``) runs them at random and fifty
times as long. A fault found is printed as the steps that lead to it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

_DEEPER = 50


def deep() -> bool:
    return settings.get_current_profile_name() == "deep"


def how(examples: int, steps: int, *, shrink: bool = True) -> settings:
    """``examples`` runs of ``steps`` events, or fifty times as many."""
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    return settings(
        max_examples=examples * (_DEEPER if deep() else 1),
        stateful_step_count=steps,
        derandomize=not deep(),
        print_blob=True,
        deadline=None,
        database=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
