"""A browser that is not looking is told, through a push service that can read nothing."""

from __future__ import annotations

import json
import queue
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import http_ece
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stead.push.seal import encoded
from tests.story.browser import Screen
from tests.story.house import House, house_in

AUTH = b"0123456789abcdef"


class Service:
    """A push service (RFC 8030) on loopback, by HTTPS."""

    def __init__(self, folder: Path) -> None:
        self.came: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
        self.answers: list[int] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heads = {name.lower(): value for name, value in self.headers.items()}
                status = service.answers.pop(0) if service.answers else 201
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                service.came.put((self.path, heads, body))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        authority = trustme.CA()
        self.certificates = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.certificates)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.place = f"localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self) -> tuple[str, dict[str, str], bytes]:
        return self.came.get(timeout=60)


class Browser:
    """What a browser keeps of its subscription."""

    def __init__(self, house: House, service: Service, path: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.subscription = {
            "endpoint": f"https://{service.place}{path}",
            "expirationTime": None,
            "keys": {"p256dh": encoded(public), "auth": encoded(AUTH)},
        }
        status, told = house.call("POST", "/api/v1/push", self.subscription)
        assert status == 201, told
        assert encoded(AUTH) not in json.dumps(told)
        assert path not in json.dumps(told)
        self.id = told["id"]

    def read(self, body: bytes) -> dict[str, str]:
        plain = http_ece.decrypt(body, private_key=self.key, auth_secret=AUTH, version="aes128gcm")
        told: dict[str, str] = json.loads(plain)
        return told


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("push"))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[House]:
    more = f'[push]\nservices = ["{service.place}"]\ncontact = "mailto:me@example.org"\n'
    with pytest.MonkeyPatch.context() as patch:
        # What the system trusts, for the processes of this house.
        patch.setenv("SSL_CERT_FILE", str(service.certificates))
        for house in house_in(tmp_path_factory.mktemp("pushing"), more=more):
            house.all_up()
            yield house


def test_what_waits_for_the_owner_comes_and_is_told_once(lived_in: House, service: Service) -> None:
    """An answer asked for in a page comes, encrypted and signed; what the terminal asked does
    not; after a restart it does not come again; a service that knows it no more ends it."""
    browser = Browser(lived_in, service, "/one?a=1")
    lived_in.ended(lived_in.say("not for a push", channel="cli", session="terminal"))
    lived_in.ended(lived_in.say("Hello from the page", channel="page", session="a/b"))
    path, heads, body = service.next()
    assert path == "/one?a=1"
    assert (heads["content-encoding"], heads["ttl"]) == ("aes128gcm", "86400")
    assert heads["authorization"].startswith("vapid t=ey")
    assert len(heads["topic"]) <= 32
    told = browser.read(body)
    assert (told["title"], told["path"]) == ("stead has answered", "/chat/a%2Fb")
    assert "page" not in body.decode("latin-1")
    lived_in.until(
        lambda: lived_in.get("/api/v1/push")["subscriptions"][0]["told_at"], 30, "it to be noted"
    )
    lived_in.kill("gateway")
    lived_in.start("gateway")
    lived_in.until(lived_in.whole, 30, "the gateway to be back")
    service.answers[:] = [503, 410]
    lived_in.ended(lived_in.say("Once more", channel="page"))
    assert browser.read(service.next()[2])["tag"] == "main"
    assert browser.read(service.next()[2])["tag"] == "main"  # tried again after the 503
    lived_in.until(
        lambda: not lived_in.get("/api/v1/push")["subscriptions"], 30, "it to be forgotten"
    )
    assert service.came.empty()


def test_a_notice_goes_nowhere_unknown(lived_in: House, service: Service) -> None:
    """An endpoint that is no push service of the settings, or no https, is refused: nobody makes
    this gateway call where it should not. Keys that are none are refused too."""
    keys = {"p256dh": encoded(b"\x04" + b"\x01" * 64), "auth": encoded(AUTH)}
    for endpoint in (
        "https://127.0.0.1:1/x",
        f"http://{service.place}/x",
        f"https://me@{service.place}/x",
        f"https://{service.place}.example.org/x",
        f"https://example.org/{service.place}",
        "",
    ):
        status, told = lived_in.call("POST", "/api/v1/push", {"endpoint": endpoint, "keys": keys})
        assert status == 400, endpoint
        assert told["error"]["param"] == "endpoint"
    for wrong in ({"p256dh": "AA", "auth": keys["auth"]}, {"p256dh": keys["p256dh"], "auth": "!"}):
        asked = {"endpoint": f"https://{service.place}/x", "keys": wrong}
        status, told = lived_in.call("POST", "/api/v1/push", asked)
        assert (status, told["error"]["param"].split(".")[0]) == (400, "keys")


def test_keys_that_are_no_point_end_only_themselves(lived_in: House, service: Service) -> None:
    """A subscription whose key is on no curve is dropped; the others are told all the same."""
    bad = {
        "endpoint": f"https://{service.place}/bad",
        "keys": {"p256dh": encoded(b"\x04" + b"\x01" * 64), "auth": encoded(AUTH)},
    }
    assert lived_in.call("POST", "/api/v1/push", bad)[0] == 201
    browser = Browser(lived_in, service, "/two")
    assert lived_in.call("POST", "/api/v1/push/test")[0] == 202
    path, _, body = service.next()
    assert path == "/two"
    assert browser.read(body)["tag"] == "test"

    def alone() -> bool:
        return [one["id"] for one in lived_in.get("/api/v1/push")["subscriptions"]] == [browser.id]

    lived_in.until(alone, 30, "the other to be dropped")
    assert lived_in.call("DELETE", f"/api/v1/push/{browser.id}")[0] == 200
    assert lived_in.call("DELETE", f"/api/v1/push/{browser.id}")[0] == 404


def test_the_worker_shows_what_comes(screen: Screen) -> None:
    """What the service hands to the browser is shown as a notice, whatever is in it; a way to
    another place is not taken over."""
    context = screen.context(
        key=False, service_workers="allow", permissions=["notifications"],
        viewport={"width": 800, "height": 600},
    )  # fmt: skip
    page = context.new_page()
    page.goto("/offline")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    devtools = context.new_cdp_session(page)
    found: list[str] = []
    devtools.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(one["registrationId"] for one in event["registrations"]),
    )
    devtools.send("ServiceWorker.enable")
    screen.house.until(lambda: page.evaluate("1") and found, 30, "the worker to be known")
    told = {"title": "stead asks you", "body": "May I?", "path": "//evil.example/", "tag": "t"}
    for data in (json.dumps(told), "not JSON"):
        devtools.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": screen.origin, "registrationId": found[0], "data": data},
        )
    shown = (
        "async () => (await (await navigator.serviceWorker.ready).getNotifications())"
        ".map((one) => [one.title, one.body, one.data.path])"
    )
    screen.house.until(lambda: len(page.evaluate(shown)) == 2, 30, "both to be shown")
    assert sorted(page.evaluate(shown)) == [
        ["stead", "There is something new.", "/"],
        ["stead asks you", "May I?", "/"],
    ]


def test_the_room_lists_who_is_told(screen: Screen, service: Service) -> None:
    """Without JavaScript one reads which browsers are told; one is removed after a question."""
    made = Browser(screen.house, service, "/three")
    assert service.place in screen.page("/notices", js=False).inner_text("table")
    page = screen.page("/notices")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
    page.get_by_text("Nobody is told.").wait_for()
    assert made.id not in {one["id"] for one in screen.house.get("/api/v1/push")["subscriptions"]}
