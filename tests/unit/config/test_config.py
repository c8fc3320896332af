"""The configuration: reading, checking, where values come from, changing."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stead.config
from stead.config import (
    Settings,
    as_toml,
    describe,
    edit,
    find,
    home_dir,
    load,
    parse_listen,
    path_at,
    prepare_home,
    starter,
    value_of,
)
from stead.config.lines import lines_of
from stead.core.errors import ConfigError, HomeUnusable

ROOT = Path(__file__).resolve().parents[3]

FULL = """\
listen = "127.0.0.1:9000"   # a comment with = and [brackets]

[node]
slots = 4
labels = [
  "gpu",   # one
  "big",
]

[gateway]
key_file = '''
fake = 1
[queue]
'''

[[backend]]
name = "a"
url = "http://a"
models = [{ name = "m1" }, { name = "m2", alias = "m" }]

[[backend]]
name = "b"
url = "http://b"

[[backend.models]]
name = "m3"

[[backend.models]]
name = "m4"

[limits]
steps = 7
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEAD_HOME", "STEAD_LISTEN", "STEAD_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def write(home: Path, text: str) -> Path:
    (home / "stead.toml").write_text(text)
    return home


def test_nothing_there(tmp_path: Path) -> None:
    """Without a file the defaults hold, and reading them makes nothing."""
    loaded = load(tmp_path / "none")
    assert loaded.settings == Settings()
    assert loaded.origin("node.slots") == "default"
    assert loaded.gateway_url == "http://127.0.0.1:7832"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("listen", 1),
        ("node.slots", 4),
        ("node.labels", 5),
        ("node.labels[1]", 5),
        ("gateway.key_file", 11),
        ("backend", 16),
        ("backend[0].name", 17),
        ("backend[0].models[1].alias", 19),
        ("backend[1].url", 23),
        ("backend[1].models[1].name", 29),
        ("limits.steps", 32),
        ("limits.tokens", None),
        ("backend[1].timeout_s", None),
        ("queue.lease_s", None),
    ],
)
def test_origin(tmp_path: Path, path: str, line: int | None) -> None:
    """Every value of the file is traced to its line; what the file does not give is a default."""
    loaded = load(write(tmp_path, FULL))
    assert loaded.origin(path) == (f"stead.toml line {line}" if line else "default")


def test_order_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options go before the environment, and that before the file."""
    write(tmp_path, 'listen = "127.0.0.1:1"\noffline = true\n')
    monkeypatch.setenv("STEAD_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("STEAD_OFFLINE", "0")
    loaded = load(tmp_path)
    assert (loaded.settings.listen, loaded.settings.offline) == ("127.0.0.1:2", False)
    assert loaded.origin("listen") == "environment STEAD_LISTEN"
    loaded = load(tmp_path, options={"listen": "127.0.0.1:3"})
    assert loaded.settings.listen == "127.0.0.1:3"
    assert loaded.origin("listen") == "option --listen"


@pytest.mark.parametrize(
    ("name", "value"), [("STEAD_LISTEN", "here"), ("STEAD_OFFLINE", "perhaps")]
)
def test_bad_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A bad value in the environment is blamed on its name."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("[node]\nslotz = 1", "node.slotz", "(line 2): there is no such setting"),
        ("[node]\nslotz = 1", "node.slotz", "did you mean node.slots?"),
        ("lissten = 'x'", "lissten", "did you mean listen?"),
        ("slots = 2", "slots", "did you mean node.slots?"),
        ("[[backend]]\nname='a'\nurl='http://a'\nfoo=1", "backend[0].foo", "(line 4)"),
        ("[[backend]]\nname='a'", "backend[0].url", "is missing"),
        ("[node]\nslots = 'many'", "node.slots", "expected a whole number, got text"),
        ("[node]\nslots = 0", "node.slots", ">= 1"),
        ("node = 3", "node", "expected a table, got a whole number"),
        ("[[queue.limit]]\nkey = 'a b'\nat_once = 1", "queue.limit[0].key", "is not a key"),
        ("[[queue.limit]]\nkey = 'kind:mail'", "queue.limit[0].at_once", "says nothing"),
        (2 * "[[queue.limit]]\nkey='a'\nstarts=1\n", "queue.limit[1].key", "above already"),
        ("[node]\nlabels = [1]", "node.labels[0]", "expected text"),
        ("[log]\nlevel = 'loud'", "log.level", "'loud'"),
        ("listen = 'here'", "listen", "expected host:port"),
        ("listen = '::1:80'", "listen", "brackets"),
        ("listen = '127.0.0.1:99999'", "listen", "expected host:port"),
        ("[node]\nslots = 1", "node.chat_slots", "smaller than node.slots"),
        ("[node]\nlabels = ['a,b']", "node.labels", "not a label"),
        ("[node]\nlabels = ['@gateway']", "node.labels", "not a label"),
        ("[node]\ngateway = 'box'", "node.gateway", "not a URL"),
        ("[queue]\nbackoff_s = 9\nbackoff_max_s = 1", "queue.backoff_max_s", "smaller"),
        ("[budget]\ndaily_usd = 0.5", "budget.chat_reserve_usd", "larger"),
        ("[[route]]\nname='r'\nto='node'\nmatch='('", "route[0].match", "regular expression"),
        ("[[route]]\nname='r'\nto='node'\nunless='['", "route[0].unless", "regular expression"),
        ("[[route]]\nname='r'\nto='node'\nmark='soft'", "route[0].mark", "light, heavy"),
        ("[[route]]\nname='r'\nto='node'\nlane='fast'", "route[0].lane", "chat, background"),
        ("[[route]]\nname='r'\nto='light'\nneeds=['gpu']", "route[0].needs", "gateway"),
        ("[[route]]\nname='r'\nto='node'\n[[route]]\nname='r'\nto='node'", "route[1].name", "two"),
        ("[[backend]]\nname='a'\nurl='a'", "backend[0].url", "not a URL"),
        (
            "[[backend]]\nname='a'\nurl='http://a'\n[[backend]]\nname='a'\nurl='http://b'",
            "backend[1].name",
            "backend[0]",
        ),
        (
            "[[backend]]\nname='a'\nurl='http://a'\nmodels=[{name='m'},{name='n',alias='m'}]",
            "backend[0].models[1].alias",
            "backend[0].models[0]",
        ),
        (
            "[[backend]]\nname='a'\nurl='http://a'\nmodels=[{name='stead'}]",
            "backend[0].models[0].name",
            "meaning of its own",
        ),
    ],
)  # fmt: skip
def test_fault(tmp_path: Path, text: str, path: str, words: str) -> None:
    """Each fault is named by the path of its key, and what is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert caught.value.param == path
    assert caught.value.message.startswith(f"stead.toml is not valid: {path}")
    assert words in caught.value.message


def test_several_faults_at_once(tmp_path: Path) -> None:
    """All unknown keys are named at once, not one a start."""
    with pytest.raises(ConfigError, match=r"a \(line 1\).*node\.b \(line 3\)"):
        load(write(tmp_path, "a = 1\n[node]\nb = 2\n"))


@pytest.mark.parametrize("text", ["[node", "a = ", "a = 1\na = 2", b"\xff\xfe"])
def test_not_toml(tmp_path: Path, text: str | bytes) -> None:
    """A file that is no TOML is refused with the place of the fault."""
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "stead.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=r"stead\.toml"):
        load(tmp_path)


def test_gateway_url(tmp_path: Path) -> None:
    """The gateway is reached where it listens, by loopback when it listens everywhere."""
    for listen, url in (
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("[::]:2", "http://[::1]:2"),
        ("box:3", "http://box:3"),
    ):
        assert load(tmp_path, options={"listen": listen}).gateway_url == url
    write(tmp_path, '[node]\ngateway = "https://far/"\n')
    assert load(tmp_path).gateway_url == "https://far"


def test_paths(tmp_path: Path) -> None:
    """Paths in the file are relative to the home directory, but for absolute ones and ~."""
    loaded = load(tmp_path)
    assert loaded.path("secrets/x") == tmp_path / "secrets" / "x"
    assert loaded.path("/x/y") == Path("/x/y")
    assert loaded.path("~/k") == Path("~/k").expanduser()
    assert loaded.owner_key_file == tmp_path / "secrets" / "owner.key"
    assert loaded.node_key_file == tmp_path / "secrets" / "node.key"


@given(st.text(max_size=12))
def test_parse_listen_never_lies(text: str) -> None:
    """What is taken as an address has a host and a port that a socket takes."""
    try:
        host, port = parse_listen(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65535


def test_home_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The home is $STEAD_HOME, else ~/.stead."""
    assert home_dir() == Path.home() / ".stead"
    monkeypatch.setenv("STEAD_HOME", str(tmp_path))
    assert home_dir() == tmp_path


def test_starter_is_all_comments_and_all_defaults(tmp_path: Path) -> None:
    """The first stead.toml changes nothing; taking the # away gives the defaults again."""
    text = starter()
    assert all(not line or line.startswith("#") for line in text.splitlines())
    bare = "\n".join(line[1:] for line in text.splitlines() if re.match(r"#[^ ]", line))
    bare = re.sub(r"\[\[.*?(?=\n\[[^\[])", "", bare, flags=re.DOTALL)  # examples, not defaults
    assert msgspec.convert(tomllib.loads(bare), Settings) == Settings()


def test_prepare_home(tmp_path: Path) -> None:
    """The first start makes the layout, readable by its owner only; the second changes nothing."""
    home = tmp_path / "a" / "home"
    assert prepare_home(home) == []
    for name in ("", "secrets", "memory", "run", "spool", "logs"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o700
    (home / "stead.toml").write_text("# mine\n")
    assert prepare_home(home) == []
    assert (home / "stead.toml").read_text() == "# mine\n"


def test_prepare_home_tightens(tmp_path: Path) -> None:
    """What others could read is closed to them, and said."""
    prepare_home(tmp_path)
    key = tmp_path / "secrets" / "owner.key"
    key.write_text("so_x\n")
    key.chmod(0o644)
    tmp_path.chmod(0o755)
    notes = prepare_home(tmp_path)
    assert len(notes) == 2
    assert "0644" in notes[1]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_home_is_a_file(tmp_path: Path) -> None:
    """A home that cannot be one is a sentence with its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusable, match="file"):
        prepare_home(tmp_path / "file")


def test_home_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that belongs to another user is refused before anything is written to it."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(HomeUnusable, match="belongs to user"):
        prepare_home(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_home_not_writable(tmp_path: Path) -> None:
    """A home that cannot be written is said to be, whoever asks."""
    with pytest.raises(HomeUnusable):
        prepare_home(Path("/proc/stead"))


def test_edit_keeps_comments(tmp_path: Path) -> None:
    """A change keeps everything else of the file, and its mode."""
    write(tmp_path, "# mine\n[node]  # hands\nslots = 4 # four\n")
    (tmp_path / "stead.toml").chmod(0o640)
    edit(tmp_path, "node.slots", 5)
    edit(tmp_path, "listen", "127.0.0.1:1")
    edit(tmp_path, "limits.steps", 3)
    text = (tmp_path / "stead.toml").read_text()
    assert "# mine\n" in text
    assert "[node]  # hands\nslots = 5 # four\n" in text
    settings = load(tmp_path).settings
    assert (settings.listen, settings.limits.steps) == ("127.0.0.1:1", 3)
    assert stat.S_IMODE((tmp_path / "stead.toml").stat().st_mode) == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["stead.toml"]


def test_edit_arrays(tmp_path: Path) -> None:
    """A value in an array of tables is changed in its place."""
    edit(write(tmp_path, FULL), "backend[1].models[0].name", "new")
    assert load(tmp_path).settings.backend[1].models[0].name == "new"
    assert load(tmp_path).settings.backend[0].models[0].name == "m1"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("node.slotz", 1), ("node.slots", 0), ("node.", 1), ("backend[7].name", "x"),
        ("listen.x", 1), ("backend[0]", 1), ("", 1), ("a b[", 1),
    ],
)  # fmt: skip
def test_edit_refuses(tmp_path: Path, path: str, value: int | str) -> None:
    """A change that would break the configuration leaves the file as it was."""
    write(tmp_path, FULL)
    with pytest.raises(ConfigError):
        edit(tmp_path, path, value)
    assert (tmp_path / "stead.toml").read_text() == FULL


def test_value_of() -> None:
    """Words of the command line become the type of their setting."""
    assert value_of("node.slots", "4") == 4
    assert value_of("offline", "yes") is True
    assert value_of("offline", "perhaps") == "perhaps"
    assert value_of("limits.usd", "0.5") == 0.5
    assert value_of("node.labels", "a, b") == ["a", "b"]
    assert value_of("backend[3].name", "7") == "7"


def test_every_setting_is_explained() -> None:
    """Every setting has words, so that the starter file and the documentation have them."""
    unexplained = [s.path for s in describe() if not s.help and not s.kind.startswith("one of")]
    assert [path for path in unexplained if not path.startswith("log.")] == []


def test_documentation_is_current() -> None:
    """docs/configuration.md says what the settings are now."""
    script = ROOT / "scripts" / "make_config_docs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


_KEYS = st.text("ab_-", min_size=1, max_size=3)
_VALUES = st.recursive(
    st.one_of(st.integers(-9, 9), st.booleans(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4))
def test_lines_are_right(tables: dict[str, dict[str, object]]) -> None:
    """On the line that is named for a key stands that key, whatever the values hold."""
    text = ""
    for table, values in tables.items():
        text += f"[{table}]\n"
        for key, value in values.items():
            text += f"{key} = {as_toml(value)}\n".replace(", ", ",  # = [\n  ")
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # our line breaks fell into a string
        return
    lines = text.split("\n")
    found = lines_of(text)
    for table, values in tables.items():
        assert lines[found[table] - 1].startswith(f"[{table}]")
        for key in values:
            assert lines[found[f"{table}.{key}"] - 1].startswith(f"{key} =")


@pytest.mark.parametrize(
    "line",
    [
        "[budget]\ndaily_usd = inf", "[queue]\nlease_s = inf", "[gateway]\nmax_body_mb = inf",
        "[limits]\nwall_s = 1e400", "[limits]\nusd = 1e300", "[limits]\ntokens = 9999999999999",
    ],
)  # fmt: skip
def test_numbers_that_nothing_can_hold(tmp_path: Path, line: str) -> None:
    """They are refused by the path of their key, not by a start that fails."""
    (tmp_path / "stead.toml").write_text(line)
    with pytest.raises(ConfigError, match=r"line 2\): .* is too large"):
        load(tmp_path)


def test_a_word_that_is_none_of_those(tmp_path: Path) -> None:
    """The error says which words there are."""
    (tmp_path / "stead.toml").write_text('[[route]]\nname = "r"\nto = "moon"\n')
    with pytest.raises(
        ConfigError, match=r"route\[0\]\.to .*expected one of light, node, got 'moon'"
    ):
        load(tmp_path)


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """Some editors begin a file with one; it is no fault."""
    (tmp_path / "stead.toml").write_bytes(b"\xef\xbb\xbf[node]\nslots = 4\n")
    assert load(tmp_path).settings.node.slots == 4


def test_paths_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` in a path means the user's home, for every part alike."""
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(path_at(tmp_path, "~/k")) == "/somewhere/k"
    assert path_at(tmp_path, "secrets/k") == tmp_path / "secrets" / "k"


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ('listen = "127.0.0.1:9"\nnonsense = 1', "127.0.0.1:9"),
        ('listen = "127.0.0.1:9"\n[[lane]]\nname = "x"\nmodels = []', "127.0.0.1:9"),
        ('listen = "127.0.0.1:9"\n[[lane]\nlisten = "x"', "127.0.0.1:9"),
        ('listen = "nowhere"', "127.0.0.1:7832"),
        ("listen = 7", "127.0.0.1:7832"),
        ("[gateway]\nlisten = 7", "127.0.0.1:7832"),
        ("node = 3", "127.0.0.1:7832"),
        ("\x00", "127.0.0.1:7832"),
    ],
)
def test_a_faulty_file_still_tells_where_the_gateway_is(
    tmp_path: Path, text: str, listen: str
) -> None:
    """`stead status` can be asked what is wrong with stead.toml while something is."""
    write(tmp_path, text)
    assert find(tmp_path).url == f"http://{listen}"
    sound = '[gateway]\nkey_file = "my.key"\n[node]\ngateway = "http://gw:1"\n'
    write(tmp_path, sound + "[node.x]\ny = 1")
    found = find(tmp_path)
    assert found.key_file == tmp_path / "my.key" and found.url == "http://gw:1"
    assert found.elsewhere and found.sound  # the fault says nothing about the way there


def test_every_name_is_found_where_it_is() -> None:
    """The room's names are loaded one by one; each is the thing itself, in whatever order, and
    what is not there is missed as anywhere."""
    program = (
        "import sys, stead.config as c; names = sys.argv[1:];"
        "found = [getattr(c, n) for n in names];"
        "mods = [sys.modules[getattr(f, '__module__', c.__name__)] for f in found];"
        "assert all(getattr(m, n) is f for m, n, f in zip(mods, names, found))"
    )
    for names in (stead.config.__all__, stead.config.__all__[::-1]):
        subprocess.run([sys.executable, "-c", program, *names], check=True, timeout=60)
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(stead.config, "nonsense")  # noqa: B009
