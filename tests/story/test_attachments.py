"""Files that are handed in with messages: on their whole way, through real processes."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.story.house import House
from tests.story.test_hands import results, tool


def png(width: int = 3, height: int = 2, more: int = 0) -> bytes:
    """A whole picture; ``more`` bytes in a chunk of text make it larger."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(body, zlib.crc32(kind))
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    rows = b"".join(b"\0" + b"\x10\x80\xf0" * width for _ in range(height))
    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        chunk(b"tEXt", b"Comment\0" + b"x" * more),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ))  # fmt: skip


def hand_in(house: House, name: str, data: bytes) -> Any:
    """A file, as the API knows it then."""
    status, file = house.call("POST", f"/api/v1/files?name={name}", data)
    assert status == 201, file
    return file


def fetched(house: House, ident: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=60)
    try:
        sent = {"Authorization": f"Bearer {house.key}", **headers}
        connection.request("GET", f"/api/v1/files/{ident}/content", headers=sent)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, answer.read()
    finally:
        connection.close()


def kept(house: House) -> list[Path]:
    """All that lies in the folder of files."""
    return [path for path in (house.home / "files").rglob("*") if path.is_file()]


def test_a_text_is_read_by_tools_and_a_picture_is_shown(lived_in: House) -> None:
    """A message with a text and a picture: the model is shown the picture, a tool reads the text
    where the model is told it lies, and the record tells of both."""
    house, session = lived_in, "both"
    picture = png()
    text = hand_in(house, "notes.txt", "Größe: 42 cm\n".encode())
    shown = hand_in(house, "cat.png", picture)
    assert (text["kind"], shown["kind"]) == ("text", "picture")
    where = f"attachments/{text['id'][-8:]}/notes.txt"
    asked = f"{tool('read_file', path=where)} [[images]] what is this?"
    job = house.say(asked, session=session, files=[text["id"], shown["id"]])
    story = house.ended(job)
    assert results(story)[0].strip() == "Größe: 42 cm"
    assert story["reply"]["text"] == f"image/png of {len(picture)} bytes"
    assert [one["name"] for one in story["message"]["files"]] == ["notes.txt", "cat.png"]
    said = house.get(f"/api/v1/messages?session={session}&after=0")["messages"]
    assert [one["id"] for one in said[0]["files"]] == [text["id"], shown["id"]]
    # The next turn still reaches both.
    again = house.ended(house.say(f"{tool('read_file', path=where)} [[images]] and?",
                                  session=session))  # fmt: skip
    assert results(again)[0].strip() == "Größe: 42 cm"
    assert again["reply"]["text"] == f"image/png of {len(picture)} bytes"


def test_the_command_line_hands_files_in(lived_in: House, tmp_path: Path) -> None:
    """`stead ask --attach` sends files with the question, or with no words at all; what cannot be
    read is refused before anything is sent."""
    one, two = tmp_path / "a b.txt", tmp_path / "größe.csv"
    one.write_text("one")
    two.write_text("1;2")
    asked = lived_in.cli(
        "ask", "--session", "cli", "--attach", str(one), "--attach", str(two), "[[say got it]] see"
    )
    assert (asked.returncode, asked.stdout.strip()) == (0, "got it"), asked.stderr
    alone = lived_in.cli("ask", "--session", "cli", "--attach", str(one))
    assert alone.returncode == 0, alone.stderr
    said = lived_in.get("/api/v1/messages?session=cli&after=0")["messages"]
    names = [[file["name"] for file in message["files"]] for message in said]
    assert names == [["a b.txt", "größe.csv"], [], ["a b.txt"], []]
    for bad in (tmp_path, tmp_path / "nothing", Path("/dev/zero")):
        refused = lived_in.cli("ask", "--session", "cli", "--attach", str(bad), "look")
        assert refused.returncode != 0
        assert "cannot be attached" in refused.stderr
    assert len(lived_in.get("/api/v1/messages?session=cli&after=0")["messages"]) == 4


def test_openai_clients_send_pictures_and_papers(lived_in: House) -> None:
    """`image_url`, `file` and `input_audio` parts of a chat completion reach the agent as files;
    an address elsewhere is refused and never asked."""
    picture = png(5, 5)
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    paper = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
    parts = [
        {"type": "text", "text": "[[images]] what is it?"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "file", "file": {"filename": "bill.pdf", "file_data": paper}},
    ]
    body = {"model": "stead", "messages": [{"role": "user", "content": parts}],
            "metadata": {"session": "openai"}}  # fmt: skip
    status, answer = lived_in.call("POST", "/v1/chat/completions", body)
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"] == f"image/png of {len(picture)} bytes"
    said = lived_in.get("/api/v1/messages?session=openai&after=0")["messages"]
    assert [file["kind"] for file in said[0]["files"]] == ["picture", "pdf"]
    assert said[0]["files"][1]["name"] == "bill.pdf"
    with socket.create_server(("127.0.0.1", 0)) as watched:
        watched.settimeout(0.2)
        there = f"http://127.0.0.1:{watched.getsockname()[1]}/cat.png"
        parts[1] = {"type": "image_url", "image_url": {"url": there}}
        status, answer = lived_in.call("POST", "/v1/chat/completions", body)
        assert status == 400
        assert answer["error"]["param"] == "messages[0].content[1].image_url.url"
        with pytest.raises(TimeoutError):
            watched.accept()


def test_what_is_given_back_runs_nothing(lived_in: House) -> None:
    """A page, a drawing with a script, a program named like a picture: each is offered to be saved,
    as what it is, in a sandbox without rights. A picture may be shown."""
    page = b"<!doctype html><script>alert(1)</script>"
    for name, data in (("x.html", page), ("x.svg", b"<svg onload='alert(1)'/>"),
                       ("cat.png", page), ("tool.exe", b"MZ\x90\0\3")):  # fmt: skip
        status, told, body = fetched(lived_in, hand_in(lived_in, name, data)["id"])
        assert (status, body) == (200, data)
        assert told["content-disposition"].startswith("attachment")
        assert told["content-type"].partition(";")[0] in ("text/plain", "application/octet-stream")
        assert told["x-content-type-options"] == "nosniff"
        assert "sandbox" in told["content-security-policy"]
    shown = hand_in(lived_in, "cat.png", png())
    status, told, _ = fetched(lived_in, shown["id"])
    assert (told["content-type"], told["content-disposition"][:6]) == ("image/png", "inline")
    status, told, part = fetched(lived_in, shown["id"], Range="bytes=1-3")
    assert (status, part) == (206, b"PNG")
    status, _, _ = fetched(lived_in, shown["id"], **{"If-None-Match": told["etag"]})
    assert status == 304
    assert lived_in.call("GET", f"/api/v1/files/{shown['id']}/content", key="")[0] == 401


def test_an_upload_that_breaks_off_leaves_nothing(lived_in: House) -> None:
    """A client that goes in the middle of a file leaves no byte of it and no row."""
    before = lived_in.get("/api/v1/files")["count"], len(kept(lived_in))
    with socket.create_connection(("127.0.0.1", lived_in.port)) as line:
        line.sendall(
            f"POST /api/v1/files?name=big.bin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer"
            f" {lived_in.key}\r\nContent-Length: 50000000\r\n\r\n".encode()
        )
        line.sendall(os.urandom(3_000_000))
        lived_in.until(
            lambda: any(path.name.startswith(".part") for path in kept(lived_in)), 20, "a part"
        )
    lived_in.until(
        lambda: (lived_in.get("/api/v1/files")["count"], len(kept(lived_in))) == before, 20,
        "the part to go",
    )  # fmt: skip


def test_nothing_of_a_forgotten_message_stays(lived_in: House) -> None:
    """`stead forget` takes a message's files with it, everywhere: bytes, names, the copies that
    tools read. Another message with the same content keeps its own until it is forgotten too."""
    house, word = lived_in, b"Zwetschgendatschi with cream " * 40
    mine, other = hand_in(house, "recipe-7.txt", word), hand_in(house, "else-7.txt", word)
    gone = house.ended(house.say("[[say ok]] keep", session="f", files=[mine["id"]]))
    stays = house.ended(house.say("[[say ok]] this too", session="g", files=[other["id"]]))
    workspace = house.home / "workspace" / "attachments"
    assert (workspace / mine["id"][-8:] / "recipe-7.txt").exists()
    told = house.cli("forget", "message", gone["job"]["id"], "--yes")
    assert told.returncode == 0, told.stderr
    assert house.call("GET", f"/api/v1/files/{mine['id']}")[0] == 404
    assert not (workspace / mine["id"][-8:]).exists()
    assert fetched(house, other["id"])[2] == word
    told = house.cli("forget", "message", stays["job"]["id"], "--yes")
    assert told.returncode == 0, told.stderr
    left = [
        path.name
        for path in house.home.rglob("*")
        if path.is_file() and not path.is_symlink()
        if any(part in path.read_bytes() for part in (word[:17], b"recipe-7", b"else-7"))
    ]
    assert left == []


def test_off_the_record_files_go_too(lived_in: House) -> None:
    """When a conversation off the record is over, nothing of its files stays."""
    house = lived_in
    file = hand_in(house, "secret-9.txt", b"Sauerkirschmarmelade " * 50)
    status, said = house.call(
        "POST", "/api/v1/messages",
        {"text": "[[say ok]] look", "files": [file["id"]], "off_the_record": True},
    )  # fmt: skip
    assert status == 202, said
    house.ended(said["job_id"])
    # Read by its client, as `stead ask` does; then it leaves.
    house.get(f"/api/v1/messages?session={said['session']}&after=0&read=1")
    house.call("POST", "/api/v1/off-the-record/end", {"session": said["session"]})
    blob = house.home / "files" / file["sha256"][:2] / file["sha256"]
    copy = house.home / "workspace" / "attachments" / file["id"][-8:]
    house.until(lambda: not blob.exists() and not copy.exists(), 30, "the file and its copy to go")


def test_files_outlive_kills(house: House) -> None:
    """A file that was accepted is there after the gateway was killed, and a node that was killed in
    its job reads it all the same at the next try."""
    house.all_up()
    file = hand_in(house, "notes.txt", b"still here\n")
    where = f"attachments/{file['id'][-8:]}/notes.txt"
    job = house.say(f"[[slow 30]] [[tokens 40]] {tool('read_file', path=where)}",
                    files=[file["id"]])  # fmt: skip
    house.until(lambda: house.story(job)["job"]["state"] == "running", 20, "the job to run")
    house.kill("node")
    house.kill("gateway")
    house.start("gateway", "node")
    house.until(house.ready, 20, "the gateway to be back")
    story = house.ended(job, 60)
    assert results(story)[-1].strip() == "still here"
    assert fetched(house, file["id"])[2] == b"still here\n"


def test_bad_files_are_refused_in_words(lived_in: House) -> None:
    """A file nobody knows, one named twice, too many of them: refused, and nothing is recorded.
    What cannot be shown to a model is told of, and the job goes on."""
    file = hand_in(lived_in, "../../etc/pass\u202ewd\r\n.png".encode().hex()[:5], png())
    for files, status in ((["nope"], 404), ([file["id"]] * 2, 400), (["x"] * 21, 400)):
        got, body = lived_in.call(
            "POST", "/api/v1/messages", {"text": "x", "session": "bad", "files": files}
        )
        assert got == status, body
        assert body["error"]["message"]
    assert lived_in.get("/api/v1/messages?session=bad&after=0")["messages"] == []
    assert lived_in.call("DELETE", f"/api/v1/files/{file['id']}")[0] == 204
    assert lived_in.call("DELETE", f"/api/v1/files/{file['id']}")[0] == 404
    broken = hand_in(lived_in, "broken.png", png()[:-20])
    story = lived_in.ended(lived_in.say("[[images]] see", session="bad", files=[broken["id"]]))
    assert story["reply"]["text"] == "no pictures"
    assert lived_in.call("DELETE", f"/api/v1/files/{broken['id']}")[0] == 409
    began = time.monotonic()
    assert lived_in.call("GET", "/api/v1/files?limit=5")[1]["count"] > 0
    assert time.monotonic() - began < 60


def test_a_message_of_ten_megabytes(lived_in: House) -> None:
    """Ten million characters are recorded as they are; the model is told the beginning and the end
    and where the rest lies, a tool finds what is in its middle, and the house goes on as before."""
    text = "alpha " * 850_000 + "NEEDLE-17 " + "omega " * 850_000
    where = '[[tool search_files {"query": "NEEDLE-17", "path": "attachments"}]]'
    job = lived_in.say(f"{text}\n{where} find it", session="long")
    story = lived_in.ended(job, 120)
    assert story["job"]["state"] == "done", story["job"]["error"]
    assert "NEEDLE-17" in results(story)[0]
    next_job = lived_in.ended(lived_in.say("[[say fine]] and now?", session="long"), 60)
    assert next_job["reply"]["text"] == "fine"
    (whole,) = lived_in.rows("SELECT length(text) FROM message WHERE job_id = ? AND"
                             " role = 'owner'", job)  # fmt: skip
    assert whole[0] > 10_000_000
    assert not list((lived_in.home / "workspace" / "attachments").glob("text-*"))


def test_a_large_file_goes_through_without_being_held(lived_in: House) -> None:
    """200 MB are streamed to disk, and to where tools read them; the gateway answers others
    meanwhile and does not grow by them."""
    import psutil

    size, piece = 200_000_000, os.urandom(1_000_000)
    gateway = psutil.Process(lived_in.parts["gateway"].pid)
    before = gateway.memory_info().rss
    line = http.client.HTTPConnection("127.0.0.1", lived_in.port, timeout=120)
    line.putrequest("POST", "/api/v1/files?name=film.bin")
    line.putheader("Authorization", f"Bearer {lived_in.key}")
    line.putheader("Content-Length", str(size))
    line.endheaders()
    for n in range(size // len(piece)):
        line.send(piece)
        if n % 40 == 0:
            assert lived_in.ready()
    answer = line.getresponse()
    file = json.loads(answer.read())
    line.close()
    digest = hashlib.sha256()
    for _ in range(size // len(piece)):
        digest.update(piece)
    assert (file["size"], file["sha256"]) == (size, digest.hexdigest())
    grown = gateway.memory_info().rss - before
    assert grown < 60_000_000, f"the gateway grew by {grown / 1e6:.0f} MB"
    job = lived_in.say(tool("list_files", path=f"attachments/{file['id'][-8:]}") + " is it there?",
                       session="large", files=[file["id"]])  # fmt: skip
    assert "film.bin" in results(lived_in.ended(job, 60))[0]
