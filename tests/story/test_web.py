"""The agent reaches out: pages, and an API with a key that is nowhere but in its file."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.house import House, house_in
from tests.story.test_approvals import waits
from tests.unit.sandbox.egress_house import Asked, Ca, Echo, keep_secret, listening

KEY = "key-4711-that-nobody-may-see"

SETTINGS = """
[egress]
private = ["localhost:{port}"]
ca_file = "ca.pem"

[[credential]]
name = "shop"
hosts = ["localhost:{port}"]
paths = ["/v1"]
tools = ["http", "shell"]

[search]
kind = "searxng"
url = "https://localhost:{port}"

# What is remembered is private, and a run that knows it and has read a page asks before the next.
[memory]
recall = false
"""


class Server:
    """A server on loopback in a thread of its own, with a certificate of its own CA."""

    def __init__(self, ca: Ca) -> None:
        self.echo = Echo()
        self.echo.answer = self._answer
        self.port = 0
        self._ca = ca
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self._started.wait(30)

    def _answer(self, asked: Asked) -> bytes:
        if asked.path.startswith("/search"):
            found = [{"title": "A wall", "url": "https://a.example/", "content": "leaned on"}]
            body, kind = json.dumps({"results": found}), "application/json"
        elif asked.path.startswith("/v1"):
            body, kind = f"you said {asked.headers.get('authorization')}", "text/plain"
        else:
            body, kind = "<html><title>Walls</title><p>A page on walls.</p></html>", "text/html"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    async def _run(self) -> None:
        async with listening(self.echo, self._ca.server("localhost")) as self.port:
            self._started.set()
            await self._end.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(ca: Ca) -> Iterator[Server]:
    made = Server(ca)
    yield made
    made.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, ca: Ca, server: Server) -> Iterator[House]:
    for made in house_in(tmp_path_factory.mktemp("web"), more=SETTINGS.format(port=server.port)):
        (made.home / "ca.pem").write_bytes(ca.file.read_bytes())
        keep_secret(made.home / "secrets", "shop", KEY)
        made.all_up()
        yield made


def shown(home: Path, text: str) -> list[str]:
    """The files of a home, but for its secrets, in which a text stands in some form."""
    forms = [text.encode(), text.encode().hex().encode(), text[::-1].encode()]
    forms += [base64.b64encode(b"\0" * n + text.encode())[4:-4] for n in range(3)]
    return [
        str(path)
        for path in home.rglob("*")
        if path.is_file() and path.parent.name != "secrets"
        if any(form in path.read_bytes() for form in forms)
    ]


def test_an_order_is_sent_with_a_key_at_the_owners_word(house: House, server: Server) -> None:
    """What sends is asked about, with all that it sends; at his word it goes out once, with the
    key. The key is in no file of the home but its own: no record, log, prompt or answer."""
    call = {
        "method": "POST", "url": f"http://localhost:{server.port}/v1/orders",
        "body": '{"item": "wall"}', "credential": "shop",
    }  # fmt: skip
    asked = house.cli("ask", "--session", "order", f"[[tool http {json.dumps(call)}]] [[say done]]")
    assert asked.returncode == 1 and "POST" in asked.stdout and '{"item": "wall"}' in asked.stdout
    assert "'shop'" in asked.stdout and server.echo.seen == []
    (row,) = json.loads(house.cli("approvals", "--json").stdout)["approvals"]
    done = house.cli("approve", row["id"][-8:], "--wait")
    assert done.returncode == 0 and "done" in done.stdout
    (seen,) = server.echo.seen
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body == b'{"item": "wall"}'
    steps = house.story(row["job_id"])["steps"]
    assert any("you said Bearer [secret shop]" in str(step["output"]) for step in steps)
    assert shown(house.home, KEY) == []
    log = (house.home / "logs" / "node.jsonl").read_text()
    (line,) = [json.loads(one) for one in log.splitlines() if '"stead.egress"' in one]
    assert line["tool"] == "http" and line["job"] == row["job_id"]
    assert (line["host"], line["credential"], line["verdict"]) == ("localhost", "shop", "allowed")


def test_pages_and_searches_are_read_unasked(house: House, server: Server) -> None:
    """To read harms nobody; what comes back is in the record."""
    url = f"https://localhost:{server.port}/walls"
    job = house.say(
        '[[tool web_search {"query": "walls"}]]'
        f'[[tool web_fetch {{"url": "{url}"}}]] [[say read]]',
        session="read",
    )
    assert house.ended(job, 60)["job"]["state"] == "done"
    outputs = [str(step["output"]) for step in house.story(job)["steps"]]
    assert any("https://a.example/" in one for one in outputs)
    assert any("A page on walls." in one for one in outputs)


def test_the_house_itself_is_not_reached(house: House) -> None:
    """Not the gateway, not a metadata service, whatever the model wants; the log tells."""
    for url in (f"http://127.0.0.1:{house.port}/api/v1/status", "http://169.254.169.254/latest/"):
        job = house.say(f'[[tool web_fetch {{"url": "{url}"}}]] [[say ok]]', session="no")
        assert house.ended(job, 60)["job"]["state"] == "done"
        assert "not let out" in str(house.story(job)["steps"])
    log = (house.home / "logs" / "node.jsonl").read_text()
    refused = [json.loads(one) for one in log.splitlines() if '"refused"' in one]
    assert [one["host"] for one in refused] == ["127.0.0.1", "169.254.169.254"]


def test_the_shell_gets_the_key_the_same_way(house: House, server: Server) -> None:
    """curl in the sandbox asks in clear, at the owner's word; the key is put in on its way."""
    server.echo.seen.clear()
    place = f"localhost:{server.port}"
    call = {"command": f"env; curl -sS http://{place}/v1/mine", "hosts": [place]}
    job = house.say(f"[[tool shell {json.dumps(call)}]] [[say ok]]", session="shell")
    question = waits(house, job)
    assert "your credential shop" in str(question)
    assert house.cli("approve", job[-8:], "--wait").returncode == 0
    (seen,) = server.echo.seen
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert "you said Bearer [secret shop]" in str(house.story(job)["steps"])
    assert shown(house.home, KEY) == []


def test_what_a_tool_reads_of_a_secret_is_hidden(house: House) -> None:
    """A file of the workspace that holds a key of this machine is read without it."""
    (house.home / "workspace").mkdir(exist_ok=True)
    note = house.home / "workspace" / "note.txt"
    note.write_text(f"the key is {KEY}, and once more: {base64.b64encode(KEY.encode()).decode()}")
    job = house.say('[[tool read_file {"path": "note.txt"}]] [[say read]]', session="note")
    assert house.ended(job, 60)["job"]["state"] == "done"
    (read,) = [one for one in house.story(job)["steps"] if one["name"] == "tool:read_file"]
    assert str(read["output"]).count("[secret shop]") == 2
    assert shown(house.home, KEY) == [str(note)]
