"""Names that lead to where they must not, told by a real name server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_names_that_lead_elsewhere(tmp_path: Path) -> None:
    """A name is asked for once a connection, and only what was judged is dialled: one that is
    public at first and this machine later reaches this machine neither time. Nor do names with both
    addresses, 0.0.0.0, metadata services, or IPv4 within IPv6."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:1\n")
    script = (
        f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf &&"
        f" exec {sys.executable} -m tests.unit.sandbox.rebinding"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", script],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    told = {f"{at}{one['name']}": one for at, one in enumerate(found["told"])}
    assert found["reached"] == 0
    assert told["0rebind"]["status"] == 502  # it was dialled: there is no way to it from here
    assert told["0rebind"]["asked"] == 1
    for name in ("1rebind", "2both", "5six"):
        assert told[name]["status"] == 403 and "address of this machine" in told[name]["why"]
    for name in ("3zero", "4metadata"):
        assert told[name]["status"] == 403 and "no address that" in told[name]["why"]
    assert told["6none"]["status"] == 502 and "could not be resolved" in told["6none"]["why"]
