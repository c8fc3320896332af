"""The owner of a run: answers the questions of jobs, after looking at what really happened."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

from stead.chaos import lines
from stead.chaos.door import AWAY, Door

#: A worker that stands still may wake and do it after all, so an owner does not say "repeat"
#: at once: longer than the longest standstill and the longest tool together.
PONDER_S = 5.0


class Owner(threading.Thread):
    """Answers while the run lasts; ``answers`` are (job, key, answer)."""

    def __init__(self, door: Door, effects: Path) -> None:
        super().__init__(name="owner", daemon=True)
        self.answers: list[tuple[str, str, str]] = []
        self._door = door
        self._effects = effects
        self._first_seen: dict[tuple[str, int], float] = {}
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        self.join(30)

    def run(self) -> None:
        while not self._over.wait(0.5):
            with contextlib.suppress(*AWAY):
                status, page = self._door.call("GET", "/api/v1/jobs?state=waiting&limit=200")
                for job in page["jobs"] if status == 200 else []:
                    self._look_at(job)

    def _look_at(self, job: dict[str, Any]) -> None:
        status, story = self._door.call("GET", f"/api/v1/why/{job['id']}")
        if status != 200:
            return
        asked = [step for step in story["steps"] if step["state"] == "unknown"]
        if not asked:
            return
        step = asked[-1]
        key = str(json.loads(step["input"])["key"])
        question = (job["id"], int(job["epoch"]))
        first = self._first_seen.setdefault(question, time.monotonic())
        happened = any(entry["key"] == key for entry in lines.read(self._effects))
        if not happened and time.monotonic() - first < PONDER_S:
            return
        answer = "done" if happened else "repeat"
        path = f"/api/v1/jobs/{job['id']}/answer"
        status, _ = self._door.call("POST", path, {"answer": answer})
        if status == 200:
            self.answers.append((job["id"], key, answer))
