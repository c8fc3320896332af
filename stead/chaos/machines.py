"""Disks and clocks: a shim for each process that has a home, with a record of what its disk
holds, so that a kill can be a power cut."""

from __future__ import annotations

import zlib
from pathlib import Path

from stead.chaos.faults import power, shim
from stead.chaos.house import House
from stead.chaos.plan import Fault


class Machines:
    """The shims of a run."""

    def __init__(self, house: House, seed: int) -> None:
        self._house = house
        self._seed = seed
        self._library = shim.build(house.folder / "shim")
        self._controls: dict[str, shim.Control] = {}
        self._journals: dict[str, Path] = {}
        self.lost_bytes = 0
        """What power cuts have taken, in all."""

    def put(self, name: str) -> None:
        """From its next start on the process ``name`` runs on such a machine. Its home is made."""
        home = self._house.homes[name]
        folder = self._house.folder
        control = shim.Control(
            folder / f"{name}.control", seed=self._seed + zlib.crc32(name.encode())
        )
        journal = folder / f"{name}.disk"
        power.begin(home, journal)
        self._controls[name], self._journals[name] = control, journal
        self._house.parts[name].extra |= shim.environment(self._library, control, home, journal)

    def begin(self, fault: Fault) -> None:
        """Bring a fault of disk or clock about."""
        control, how = self._controls[fault.target], fault.how
        match fault.kind:
            case "clock-jump":
                control.jump(how["by_s"] * 1000)
            case "clock-drift":
                control.drift((how["rate"] - 1) * 1e6)
            case "disk-full":
                control.fill(int(how.get("room", 0)))
            case "disk-error":
                share = int(how.get("share", 1.0) * 1_000_000)
                control.fail(write_ppm=share, sync_ppm=share)
            case "disk-slow":
                control.slow(sync_us=int(how["fsync_ms"] * 1000))
            case _:
                raise ValueError(f"no machine knows {fault.kind}")

    def heal_disk(self, name: str) -> bool:
        self._controls[name].heal()
        return True

    def heal_clock(self, name: str) -> bool:
        self._controls[name].right_clock()
        return True

    def heal_all(self) -> None:
        for name in self._controls:
            self.heal_disk(name)
            self.heal_clock(name)

    def power_cut(self, fault: Fault) -> None:
        """The process is dead; now what it had not synced is lost."""
        loss = power.lose_unsynced(self._journals[fault.target], seed=self._seed + fault.id)
        self.lost_bytes += loss.bytes

    def close(self) -> None:
        for control in self._controls.values():
            control.close()
