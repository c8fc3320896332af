"""The node protocol over HTTP: what goes wrong is sorted into what a node can do about it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from stead.core.errors import GatewayAway, StaleEpoch, SteadError, WrongKey
from stead.core.wire import Claim, Events, Finish, Heartbeat, Held, Hello
from stead.node.link import HttpLink
from tests.unit.node.gateway import KEY, Gateway

Ask = Callable[[HttpLink], Coroutine[Any, Any, object]]


async def _heartbeat(link: HttpLink) -> object:
    return await asyncio.to_thread(link.heartbeat, Heartbeat("boot", [Held("j", 1)]))


WAYS: dict[str, Ask] = {
    "hello": lambda link: link.hello(Hello("boot")),
    "claim": lambda link: link.claim(Claim("r", "boot", wait_s=0.0)),
    "events": lambda link: link.events(Events("id", "j", 1)),
    "finish": lambda link: link.finish(Finish("id", "j", 1, "done")),
    "heartbeat": _heartbeat,
}


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (502, GatewayAway),
        (503, GatewayAway),
        (504, GatewayAway),
        (429, GatewayAway),
        (409, StaleEpoch),
        (401, WrongKey),
        ("cut", GatewayAway),
    ],
)
async def test_each_fault_has_its_error(
    path: str, fault: str | int, error: type[SteadError]
) -> None:
    """Whatever is asked, the same fault is the same error."""
    with Gateway() as gateway:
        gateway.epochs["j"] = 1
        gateway.fault(path, fault, times=5)
        link = HttpLink(gateway.url, KEY)
        with pytest.raises(error):
            await WAYS[path](link)
        gateway.faults.clear()
        await WAYS[path](link)
        await link.aclose()


@pytest.mark.parametrize("path", WAYS)
async def test_nobody_there_is_said_with_the_url(path: str) -> None:
    """No connection names the gateway that was asked for."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        link = HttpLink(url, KEY)
        with pytest.raises(GatewayAway, match=url):
            await WAYS[path](link)
        await link.aclose()


async def test_other_refusals_keep_status_and_words() -> None:
    """A refusal of the gateway arrives with its status, code and message."""
    with Gateway() as gateway:
        gateway.fault("events", 413)
        link = HttpLink(gateway.url, KEY)
        with pytest.raises(SteadError, match="a fault of the test: 413") as caught:
            await WAYS["events"](link)
        assert (caught.value.status, caught.value.code) == (413, "internal")
        await link.aclose()


async def test_a_wrong_key_is_told() -> None:
    """The gateway's own words on the key reach the owner."""
    with Gateway() as gateway:
        link = HttpLink(gateway.url, "sn_wrong")
        with pytest.raises(WrongKey, match="not known"):
            await link.hello(Hello("boot"))
        await link.aclose()


async def test_heartbeats_survive_a_restart_of_the_gateway() -> None:
    """The kept connection broke with the gateway; the next heartbeat makes a new one by itself."""
    with Gateway() as gateway:
        gateway.epochs["j"] = 1
        link = HttpLink(gateway.url, KEY)
        await _heartbeat(link)
        gateway.down()
        gateway.up()
        await _heartbeat(link)
        assert len(gateway.record.heartbeats) == 2
        await link.aclose()


async def test_an_answer_that_is_not_the_gateways_is_tried_again_later() -> None:
    """A proxy's page in place of an answer is no answer: 502, so that the report stays."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(page, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = HttpLink(f"http://127.0.0.1:{port}", KEY)
    with pytest.raises(SteadError) as caught:
        await WAYS["events"](link)
    assert caught.value.status == 502
    await link.aclose()
    server.close()
