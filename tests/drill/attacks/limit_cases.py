"""Tools that take all there is. Everything here is small: it is the limits that are smaller."""

from __future__ import annotations

from dataclasses import replace

from tests.drill.attacks.case import Case, py, sh

_FORK = """
import os, time
pids = []
for _ in range(40):
    pid = os.fork()
    if pid == 0:
        time.sleep(20)
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.kill(pid, 9)
won()
"""


def _with(cases: list[Case], **bounds: float) -> list[Case]:
    return [replace(case, bounds=bounds) for case in cases]


CASES: list[Case] = [
    *_with(
        py(
            "bounds",
            memory="import time\nheld = bytearray(b'1') * (300 << 20)\n"
            "time.sleep(1.5)\nwon()",
        ),
        memory_mb=96,
    ),
    *_with(
        py(
            "bounds",
            memory_of_many="import os, time\n"
            "for _ in range(4):\n    if os.fork() == 0:\n"
            "        held = bytearray(b'1') * (60 << 20)\n        time.sleep(2)\n"
            "        os._exit(0)\n"
            "alive = [os.wait()[1] for _ in range(4)]\nwon(any(alive) and 1 / 0)",
        ),
        memory_mb=96,
    ),
    *_with(py("bounds", processes=_FORK), processes=16),
    *_with(
        sh(
            "bounds",
            a_large_file="head -c 16000000 /dev/zero > big; test $(stat -c %s big) -ge 16000000"
            " && printf 'ATTACK%s' -WON; rm -f big",
        ),
        file_mb=4,
    ),
    *_with(
        sh(
            "bounds",
            files_in_memory="head -c 150000000 /dev/zero > /tmp/big; "
            "test $(stat -c %s /tmp/big) -ge 150000000 && printf 'ATTACK%s' -WON",
        ),
        memory_mb=128,
    ),
    *_with(
        sh(
            "bounds",
            many_files="for n in 1 2 3 4 5 6; do head -c 8000000 /dev/zero > big$n; sleep 0.5;"
            " done; rm -f big?; printf 'ATTACK%s' -WON",
        ),
        disk_mb=16,
    ),
    *_with(sh("bounds", for_ever="sleep 4; printf 'ATTACK%s' -WON"), wall_s=1),
    *_with(
        py(
            "bounds",
            burning="import time\nwhile time.process_time() < 4:\n    pass\nwon()",
        ),
        cpu_s=1,
    ),
]  # fmt: skip
