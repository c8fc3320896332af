"""What runs inside a sandbox so that programs there find their proxy.

A sandbox has a network of its own with nothing in it. The first program in it opens a listening
socket on its loopback, hands this socket itself to the proxy outside, and then becomes the tool's
command. No process stays behind to carry bytes: the proxy accepts connections right out of the
sandbox's network, which nothing else connects with any other.

It is written with what Python has without loading a file (``_socket``, ``posix``), so that it
starts in two thirds of the time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stead.sandbox.box import Mount
from stead.sandbox.view import system

PORT = 3128
"""Where the proxy listens inside; it is the sandbox's own loopback, so that none can be taken."""

FAILED = 126
"""How the program ends that could not open the way."""

_OWN = "localhost,127.0.0.1,::1"

_OPEN = """
import _socket, posix, sys
path, port, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
try:
    door = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    door.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", port))
    door.listen(256)
    hand = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    hand.settimeout(20)
    hand.connect(path)
    fd = door.fileno().to_bytes(4, sys.byteorder)
    hand.sendmsg([b"d"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd)])
    if hand.recv(1) != b"k":
        raise OSError("the proxy did not take it")
    hand.close()
    door.close()
except OSError as problem:
    posix.write(2, b"stead: the way out of the sandbox could not be opened: %s\\n"
        % str(problem).encode())
    posix._exit(126)
name, why = command[0], "not found"
paths = posix.environ.get(b"PATH", b"/usr/bin:/bin").decode().split(":")
for file in [name] if "/" in name else [place + "/" + name for place in paths]:
    try:
        posix.execv(file, command)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as problem:
        why = problem.strerror
posix.write(2, ("%s: %s\\n" % (name, why)).encode("utf-8", "surrogateescape"))
posix._exit(127)
"""

_CONNECT = """
import _socket, os, select, sys
host, port = sys.argv[2], sys.argv[3]
way = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
way.connect(("127.0.0.1", int(sys.argv[1])))
name = "[" + host + "]" if ":" in host else host
way.sendall(b"CONNECT %s:%s HTTP/1.1\\r\\n\\r\\n" % (name.encode(), port.encode()))
head = b""
while not head.endswith(b"\\r\\n\\r\\n"):
    byte = way.recv(1)
    if not byte:
        break
    head += byte
if head.split(b" ")[1:2] != [b"200"]:
    os.write(2, head.partition(b"\\r\\n")[0] + b"\\n" + way.recv(4096))
    os._exit(1)
waiting = [0, way.fileno()]
while way.fileno() in waiting:
    for ready in select.select(waiting, [], [])[0]:
        data = os.read(ready, 65536)
        if not data:
            waiting.remove(ready)
            if ready == 0:
                way.shutdown(_socket.SHUT_WR)
        elif ready == 0:
            way.sendall(data)
        else:
            while data:
                data = data[os.write(1, data):]
"""


def _python() -> str:
    """The interpreter itself, and not a link to it that may lie where the sandbox does not see."""
    return str(Path(sys.executable).resolve())


def opener(path: Path) -> tuple[str, ...]:
    """What goes before a command: opens the way to the proxy that waits at ``path``."""
    return (_python(), "-I", "-S", "-B", "-c", _OPEN, str(path), str(PORT))


def connect_command() -> tuple[str, ...]:
    """A command for inside that connects its stdin and stdout with a host: for ``ProxyCommand`` of
    ssh, with ``%h`` and ``%p`` after it. The box must name this host and port."""
    return (_python(), "-I", "-S", "-B", "-c", _CONNECT, str(PORT))


def mounts(folder: Path) -> tuple[Mount, ...]:
    """What these programs need to see."""
    home = Path(_python()).parent.parent
    if any(home.is_relative_to(shown) for shown in system()[0]):
        return (Mount(folder),)
    return (Mount(folder), Mount(home))


def environment(*, own_loopback: bool = True) -> dict[str, str]:
    """By which ordinary programs find the proxy (curl(1) reads some in lower case only).

    ``own_loopback``: ``localhost`` is the sandbox's own, where a program may talk to a server that
    was started beside it; else the machine's, as far as the box names it.
    """
    url = f"http://127.0.0.1:{PORT}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {
        **dict.fromkeys((*names, *map(str.lower, names)), url),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), _OWN if own_loopback else ""),
    }
