"""A home with the same words in every place where they can lie."""

from __future__ import annotations

import base64
import json
import subprocess
import zlib
from pathlib import Path

from stead.core.home import prepare
from stead.core.ids import uuid7
from stead.core.nouns import Call, Usage
from stead.core.wire import Finish
from stead.memory.daily import DailyLog
from stead.memory.files import history
from stead.memory.forget.prove import clean_git, git_environment
from stead.node.spool import to_line
from stead.store.sqlite import SqliteStore
from tests.contract.storages import chat, claimed, finish, inbound

NAME = "Roswitha Käsbohrer"
MAIL = "roswitha@kaesbohrer.example"
TOLD = f"Please remember that {NAME} likes gooseberry cake above all other cakes"
ANSWER = f"I shall think of {NAME} and her gooseberry cake"
OTHER = "The boiler is a Vaillant and hangs in the cellar"


class Home:
    """A home, its database, and what was said there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        prepare(path)
        (path / "knowledge" / "contacts").mkdir(parents=True, exist_ok=True)
        (path / "memory" / "cards").mkdir(parents=True, exist_ok=True)
        (path / "index").mkdir(exist_ok=True)
        self.store = SqliteStore(path / "state.db", path / "backups")
        self.daily = DailyLog(path / "memory", self.store)

    async def talk(self, told: str, answer: str, session: str = "main") -> str:
        """A message and its answer, in the record and in the daily log; the job's id."""
        line = f"**owner** (cli, {session}) [job {{job}}, node]: {told}"
        job_made = chat(session)
        job_made.payload["text"] = told
        await self.store.accept(inbound(told, session=session), job_made, line)
        job = await claimed(self.store)
        call = Call(
            uuid7(), 0, "m", "b", "owner", job.id, "chat", Usage(), 0, "settled", 200, 1.0, 2.0, ""
        )  # fmt: skip
        await self.store.record_calls([], [call])
        self.body(call.id, told)
        await finish(self.store, job, "done", answer)
        said = f"**stead** [job {job.id[-8:]}, waited 0.1 s, worked 0.2 s]: {answer}"
        await self.store.add_day_line(said)
        await self.store.add_day_line(f"tool:clock `{told}` done in 0.1 s [job {job.id[-8:]}]")
        for delivery in await self.store.take("cli", 10):
            await self.store.delivered(delivery.id)
        await self.daily.write_pending()
        return job.id

    def body(self, call: str, text: str) -> Path:
        """What was said in a model call, as it is kept."""
        path = self.path / "audit" / "2026-11-20" / f"{call}.z"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(json.dumps({"messages": [text]}).encode()))
        return path

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def days(self) -> str:
        """All daily logs."""
        return "".join(path.read_text() for path in sorted(self.path.glob("memory/20*.md")))

    def today(self) -> str:
        """The last daily log."""
        return max(path.relative_to(self.path).as_posix() for path in self.path.glob("memory/20*"))

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    async def everywhere(self) -> str:
        """Put the name in every place; the job that told of it."""
        job = await self.talk(TOLD, ANSWER)
        await self.talk(OTHER, "I know", "other")
        self.write(
            "memory/MEMORY.md",
            f"# Standing\n\n- {OTHER}\n- {NAME} is a neighbour\n  and bakes\n\n## {NAME}\n\n"
            "- likes tea\n\n## House\n\n- three rooms\n",
        )
        self.write(
            "memory/cards/neighbours.md",
            f"---\ntopic: neighbours\ntags: [people]\n---\n\n- {NAME} lives next door\n- quiet\n",
        )
        self.write(f"memory/cards/{NAME.split()[1].lower()}.md", f"---\ntopic: {NAME}\n---\nx\n")
        self.write(
            "knowledge/contacts/all.vcf",
            "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Karl Otto\r\nN:Otto;Karl;;;\r\n"
            f"NOTE:knows {NAME[:12]}\r\n {NAME[12:]}\r\nEND:VCARD\r\n"
            f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{NAME}\r\nN:Käsbohrer;Roswitha;;;\r\n"
            f"EMAIL:{MAIL}\r\nEND:VCARD\r\n",
        )
        operations = [
            {"id": "o1", "v": 1, "at": 1, "op": "assert",
             "entities": [{"id": "e1", "kind": "person", "name": NAME, "aliases": ["Rosi K"]},
                          {"id": "e2", "kind": "place", "name": "Ulm"}],
             "fact": {"id": "f1", "subject": "e1", "predicate": "lives in", "object": "e2"}},
            {"id": "o2", "v": 1, "at": 2, "op": "close", "ends": [{"fact": "f1", "to": 2}]},
            {"id": "o3", "v": 1, "at": 3, "op": "assert",
             "fact": {"id": "f2", "subject": "e2", "predicate": "has", "value": "a tower"}},
        ]  # fmt: skip
        self.write(
            "knowledge/journal.jsonl",
            "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in operations),
        )
        self.copies(job)
        return job

    def copies(self, job: str) -> None:
        """Everything that is the truth of nothing."""
        self.write(f"keep/spool/{job}/1.txt", "an output")
        self.write("keep/spool/another/1.txt", f"found: {NAME.upper()}")
        packed = zlib.compress(f"notes on {NAME}".encode())
        self.write("keep/undo/blobs/0a.z", packed)
        self.write("keep/undo/changes/1.a.done", json.dumps({"result": NAME}))
        self.write("keep/review/proposals/1.json", json.dumps({"quote": TOLD}))
        self.body(uuid7(), f"a later prompt with all that was said: {TOLD}")
        self.write("run/cache.json", json.dumps([TOLD]))
        self.write("run/wide.bin", NAME.encode("utf-16"))
        self.write("run/mail.txt", base64.encodebytes(f"Dear {NAME}, how is the cake?".encode()))
        self.write(
            "logs/gateway.jsonl", f'{{"a": 1}}\n{{"said": {json.dumps(NAME)}}}\n{{"b": 2}}\n'
        )
        reports = [
            to_line(Finish(uuid7(), job, 1, "done", ANSWER)),
            to_line(Finish(uuid7(), uuid7(), 1, "done", OTHER)),
        ]
        self.write("spool/reports.jsonl", b"".join(reports))
        self.write("spool/damaged-1", f"torn {NAME}\nfine\n")
        self.write("index/memory.db", b"SQLite\0\0words" + NAME.encode() + b"\0\1")
        self.write("workspace/guests.txt", f"{NAME}, Karl\n")
        self.write("backups/before.db", b"\0" + NAME.encode())

    def git(self, *arguments: str) -> bytes:
        """Git in the home's own history."""
        return subprocess.run(
            [*clean_git(self.path / history.FOLDER), *arguments],
            env=git_environment(), check=True, capture_output=True,
        ).stdout  # fmt: skip

    def commit(self, message: str) -> None:
        history.commit(self.path, message, ["memory/MEMORY.md"])
