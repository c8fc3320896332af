"""A key is put in at the proxy: for its host, path, method and tool, and is never seen inside."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stead.sandbox.box import Host
from stead.sandbox.egress_credentials import fitting
from stead.sandbox.egress_gate import Place
from stead.sandbox.egress_hosts import Refused
from stead.sandbox.secrets import BadSecret, Credential, SecretStore, SecretUnreadable, Source
from tests.unit.sandbox.egress_house import Asked, Ca, Echo, keep_secret, listening, way_out

KEY = "sk-proj/4711+odd=key_with.all~kinds"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    keep_secret(tmp_path / "secrets", "api", KEY)
    return tmp_path / "secrets"


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def port(echo: Echo, ca: Ca) -> AsyncIterator[int]:
    async with listening(echo, ca.server("localhost")) as port:
        yield port


def credential(port: int, **more: Any) -> Credential:
    base: dict[str, Any] = {
        "name": "api", "source": Source(file="api"), "hosts": (f"localhost:{port}",),
        "tools": ("http",),
    }  # fmt: skip
    return Credential(**{**base, **more})


def granted(port: int) -> list[Host]:
    return [Host("localhost", port, credentials=("api",), private=True)]


@pytest.mark.parametrize(
    ("more", "header", "value"),
    [
        ({}, "authorization", f"Bearer {KEY}"),
        ({"how": "header", "field": "X-Api-Key"}, "x-api-key", KEY),
        (
            {"how": "basic", "user": "me"},
            "authorization",
            "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode(),
        ),
    ],
)
async def test_the_key_is_put_in_over_tls(
    echo: Echo, port: int, ca: Ca, secrets: Path, more: dict[str, Any], header: str, value: str
) -> None:
    """A plain request inside leaves as HTTPS with the key; what stood in its place is replaced,
    and an answer that says it all again says it without the key."""
    async with way_out(
        granted(port), credentials=(credential(port, **more),), secrets=secrets, ca=ca
    ) as way:
        url = f"http://localhost:{port}/v1/x?a=b"
        answer = await way.get(url, **{header.replace("-", "_"): "a-sentinel"})
        record = await way.last()
    (seen,) = echo.seen
    assert seen.headers[header] == value
    assert seen.path == "/v1/x?a=b"
    assert record.credential == "api"
    said = str(answer)
    assert KEY not in said and value not in said and "a-sentinel" not in said
    assert "[secret api]" in answer.body.decode()
    assert "[secret api]" in answer.headers["x-echo"] or header != "authorization"


async def test_the_key_as_a_parameter(echo: Echo, port: int, ca: Ca, secrets: Path) -> None:
    """It takes the place of one of the same name, however that is written."""
    one = credential(port, how="query", field="key")
    async with way_out(granted(port), credentials=(one,), secrets=secrets, ca=ca) as way:
        answer = await way.get(f"http://localhost:{port}/v1?q=1&key=mine&%6bey=other&z")
    assert echo.seen[0].path == "/v1?q=1&z&key=sk-proj%2F4711%2Bodd%3Dkey_with.all~kinds"
    assert "4711" not in str(answer)


@pytest.mark.parametrize(
    "case", ["other tool", "other path", "other method", "not granted", "other port"]
)
async def test_no_key_for_what_it_is_not_for(
    echo: Echo, port: int, ca: Ca, secrets: Path, case: str
) -> None:
    """Each condition by itself keeps the key out; the request goes on without."""
    one = credential(port, paths=("/v1",), methods=("GET",))
    hosts = granted(port)
    if case == "not granted":
        hosts = [Host("localhost", port, private=True)]
    if case == "other port":
        one = credential(port ^ 1)
    tool = "shell" if case == "other tool" else "http"
    path = {"other path": "/v10"}.get(case, "/v1/x")
    async with way_out(hosts, tool=tool, credentials=(one,), secrets=secrets, ca=ca) as way:
        scheme = "http" if case in ("other path", "other method") else "https"
        method = "POST" if case == "other method" else "GET"
        answer = await way.get(f"{scheme}://localhost:{port}{path}", method, content_length="0")
        assert answer.line == "HTTP/1.1 200 OK"
    assert "authorization" not in echo.seen[0].headers
    assert KEY not in str(echo.seen)


@pytest.mark.parametrize(
    "path",
    ["/v1/../admin", "/v1/..", "/v1/%2e%2e/admin", "/v1/.%2E/admin", "/v1/%252e%252e/admin",
     "/v1/..%2fadmin", "/v1%2f..%2fadmin", "/v1/..%5cadmin", "/v1\\..\\admin", "/v1/..;/admin",
     "/v1/..;a=b/admin", "/v1/./x", "/v1/%00", "/v1/%25%32%65%25%32%65/admin"],
)  # fmt: skip
async def test_no_path_out_of_the_path(
    echo: Echo, port: int, ca: Ca, secrets: Path, path: str
) -> None:
    """What some server might take for a path above the allowed one is refused."""
    one = credential(port, paths=("/v1",))
    async with way_out(granted(port), credentials=(one,), secrets=secrets, ca=ca) as way:
        answer = await way.get(f"http://localhost:{port}{path}")
    assert answer.line.split(" ")[1] in ("400", "403")
    assert echo.seen == []


def test_the_longest_path_decides() -> None:
    """Of two credentials for a host the more exact one; a key for all paths takes odd ones too."""
    wide = credential(1, name="wide", hosts=("h",))
    deep = credential(1, name="deep", hosts=("h",), paths=("/a/b", "/c"))
    places = [Place(wide, "h", 0), Place(deep, "h", 0)]
    for path, name in (("/a/b/c?x", "deep"), ("/a/bc", "wide"), ("/", "wide"), ("/c", "deep"),
                       ("/projects/a%2Fb", "wide")):  # fmt: skip
        found = fitting(places, "GET", path)
        assert found is not None and found.name == name
    assert fitting(places[1:], "GET", "/d") is None
    with pytest.raises(Refused):
        fitting(places[1:], "GET", "/a/b/../d")


async def test_the_certificate_must_be_right(echo: Echo, tmp_path: Path, secrets: Path) -> None:
    """No key goes to a server that cannot prove its name, nor over a connection in clear."""
    strange = Ca(tmp_path)

    async def in_clear(reader: StreamReader, writer: StreamWriter) -> None:
        got.append(await reader.read(5))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    got: list[bytes] = []
    for server, tls in ((echo, strange.server("other.example")), (in_clear, None)):
        async with (
            listening(server, tls) as port,
            way_out(
                granted(port), credentials=(credential(port),), secrets=secrets, ca=strange
            ) as way,
        ):
            answer = await way.get(f"http://localhost:{port}/")
        assert answer.line.split(" ")[1] == "502"
    assert echo.seen == [] and got[0].startswith(b"\x16\x03")


async def test_in_clear_only_where_the_owner_says_so(echo: Echo, secrets: Path) -> None:
    """A device in the house that knows no TLS gets its key in clear, if ``plain`` says so."""
    async with (
        listening(echo) as port,
        way_out(granted(port), credentials=(credential(port, plain=True),), secrets=secrets) as way,
    ):
        await way.get(f"http://localhost:{port}/")
    assert echo.seen[0].headers["authorization"] == f"Bearer {KEY}"


async def test_an_echo_in_pieces_or_packed_is_masked(
    echo: Echo, port: int, ca: Ca, secrets: Path
) -> None:
    """The key does not come back over chunk borders, in gzip, in base64 or piece by piece."""
    async with way_out(
        granted(port), credentials=(credential(port),), secrets=secrets, ca=ca
    ) as way:
        url = f"http://localhost:{port}/"
        body = f"a{KEY}b".encode()
        pieces = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
        echo.answer = lambda _: (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
        )
        assert (await way.get(url)).body == b"a[secret api]b"
        packed = gzip.compress(b"x" * 5000 + base64.b64encode(body))
        echo.answer = lambda _: (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(packed), packed)
        )
        answer = await way.get(url, accept_encoding="gzip, br", range="bytes=0-3")
        assert answer.body.startswith(b"x" * 5000) and b"[secret api]" in answer.body
        assert "content-encoding" not in answer.headers
        assert echo.seen[-1].headers["accept-encoding"] == "identity"
        assert "range" not in echo.seen[-1].headers
        echo.answer = lambda _: (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"
        )
        assert (await way.get(url)).line.split(" ")[1] == "502"
        echo.answer = lambda asked: (
            f"HTTP/1.1 302 Found\r\nLocation: /?k={asked.headers['authorization'][7:]}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        assert (await way.get(url)).headers["location"] == "/?k=[secret api]"


async def test_a_stream_with_a_key_streams(port: int, ca: Ca, secrets: Path) -> None:
    """Events arrive as they are sent, though they are looked through."""
    told = asyncio.Event()

    async def events(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await told.wait()
        writer.write(b"data: 2\n\n")

    async with (
        listening(events, ca.server("localhost")) as port,
        way_out(granted(port), credentials=(credential(port),), secrets=secrets, ca=ca) as way,
    ):
        reader, writer = await way.connect()
        writer.write(f"GET http://localhost:{port}/ HTTP/1.1\r\n\r\n".encode())
        await reader.readuntil(b"data: 1\n\n")
        told.set()
        assert b"data: 2\n\n" in await reader.read()
        writer.close()


@pytest.mark.parametrize("kind", ["file", "systemd", "command"])
async def test_where_values_come_from(
    echo: Echo, port: int, ca: Ca, tmp_path: Path, kind: str
) -> None:
    """A file in secrets/, a credential of systemd, or a command; a new value holds at once."""
    folder = tmp_path / "s"
    keep_secret(folder, "one", KEY)
    (folder / "unit").write_text(KEY)
    (folder / "unit").chmod(0o400)
    source = {
        "file": Source(file="one"),
        "systemd": Source(systemd="unit"),
        "command": Source(command=("sh", "-c", f"echo '{KEY}'")),
    }[kind]
    async with way_out(
        granted(port), credentials=(credential(port, source=source),), secrets=folder,
        systemd=folder, ca=ca,
    ) as way:  # fmt: skip
        url = f"http://localhost:{port}/"
        await way.get(url)
        assert echo.seen[0].headers["authorization"] == f"Bearer {KEY}"
        if kind == "file":
            keep_secret(folder, "one", "a-new-value")
            await way.get(url)
            assert echo.seen[1].headers["authorization"] == "Bearer a-new-value"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (Source(file="missing"), "stead secret set missing"),
        (Source(file="open"), "others can read"),
        (Source(file="lines"), "characters that no header"),
        (Source(systemd="x"), "LoadCredential"),
        (Source(command=("/nonexistent/program",)), "No such file"),
        (Source(command=("false",)), "ended with code 1"),
        (Source(command=("true",)), "no value"),
    ],
)
async def test_a_value_that_cannot_be_had_is_said(
    echo: Echo, port: int, ca: Ca, tmp_path: Path, source: Source, why: str
) -> None:
    """The answer says what is wrong with the secret, and no request goes out without it."""
    keep_secret(tmp_path, "open", KEY)
    (tmp_path / "open.secret").chmod(0o644)
    keep_secret(tmp_path, "lines", "a\r\nX-Evil: 1")
    async with way_out(
        granted(port), credentials=(credential(port, source=source),), secrets=tmp_path, ca=ca
    ) as way:
        answer = await way.get(f"http://localhost:{port}/")
    assert answer.line.split(" ")[1] == "502"
    assert why in answer.body.decode() and KEY not in answer.body.decode()
    assert echo.seen == []


def test_secrets_are_files_of_the_owner_alone(tmp_path: Path) -> None:
    """0600 in a folder 0700; names that are no names, and values that are none, are refused."""
    store = SecretStore(tmp_path / "secrets")
    assert store.names() == []
    path = store.set("mail", "a value\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (store.names(), store.get("mail")) == (["mail"], "a value")
    for name in ("", "../x", "a/b", "A", "x" * 70, ".hidden", "a\0"):
        with pytest.raises(BadSecret):
            store.set(name, "value")
    for value in ("", "  \n", "a\0b", "x" * 70_000):
        with pytest.raises(BadSecret):
            store.set("mail", value)
    store.remove("mail")
    with pytest.raises(BadSecret, match="no secret"):
        store.remove("mail")
    (store.folder / "dir.secret").mkdir()
    with pytest.raises(SecretUnreadable, match="directory"):
        store.get("dir")


def test_a_credential_holds_no_value() -> None:
    """What goes to the proxy's process, and what is shown, names a secret and does not hold it."""
    one = credential(1)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Credential) == one
    assert "value" not in json.loads(msgspec.json.encode(one))
    assert isinstance(Asked("", {}, b""), Asked)


async def test_certificates_that_cannot_be_read_are_said(
    echo: Echo, port: int, secrets: Path, tmp_path: Path
) -> None:
    """A wrong ca_file stops requests with words, and is no reason to trust anybody."""
    ca = Ca(tmp_path)
    ca.file = tmp_path / "missing.pem"
    async with way_out(
        granted(port), credentials=(credential(port),), secrets=secrets, ca=ca
    ) as way:
        for _ in range(2):
            answer = await way.get(f"http://localhost:{port}/")
            assert answer.line.split(" ")[1] == "502" and b"ca_file" in answer.body
    assert echo.seen == []
