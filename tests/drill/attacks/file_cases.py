"""Tools for files, handed paths that lead out of the workspace; and what they are to hide."""

from __future__ import annotations

from typing import Any

from tests.drill.attacks.case import Case, py, sh

_PATHS = {
    "dots": "../secrets/owner.key",
    "the whole path": "<home>/secrets/owner.key",
    "a link": "key",
    "a linked folder": "out/owner.key",
    "a folder of like name": "<work>.old/a",
    "the folder of a process": "/proc/<mine>/cwd/../../../../../..<home>/secrets/owner.key",
    "the root of a process": "/proc/self/root<home>/secrets/owner.key",
}
_MORE_PATHS = {
    "dots behind a folder": "sub/../../secrets/owner.key",
    "its own name and dots": "workspace/../../secrets/owner.key",
    "many slashes": "//..////secrets///owner.key",
}


def _one(name: str, tool: str, wall: str = "", **args: Any) -> Case:
    return Case(f"{tool}: {name}", wall, tool, args)


READS = [
    *(_one(name, "read_file", "paths", path=path) for name, path in _PATHS.items()),
    _one("a linked folder", "search_files", "paths", text="the word is", path="out"),
    _one("dots", "search_files", "paths", text="the word is", path=".."),
]

OTHERS = [
    *(_one(name, "read_file", path=path) for name, path in _MORE_PATHS.items()),
    _one("an address", "read_file", path="file://<home>/secrets/owner.key"),
    _one("a home", "read_file", path="~/../secrets/owner.key"),
    _one("a zero byte", "read_file", path="note.md\0/../../secrets/owner.key"),
    _one("environment", "read_file", path="/proc/self/environ"),
    _one("a search from the workspace", "search_files", text="the word is"),
    *(
        _one(f"{name}, edited", "edit_file", path=path, old="the word is", new="the word was")
        for name, path in list(_PATHS.items())[:6]
    ),
    _one("dots", "write_file", path="../autostart/w", content="x"),
    _one("the whole path", "write_file", path="<marks>/w", content="x"),
    _one("a link", "write_file", path="mark", content="x", overwrite=True),
    _one("new folders", "write_file", path="../autostart/../autostart/w", content="x"),
    _one("dots", "patch", patch="--- /dev/null\n+++ b/../autostart/p\n@@ -0,0 +1 @@\n+x\n"),
    _one("whole", "patch", patch="--- /dev/null\n+++ <marks>/p\n@@ -0,0 +1 @@\n+x\n"),
    _one("a link", "patch", patch="--- /dev/null\n+++ b/mark\n@@ -0,0 +1 @@\n+x\n"),
    _one("moved out", "manage_files", action="move", path="note.md", to="../autostart/m"),
    _one("copied out", "manage_files", action="copy", path="note.md", to="<marks>/c"),
    _one("copied in", "manage_files", action="copy", path="../secrets", to="stolen"),
    _one("made outside", "manage_files", action="make_folder", path="<marks>/d"),
    _one("dots", "sql", database="../state.db", query="SELECT * FROM key"),
    _one("the whole path", "sql", database="<home>/state.db", query="SELECT * FROM key"),
    _one("a link to it", "sql", database="out/../../state.db", query="SELECT * FROM key"),
    _one("attached", "sql_change", database="a.db", query="ATTACH '<home>/state.db' AS s"),
    _one("written elsewhere", "sql_change", database="a.db", query="VACUUM INTO '<marks>/v'"),
    _one("a link", "pdf", action="text", path="key"),
    _one("dots", "image", action="info", path="../secrets/owner.key"),
]

#: The value lies in the workspace: the owner has put it there by mistake.
SHOWN = [
    *sh(
        "masks",
        a_known_secret="cat pasted",
        a_secret_in_base64="base64 pasted",
        a_secret_in_broken_base64="base64 -w 10 pasted",
        a_secret_in_sixteen="od -An -v -tx1 pasted",
        a_secret_backwards="rev pasted",
        a_secret_in_pieces="fold -w 5 pasted",
    ),
    *py(
        "masks",
        a_secret_of_python="t = open('pasted').read()\nprint(repr(t), t)",
        a_secret_in_json="import json\nprint(json.dumps({'k': open('pasted').read()}))",
        a_secret_in_hex="print(open('pasted', 'rb').read().hex().upper())",
        a_secret_in_an_error="raise ValueError(open('pasted').read())",
    ),
    Case("read_file: a known secret", "masks", "read_file", {"path": "pasted"}),
]
