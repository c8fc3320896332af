"""What pages try against the browser that shows them: the machine, its files, its owner's network.

Each is a script; ``show`` puts what it has got onto the page, where the model would read it.
"""

from __future__ import annotations

from dataclasses import dataclass

_FRAME = """<!doctype html><title>page</title><body><script>
const show = what => document.body.append(' ' + what + ' ');
const wait = ms => new Promise(done => setTimeout(done, ms));
const add = (tag, set) => {
  const e = Object.assign(document.createElement(tag), set); document.body.append(e); return e; };
addEventListener('DOMContentLoaded', async () => {
  try { %s } catch (e) { show('failed: ' + e); }
  await wait(200); show('that was all');
});
</script>"""
OVER = "that was all"


@dataclass(frozen=True)
class PageCase:
    """``wall``: as of a :class:`~tests.drill.attacks.case.Case`."""

    name: str
    wall: str
    script: str
    leaves: bool = False
    """It goes away from its page, which then says nothing more."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def body(self) -> str:
        return _FRAME % self.script


_HERE = "http://127.0.0.1:<tcp>/"


def _pages(wall: str, scripts: dict[str, str], *, leaves: bool = False) -> list[PageCase]:
    return [PageCase(f"page: {name}", wall, script, leaves) for name, script in scripts.items()]


#: Requests to what listens on this machine, which the page may not reach.
REACHING = _pages("addresses", {
    "fetch": f"await fetch('{_HERE}', {{mode: 'no-cors'}})",
    "fetch by name": "await fetch('http://localhost:<tcp>/', {mode: 'no-cors'})",
    "fetch by six": "await fetch('http://[::1]:<tcp6>/', {mode: 'no-cors'})",
    "one number": "await fetch('http://2130706433:<tcp>/', {mode: 'no-cors'})",
    "sixteen": "await fetch('http://0x7f.1:<tcp>/', {mode: 'no-cors'})",
    "wide dots": "await fetch('http://127。0。0。1:<tcp>/', {mode: 'no-cors'})",
    "post": f"await fetch('{_HERE}', {{method: 'POST', mode: 'no-cors', body: 'x'}})",
    "image": f"add('img', {{src: '{_HERE}'}}); await wait(400)",
    "frame": f"add('iframe', {{src: '{_HERE}'}}); await wait(400)",
    "object": f"add('object', {{data: '{_HERE}'}}); await wait(400)",
    "style": f"add('link', {{rel: 'stylesheet', href: '{_HERE}'}}); await wait(400)",
    "script": f"add('script', {{src: '{_HERE}'}}); await wait(400)",
    "redirect": "await fetch('/away', {mode: 'no-cors'})",
    "redirected frame": "add('iframe', {src: '/away'}); await wait(400)",
    "beacon": f"navigator.sendBeacon('{_HERE}', 'x'); await wait(400)",
    "worker": f"""new Worker(URL.createObjectURL(new Blob(
        ["fetch('{_HERE}', {{mode: 'no-cors'}})"]))); await wait(800)""",
    "request of old": f"""const r = new XMLHttpRequest(); r.open('GET', '{_HERE}', false);
        try {{ r.send() }} catch (e) {{ show(e) }}""",
})  # fmt: skip
LEAVING = _pages("addresses", {
    "location": f"location = '{_HERE}'",
    "form": f"add('form', {{action: '{_HERE}', method: 'post'}}).submit()",
    "location by redirect": "location = '/away'",
}, leaves=True)  # fmt: skip

#: The same, where more than the one wall stands in the way.
OTHERS = _pages("", {
    "socket": "new WebSocket('ws://127.0.0.1:<tcp>/'); await wait(400)",
    "any address": "await fetch('http://0.0.0.0:<tcp>/', {mode: 'no-cors'})",
    "mapped": "await fetch('http://[::ffff:127.0.0.1]:<tcp>/', {mode: 'no-cors'})",
    "metadata": "show(await (await fetch('http://169.254.169.254/latest/meta-data/')).text())",
    "the proxy itself": "show(await (await fetch('http://127.0.0.1:3128/')).text())",
    "the gateway": "show(await (await fetch('http://127.0.0.1:8420/api/v1/status')).text())",
    "udp by a call": """const c = new RTCPeerConnection({iceServers: [
        {urls: 'stun:127.0.0.1:<udp>'}, {urls: 'turn:127.0.0.1:<udp>?transport=udp',
         username: 'a', credential: 'b'}, {urls: 'turn:127.0.0.1:<tcp>?transport=tcp',
         username: 'a', credential: 'b'}]}); c.createDataChannel('x');
        await c.setLocalDescription(await c.createOffer()); await wait(1000)""",
    "quic": f"await (new WebTransport('{_HERE.replace('http:', 'https:')}')).ready",
    "file by fetch": "show(await (await fetch('file://<home>/secrets/owner.key')).text())",
    "file in a frame": "add('iframe', {src: 'file://<home>/secrets/owner.key'}); await wait(200)",
    "file in a window": "open('file://<home>/secrets/owner.key'); await wait(200)",
    "file by a link": "add('a', {href: 'file://<home>/secrets/owner.key'}).click()",
    "file as an image": "add('img', {src: 'file://<home>/secrets/owner.key'}); await wait(300)",
    "file by redirect": "await fetch('/file', {mode: 'no-cors'})",
    "folder of the house": "location = 'file://<home>/'; await wait(200)",
    "source of a file": "location = 'view-source:file://<home>/secrets/owner.key'; await wait(200)",
    "pages of the browser": "location = 'chrome://version/'; await wait(200)",
    "picked files": "show((await showOpenFilePicker())[0].name)",
    "picked folders": "show((await showDirectoryPicker()).name)",
    "clipboard": "show(await navigator.clipboard.readText())",
    "devices": "show(await navigator.usb.requestDevice({filters: []}))",
    "programs of the machine": "location = 'mailto:a@b?attach=<home>/secrets/owner.key'",
    "download by a name": """const a = add('a', {download: '../../../autostart/x', href:
        URL.createObjectURL(new Blob(['x']))}); a.click(); await wait(200)""",
    "download by its head": "location = '/named'; await wait(400)",
    "many windows": "for (let i = 0; i < 100; i++) open('/away?' + i); await wait(300)",
    "many downloads": "for (let i = 0; i < 60; i++) { location = '/named?' + i; await wait(5) }",
    "many dialogs": "for (let i = 0; i < 40; i++) alert(i)",
    "many entries": "for (let i = 0; i < 1000; i++) history.pushState(i, '', '?' + i)",
    "many workers": """const u = URL.createObjectURL(new Blob(['for (;;) {}']));
        const all = []; for (let i = 0; i < 40; i++) all.push(new Worker(u));
        await wait(300); for (const one of all) one.terminate()""",
})  # fmt: skip
ALL = [*REACHING, *LEAVING, *OTHERS]
