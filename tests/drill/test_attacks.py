"""Attacks on the machine by what runs in sandboxes: none succeeds; without its wall, each does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stead.sandbox import selftest
from stead.sandbox.walls import Bubblewrap, bubblewrap_program
from tests.drill.attacks import file_cases, kernel_cases, limit_cases, sandbox_cases, way_cases
from tests.drill.attacks.case import Case
from tests.drill.attacks.off import take_away
from tests.drill.attacks.prey import Prey, prey_in
from tests.drill.attacks.run import attackers

PLAIN = [
    *sandbox_cases.CASES, *kernel_cases.CASES, *limit_cases.CASES, *way_cases.CASES,
    *file_cases.READS, *file_cases.OTHERS, *file_cases.SHOWN,
]  # fmt: skip
GRANTED = way_cases.GRANT_CASES
ALL = [*PLAIN, *GRANTED]

#: Those that must win once their wall is gone: all that name one, but where a kernel does not know
#: the call or grants it to nobody.
SURE = [case for case in ALL if case.wall and case not in kernel_cases.PERHAPS]
WALLS = sorted({case.wall for case in SURE})


@dataclass
class Field:
    """Where attacks are carried out, one after the other."""

    prey: Prey
    runner: asyncio.Runner
    off: str = ""

    def __post_init__(self) -> None:
        self.stack = AsyncExitStack()
        self.made = {
            private: self.runner.run(
                self.stack.enter_async_context(attackers(self.prey, self.off, private=private))
            )
            for private in (False, True)
        }

    def attack(self, case: Case) -> tuple[str, str]:
        """How it has won, if it has, and what it was told."""
        attacker = self.made[case in GRANTED]
        return self.runner.run(attacker.attack(case)), attacker.said

    def close(self) -> None:
        self.runner.run(self.stack.aclose())


@contextmanager
def field_in(folder: Path, off: str = "") -> Iterator[Field]:
    with prey_in(folder.resolve()) as prey, asyncio.Runner() as runner:
        made = Field(prey, runner, off)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    assert bubblewrap_program(), "these tests need bubblewrap: apt install bubblewrap"
    with field_in(tmp_path_factory.mktemp("prey")) as made:
        yield made


@pytest.mark.parametrize("case", ALL, ids=str)
def test_no_attack_succeeds(field: Field, case: Case) -> None:
    """It gets nothing, leaves nothing outside, reaches nobody and ends nothing."""
    won, said = field.attack(case)
    assert not won, f"{won}; it was told: {said[:2000]}"


def _attack(field: Field, case: Case) -> tuple[str, str]:
    """What it won, and was told. On a busy machine a connection may be cut off by its own time
    limit: who attacks would try again."""
    for _ in range(3):
        won, said = field.attack(case)
        if won:
            break
    return won, said


@pytest.mark.parametrize("wall", WALLS)
def test_without_its_wall_each_attack_succeeds(
    wall: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So none of them is stopped by mere chance, and the suite can fail."""
    take_away(wall, monkeypatch)
    with field_in(tmp_path / "prey", wall) as field:
        tried = {case.name: _attack(field, case) for case in SURE if case.wall == wall}
    harmless = {name: said for name, (won, said) in tried.items() if not won}
    assert not harmless


@pytest.mark.parametrize("wall", ["network", "pids", "namespaces", "seccomp"])
def test_the_self_test_notices_a_wall_that_is_gone(
    wall: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing with effects runs here at all."""
    program = bubblewrap_program()
    assert program is not None
    real = selftest.test
    take_away(wall, monkeypatch)
    monkeypatch.setattr(selftest, "test", real)

    async def tested() -> tuple[bool, str]:
        walls = Bubblewrap(program, tmp_path)
        try:
            report = await walls.tested()
            return report.ok, report.why
        finally:
            await walls.aclose()

    works, why = asyncio.run(tested())
    assert not works and "did not hold" in why


def test_there_are_enough_of_them() -> None:
    """At least 120, no two alike, and each wall is attacked."""
    names = [(case.tool, case.name, case.wall) for case in ALL]
    assert len(ALL) >= 120 and len(set(names)) == len(names)
    assert len(WALLS) >= 11
