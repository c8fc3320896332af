"""What the walls of bubblewrap hold beyond those of other kinds."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from stead.core.errors import SteadError
from stead.sandbox import kernel, selftest
from stead.sandbox.box import Bounds, Box, Mount, Walls
from stead.sandbox.errors import BadBox, NoSandbox
from stead.sandbox.view import interpreter
from stead.sandbox.walls import Bubblewrap
from tests.unit.sandbox.kinds import run, walls_of


@pytest.fixture
async def walls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walls]:
    made = walls_of("bubblewrap", tmp_path_factory.mktemp("run"))
    yield made
    await made.aclose()


async def python(walls: Walls, script: str, box: Box | None = None) -> str:
    """What a Python script says inside."""
    words = [sys.executable, "-I", "-S", "-c", script]
    made = box or Box("t", interpreter())
    boxed = await walls.start(made, words, stdout=PIPE, stderr=asyncio.subprocess.STDOUT)
    assert boxed.stdout is not None
    async with asyncio.timeout(60):
        return (await boxed.stdout.read()).decode().strip()


async def test_a_name_may_hold_anything(walls: Walls, tmp_path: Path) -> None:
    """Folders with line breaks, quotes, options and bytes that are no text are granted as such."""
    for name in ("a\nb", "--bind", "'\"$(x)", os.fsdecode(b"\xff\xfe"), "%s {}"):
        folder = tmp_path / name
        folder.mkdir()
        box = Box("t", (Mount(folder, write=True),), cwd=folder)
        ended, said = await run(walls, box, "echo 1 > f")
        assert ended.code == 0, said
        assert (folder / "f").read_text() == "1\n"


async def test_system_calls_are_refused(walls: Walls) -> None:
    """Namespaces, mounts, keys, tracing, sockets that go past the network, other ABIs."""
    script = """
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
def of(*words):
    return -1 if libc.syscall(*words) >= 0 else ctypes.get_errno()
print(of(272, 0x10000000), of(165, b"x", b"/tmp", b"tmpfs", 0, 0), of(250, 0, -3, 0))
print(of(101, 0, 0, 0, 0), of(425, 1, 0), of(435, 0, 0), of(321, 0, 0, 0))
print(of(56, 0x10000000 | 17, 0, 0, 0, 0))
for family in (40, 17, 31, 38):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 17 else socket.SOCK_SEQPACKET)
        print("made", family)
    except OSError as problem:
        print(problem.errno)
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    said = (await python(walls, script)).split()
    assert said == ["1", "1", "1", "1", "38", "38", "1", "1", "97", "97", "97", "97"]


async def test_another_abi_is_killed(walls: Walls) -> None:
    """A call by the numbers of x32 would go past the filter: it is the end of the process."""
    if os.uname().machine != "x86_64":
        pytest.skip("x32 belongs to x86_64")
    script = "import ctypes; ctypes.CDLL(None).syscall(0x40000000 + 39); print('went past')"
    box = Box("t", interpreter())
    boxed = await walls.start(box, [sys.executable, "-I", "-S", "-c", script], stdout=PIPE)
    assert boxed.stdout is not None
    async with asyncio.timeout(60):
        assert await boxed.stdout.read() == b""
        ended = await boxed.wait()
    assert ended.code == 128 + 31
    assert "not allowed" in ended.why


async def test_a_terminal_cannot_be_typed_on(walls: Walls) -> None:
    """TIOCSTI, also with bits set that the kernel does not look at."""
    script = """
import ctypes, pty
libc = ctypes.CDLL(None, use_errno=True)
main, other = pty.openpty()
for number in (0x5412, 0x541C, 0x5412 + (1 << 32)):
    print(libc.syscall(16, other, ctypes.c_ulong(number), b"x"), ctypes.get_errno())
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    assert (await python(walls, script)).split() == ["-1", "1"] * 3


async def test_secrets_of_the_machine_are_not_there(walls: Walls, tmp_path: Path) -> None:
    """Password hashes, homes, sockets of services, stead's own folders, and the way to them."""
    paths = "/etc/shadow /root /run /var /home/* /boot /sys /mnt /srv /proc/1/root/etc/shadow"
    _, said = await run(walls, Box("t"), f"ls -d {paths} 2>/dev/null; ls {tmp_path.parent}")
    assert said.replace("/home/sandbox", "").split()[:1] in ([], ["ls:"])


async def test_a_link_that_changes_leads_nowhere(walls: Walls, tmp_path: Path) -> None:
    """A granted folder that is swapped for a link to another while sandboxes start: the other is
    never reached by its new name."""
    secret, granted = tmp_path / "secret", tmp_path / "granted"
    secret.mkdir()
    (secret / "key").write_text("do not read")
    granted.mkdir()
    script = (
        f"import os\nwhile True:\n  os.rename({str(granted)!r}, {str(tmp_path / 'old')!r});"
        f" os.symlink({str(secret)!r}, {str(granted)!r});"
        f" os.unlink({str(granted)!r}); os.rename({str(tmp_path / 'old')!r}, {str(granted)!r})"
    )
    swapping = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    try:
        for _ in range(20):
            try:
                mounts = (Mount(granted, needed=False),)
                _, said = await run(walls, Box("t", mounts), f"cat {granted}/key")
            except (SteadError, OSError) as refused:  # which of them is a matter of luck
                said = str(refused)
            assert "do not read" not in said
    finally:
        swapping.kill()
        await swapping.wait()


async def test_a_link_is_not_followed(walls: Walls, tmp_path: Path) -> None:
    """A granted path that is a link, or has one on its way, is refused in words."""
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for path in (tmp_path / "link", tmp_path / "link" / "inner"):
        with pytest.raises(BadBox, match="symbolic link"):
            await walls.start(Box("t", (Mount(path),)), ["true"])


async def test_files_belong_to_whom_the_folder_does(walls: Walls, tmp_path: Path) -> None:
    """As root: each granted folder keeps its own owner, and what he may not read, it may not."""
    if os.getuid() != 0:
        pytest.skip("only root has folders of several owners")
    for uid in (0, 1234):
        folder = tmp_path / str(uid)
        folder.mkdir()
        os.chown(folder, uid, uid)
        box = Box("t", (Mount(folder, write=True),), cwd=folder)
        ended, said = await run(walls, box, "umask 077; echo 1 > f; mkdir d; id -u; cat f")
        assert (ended.code, said) == (0, "1000\n1\n")
        assert {(folder / name).stat().st_uid for name in ("f", "d")} == {uid}
        assert stat.S_IMODE((folder / "f").stat().st_mode) == 0o600
    other = tmp_path / "0" / "others"
    other.write_text("x")
    os.chown(other, 4321, 4321)
    other.chmod(0o600)
    ended, _ = await run(walls, Box("t", (Mount(tmp_path / "0", write=True),)), f"cat {other}")
    assert ended.code != 0


def test_it_works_for_any_user(tmp_path: Path) -> None:
    """Also where stead does not run as root: all walls are tried as another user, and hold."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be another user")
    home = Path("/tmp") / f"stead-test-{os.getpid()}"
    home.mkdir()
    try:
        os.chown(home, 1234, 1234)
        script = (
            "import asyncio, sys\nfrom pathlib import Path\n"
            "from stead.sandbox.walls import walls_here\n"
            "async def main():\n"
            "    walls = walls_here(Path(sys.argv[1]))\n"
            "    print(await walls.tested()); await walls.aclose()\n"
            "asyncio.run(main())"
        )
        system = "/usr/bin/python3"
        path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
        words = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"]
        tried = subprocess.run(
            [*words, system, "-c", "import stead, msgspec"], env={"PYTHONPATH": path}, check=False,
            capture_output=True, timeout=60,
        )  # fmt: skip
        if tried.returncode != 0:
            pytest.skip("another user cannot read this Python's libraries")
        done = subprocess.run(
            [*words, system, "-c", script, str(home)], env={"PYTHONPATH": path}, check=False,
            capture_output=True, timeout=180,
        )  # fmt: skip
        assert "Report(ok=True" in done.stdout.decode(), (done.stdout, done.stderr)
    finally:
        shutil.rmtree(home)


async def test_the_test_of_the_walls_can_fail(tmp_path: Path) -> None:
    """Walls with a gap are found out, nothing runs in them, and that is not remembered."""

    class Gap(Bubblewrap):
        async def _start(self, box: Box, command, **streams):  # type: ignore[no-untyped-def]
            open_ = (*box.mounts, Mount(tmp_path))
            return await super()._start(
                Box(box.name, open_, env=box.env, bounds=box.bounds), command, **streams
            )

    program = shutil.which("bwrap")
    assert program is not None
    walls = Gap(program, tmp_path / "run")
    report = await walls.tested()
    assert not report.ok and not walls.works
    assert "canary can be seen" in report.why
    with pytest.raises(NoSandbox, match="canary"):
        await walls.start(Box("t"), ["true"])
    await walls.aclose()
    whole = Bubblewrap(program, tmp_path / "run")
    assert (await whole.tested()).ok
    await whole.aclose()
    assert selftest.kept(tmp_path / "run", "another boot") is None


async def test_a_program_that_makes_no_walls_is_found_out(tmp_path: Path) -> None:
    """A bwrap that just runs what it is told, or does not run at all: no sandbox holds."""
    fake = tmp_path / "bwrap"
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no permission >&2; exit 1\n"):
        fake.write_text(text)
        fake.chmod(0o755)
        walls = Bubblewrap(str(fake), tmp_path / "run")
        report = await walls.tested()
        assert not report.ok and "no sandbox could be made" in report.why
        await walls.aclose()


async def test_limits_are_told_in_words(walls: Walls, tmp_path: Path) -> None:
    """Memory, processes and written bytes: each is stopped, and says by what."""
    few = Bounds(memory_mb=64, processes=20, wall_s=100, file_mb=8, disk_mb=40)
    box = Box("t", (*interpreter(), Mount(tmp_path, write=True)), cwd=tmp_path, bounds=few)
    hungry = f"{sys.executable} -I -S -c \"x = bytearray(b'1') * (256 << 20)\"; exit 1"
    many = "for i in $(seq 60); do sleep 5 & done; wait; exit 1"
    write = "dd if=/dev/zero of=f$i bs=1M count=7"
    full = f"for i in $(seq 99); do {write}; done 2>/dev/null; sleep 9; exit 1"
    for script, word in ((hungry, "memory"), (many, "processes"), (full, "wrote more than 40 MB")):
        ended, said = await run(walls, box, script)
        assert ended.code != 0
        assert word in ended.why, (ended, said)


def test_ids_are_swapped_and_nothing_else() -> None:
    """Every id maps to one id: these two to each other, all others to themselves."""
    for one, other in ((0, 64611), (64611, 0), (1000, 5), (7, 7), (0, 1)):
        mapped: dict[int, int] = {}
        for line in kernel.swap(one, other).splitlines():
            inside, outside, count = map(int, line.split())
            for probe in {0, 1, 4, 5, 6, 7, 999, 1000, 1001, 64610, 64611, 64612, 65533}:
                if inside <= probe < inside + count:
                    mapped[probe] = outside + probe - inside
        assert mapped.pop(one) == other
        assert mapped.pop(other, one) == one
        assert all(key == value for key, value in mapped.items())


async def test_when_the_keeper_falls_nothing_is_left(walls: Walls, tmp_path: Path) -> None:
    """What runs in sandboxes ends with the process that watches over them, its callers are told,
    and the next call finds a new one."""
    assert isinstance(walls, Bubblewrap)
    await walls.tested()
    before = {one.pid for one in psutil.Process().children()}
    box = Box("t", (Mount(tmp_path, write=True),))
    boxed = await walls.start(
        box, ["sh", "-c", "setsid sleep 991 & echo on; sleep 991"], stdout=PIPE
    )
    assert boxed.stdout is not None
    assert await boxed.stdout.readline() == b"on\n"
    keepers = [
        one
        for one in psutil.Process().children()
        if "stead.sandbox.keeper" in one.cmdline() and (one.pid not in before or one.children())
    ]
    inside = [one for keeper in keepers for one in keeper.children(recursive=True)]
    assert inside
    for keeper in keepers:
        keeper.kill()
    async with asyncio.timeout(60):
        ended = await boxed.wait()
        assert await boxed.stdout.read() == b""
    _, alive = await asyncio.to_thread(psutil.wait_procs, inside, 60)
    assert not alive
    assert ended.code == -9 and "watches over" in ended.why
    assert (await run(walls, box, "true"))[0].code == 0
