"""The one way out: to places that are not public, and to others than those that were granted."""

from __future__ import annotations

from tests.drill.attacks.case import Case

_CURL = "curl -sS -m 20 --noproxy '' "
_PLAIN = {
    "address of this machine": "http://127.0.0.1:<tcp>/",
    "name of this machine": "http://localhost:<tcp>/",
    "address of six": "'http://[::1]:<tcp6>/'",
    "tunnel to it": "-p http://127.0.0.1:<tcp>/",
    "tunnel by name": "-p http://localhost:<tcp>/",
}
_ODD = {
    "another address of it": "http://127.0.0.77:<tcp>/",
    "name with a dot": "http://localhost.:<tcp>/",
    "name in capitals": "http://LOCALHOST:<tcp>/",
    "short address": "http://127.1:<tcp>/",
    "one number": "http://2130706433:<tcp>/",
    "sixteen": "http://0x7f000001:<tcp>/",
    "eight": "http://0177.0.0.1:<tcp>/",
    "nothing": "http://0:<tcp>/",
    "any address": "http://0.0.0.0:<tcp>/",
    "mapped": "'http://[::ffff:127.0.0.1]:<tcp>/'",
    "mapped in sixteen": "'http://[::ffff:7f00:1]:<tcp>/'",
    "compatible": "'http://[::127.0.0.1]:<tcp>/'",
    "translated": "'http://[64:ff9b::7f00:1]:<tcp>/'",
    "six to four": "'http://[2002:7f00:1::]:<tcp>/'",
    "any of six": "'http://[::]:<tcp6>/'",
    "scoped": "'http://[::1%25lo]:<tcp6>/'",
    "a user before it": "http://example.com@127.0.0.1:<tcp>/",
    "a mark behind it": "'http://127.0.0.1:<tcp>#@example.com/'",
    "circled digits": "http://①②⑦.⓪.⓪.①:<tcp>/",
    "wide dots": "http://127。0。0。1:<tcp>/",
    "a zero byte": "'http://127.0.0.1%00.example.com:<tcp>/'",
    "metadata": "-m 3 http://169.254.169.254/latest/meta-data/",
}
_RAW = {
    "another host in the head": r"GET http://granted.example:<tcp>/ HTTP/1.1\r\n"
    r"Host: 127.0.0.1:<tcp>",
    "no host but the head": r"GET / HTTP/1.1\r\nHost: 127.0.0.1:<tcp>",
    "two hosts": r"GET http://127.0.0.1:<tcp>/ HTTP/1.1\r\nHost: granted.example\r\nHost: x",
    "tunnel": r"CONNECT 127.0.0.1:<tcp> HTTP/1.1\r\nHost: granted.example:<tcp>",
    "tunnel with a zero": r"CONNECT 127.0.0.1\x00.granted.example:<tcp> HTTP/1.1\r\nHost: x",
    "tunnel with a line": r"CONNECT 127.0.0.1:<tcp>\nX: .granted.example HTTP/1.1\r\nHost: x",
}


def _shell(name: str, wall: str, command: str, hosts: list[str]) -> Case:
    return Case(f"way: {name}", wall, "shell", {"command": command, "hosts": hosts})


def _raw(text: str) -> str:
    """A request as no client would write it."""
    return (
        f"p=${{http_proxy##*:}}; exec 3<>/dev/tcp/127.0.0.1/${{p%/}};"
        f" printf '{text}\\r\\n\\r\\n' >&3; timeout 10 cat <&3"
    )


_ANY = ["*:<tcp>", "*:<tcp6>", "*"]
PLAIN = [_shell(name, "addresses", _CURL + url, _ANY) for name, url in _PLAIN.items()]
ODD = [_shell(name, "", _CURL + url, _ANY) for name, url in _ODD.items()]
#: With places that are not public allowed, but not granted.
NOT_GRANTED = [
    _shell(name, "hosts", _CURL + url, ["granted.example:<tcp>"])
    for name, url in list(_PLAIN.items())[:2] + list(_PLAIN.items())[3:4]
]
FORGED = [_shell(name, "", _raw(text), ["granted.example:<tcp>"]) for name, text in _RAW.items()]

CASES: list[Case] = [*PLAIN, *ODD]
GRANT_CASES: list[Case] = [*NOT_GRANTED, *FORGED]
