"""A box in the words of macOS's ``sandbox-exec(1)``: a profile, made of the same description.

Its limits: no namespaces, so processes of the machine can be seen (not touched), and memory is
limited for each process alone. What a call has started is ended by its process group and session.

The language is Scheme-like: ``(deny default)``, then what is allowed; the last rule that fits wins.
Paths are literals in double quotes, so a path can say nothing but itself.
"""

from __future__ import annotations

from pathlib import Path

from stead.sandbox.box import Box
from stead.sandbox.bubblewrap import ordered
from stead.sandbox.errors import BadBox

SYSTEM = (
    "/usr", "/bin", "/sbin", "/System", "/Library/Frameworks", "/Library/Apple", "/opt/homebrew",
    "/Library/Developer/CommandLineTools", "/Library/Fonts", "/private/etc/ssl",
    "/private/etc/hosts", "/private/etc/passwd", "/private/etc/group", "/private/etc/services",
    "/private/etc/protocols",
    "/private/etc/localtime", "/private/var/db/timezone", "/private/var/db/dyld",
    "/private/var/select",
)  # fmt: skip
"""What programs need to run; read only."""

NEVER = ("/usr/local/var", "/opt/homebrew/var", "/opt/homebrew/etc")
"""Inside of that, what services of the owner keep."""

_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/dtracehelper")

_SERVICES = ("com.apple.pasteboard.1", "com.apple.securityd.xpc", "com.apple.SecurityServer")
"""The clipboard and the keychain."""


def quoted(path: Path | str) -> str:
    """A path as a literal. Raises ``BadBox`` for what no literal can hold."""
    text = str(path)
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise BadBox(why=f"{text!r} has control characters in its name, which no profile can hold")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def profile(box: Box, scratch: Path) -> str:
    """The profile of a box; ``scratch``: a folder for this call alone, its home and ``/tmp``.

    Raises ``BadBox``."""
    mounts = ordered(box.mounts)
    read = [real(mount.path) for mount in mounts]
    lines = [
        "(version 1)",
        "(deny default)",
        '(import "system.sb")',
        "(allow process-exec process-fork)",
        "(allow signal (target same-sandbox))",
        "(allow process-info* (target same-sandbox))",
        "(allow sysctl-read)",
        "(allow file-read-metadata)",
        _rule("allow", "file-read*", [Path(path) for path in SYSTEM]),
        _rule("deny", "file-read* file-write*", [Path(path) for path in NEVER]),
        _rule("allow", "file-read*", [*read, real(scratch)]),
        "(allow file-read* file-write-data file-ioctl "
        + " ".join(f"(literal {quoted(path)})" for path in _DEVICES)
        + ")",
    ]
    # What lies read-only inside of something writable: the innermost grant of a path counts.
    for mount in mounts:
        if mount.write:
            lines.append(_rule("allow", "file-write*", [real(mount.path)]))
        elif any(mount.path.is_relative_to(one.path) for one in mounts if one.write):
            lines.append(_rule("deny", "file-write*", [real(mount.path)]))
    lines.append(_rule("allow", "file-write*", [real(scratch)]))
    lines.append("(deny network*)")
    lines.append(f"(deny mach-lookup {' '.join(f'(global-name {quoted(n)})' for n in _SERVICES)})")
    return "\n".join(lines) + "\n"


def real(path: Path) -> Path:
    """Rules hold for paths without links: ``/tmp`` is ``/private/tmp`` there."""
    return path.resolve()


def _rule(word: str, what: str, paths: list[Path]) -> str:
    return f"({word} {what} " + " ".join(f"(subpath {quoted(path)})" for path in paths) + ")"
