"""A box in the words of podman (podman-run(1)): for programs that are in an image, not on this
machine. Slower to start (150 ms) and without functions of stead's own inside."""

from __future__ import annotations

from collections.abc import Sequence

from stead.sandbox.box import Box
from stead.sandbox.bubblewrap import environment, memory_room, ordered
from stead.sandbox.errors import BadBox
from stead.sandbox.view import HOME


def arguments(box: Box, command: Sequence[str], *, name: str, image: str, root: bool) -> list[str]:
    """The words after ``podman``. Raises ``BadBox``."""
    if box.hosts:
        raise BadBox(why="a container of podman has no way out here: this tool needs bubblewrap")
    bounds = box.bounds
    said = [
        "run", "--rm", "--interactive", "--pull", "never", "--name", name,
        "--hostname", "sandbox", "--network", "none", "--ipc", "private", "--pid", "private",
        "--uts", "private", "--cgroupns", "private", "--cap-drop", "all",
        "--security-opt", "no-new-privileges", "--read-only", "--read-only-tmpfs=false",
        "--env-host=false", "--http-proxy=false", "--log-driver", "passthrough", "--no-hosts",
        "--memory", f"{bounds.memory_mb}m", "--memory-swap", f"{bounds.memory_mb}m",
        "--pids-limit", str(bounds.processes), "--ulimit", "core=0:0",
        "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096",
        "--ulimit", f"fsize={bounds.file_mb << 20}:{bounds.file_mb << 20}",
        "--cpu-shares", str(2 if box.low else max(2, int(256 * bounds.cpu_share))),
        "--oom-score-adj", "700",
    ]  # fmt: skip
    # Whoever starts it is who runs inside, so that what is made there is his: as root that is root
    # without any of its rights. bubblewrap does better.
    said += ["--user", "0:0"] if root else ["--userns", "keep-id"]
    for place in ("/tmp", str(HOME)):
        said += ["--tmpfs", f"{place}:rw,nosuid,nodev,mode=1777,size={memory_room(box)}"]
    for mount in ordered(box.mounts):
        path = str(mount.path)
        if "," in path or '"' in path or "\n" in path:
            raise BadBox(why=f"podman cannot be given a folder whose name holds a comma: {path!r}")
        how = "" if mount.write else ",ro=true"
        said += ["--mount", f"type=bind,source={mount.path.resolve()},target={path}{how}"]
    for key, value in environment(box).items():
        said += ["--env", f"{key}={value}"]
    if bounds.wall_s:
        said += ["--timeout", str(max(1, int(bounds.wall_s)))]
    return [*said, "--workdir", str(box.cwd or HOME), "--", image, *command]
