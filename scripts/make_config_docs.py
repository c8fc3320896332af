"""Write docs/configuration.md from the settings themselves. ``--check``: only compare."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stead.config import Setting, as_toml, describe, is_live  # noqa: E402

TARGET = ROOT / "docs" / "configuration.md"

_INTRO = """\
# Configuration

<!-- Made by scripts/make_config_docs.py from stead/config/settings.py; change it there. -->

All settings are in `stead.toml` in the home directory (`$STEAD_HOME`, else
`~/.stead`). Every one is optional. The file is read at start; an unknown key, a
wrong type or an impossible value stops the start with the path of the key.

A gateway that runs notices when the file changes, and takes it over as a whole
or not at all: with a fault the settings from before hold, and `stead status`
says why. Settings marked *start* hold from the next start on; `stead config
apply` and `stead status` name those that were changed.

| command | what it does |
|---|---|
| `stead config check` | checks the file |
| `stead config show` | shows every value and where it came from (`--changed`: no defaults) |
| `stead config set node.slots 4` | changes one value; comments stay |
| `stead config apply` | has a running gateway take the file over now, and says what holds |
| `stead config path` | prints where the file is |

Three environment variables are read, and no others: `STEAD_HOME` (the home
directory), `STEAD_LISTEN` and `STEAD_OFFLINE` (over `listen` and `offline` of
the file). The options `--listen` and `--offline` of `stead up` go before both.
A path in the file is relative to the home directory.
"""


def page() -> str:
    """The whole page."""
    parts = [_INTRO]
    for table, settings in groupby(describe(), key=lambda setting: setting.path.rpartition(".")[0]):
        parts.append(_section(table, list(settings)))
    return "\n".join(parts)


def _section(table: str, settings: list[Setting]) -> str:
    name = table.replace("[]", "")
    title = "## At the top of the file"
    if table:
        title = f"## `[[{name}]]` (any number)" if table.endswith("[]") else f"## `[{name}]`"
    rows = ["| setting | type | default | holds from | what it is |", "|---|---|---|---|---|"]
    for setting in settings:
        default = "required" if setting.required else f"`{as_toml(setting.default)}`"
        kind = f"{setting.kind}, {setting.bounds}" if setting.bounds else setting.kind
        own = setting.path.rpartition(".")[2]
        text = setting.help.replace("|", "\\|")
        when = "now" if is_live(setting.path) else "start"
        rows.append(f"| `{own}` | {kind} | {default} | {when} | {text} |")
    return "\n".join([title, "", *rows, ""])


def main() -> int:
    """Exit code 1 with ``--check`` when the page is not current."""
    text = page()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is not current; run: python {sys.argv[0]}")
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
