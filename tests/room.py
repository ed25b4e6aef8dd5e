"""A room: this machine's root directory under an overlay, with a Nix daemon of its own, gone without a trace.

What is done in it stays in it: it has mount and PID namespaces of its own, and its changes are in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent

_ENTER = """
set -eu
room=$1; shift
mount -t tmpfs -o mode=755 room "$room"
mkdir "$room/upper" "$room/work" "$room/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$room/upper,workdir=$room/work" "$room/root"
cd "$room/root"
for place in nix run tmp; do mkdir -p "$place"; mount -t tmpfs -o mode=755 "$place" "$place"; done
chmod 1777 tmp
for place in "$@"; do mkdir -p "./$place"; mount --rbind "$place" "./$place"; done
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom tty; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
mkdir dev/shm dev/pts old
mount -t tmpfs shm dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . old
umount -l /old
exec chroot . sleep 100000
"""

_FURNISH = """
set -eu
sed -i '/^nixbld/d' /etc/passwd /etc/group
echo 'nixbld:x:30000:nixbld1,nixbld2' >>/etc/group
for n in 1 2; do echo "nixbld$n:x:3000$n:30000::/var/empty:/usr/sbin/nologin" >>/etc/passwd; done
rm -f /etc/profile.d/nixadmin.sh
mkdir -p /nix/store /nix/var /etc/nix /usr/local/lib/nixadmin/sandbox
chgrp nixbld /nix/store
chmod 1775 /nix/store
cp /bin/bash-static /usr/local/lib/nixadmin/sandbox/bash
"""

_PID = "/etc/nix/daemon.pid"
_DAEMONS = tuple(f"/nix/var/nix/{name}/" for name in ("db", "temproots", "userpool", "gc-socket"))
SETTINGS = {
    "sandbox": "true",
    "sandbox-fallback": "false",
    "sandbox-paths": "/bin/sh=/usr/local/lib/nixadmin/sandbox/bash",
    "build-users-group": "nixbld",
    "substituters": "",
}


class Room:
    """A room that has been entered."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._daemon: subprocess.Popen[bytes] | None = None

    def run(self, *argv: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._inside(*argv), check=False, timeout=timeout, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def python(self, source: str, *prefix: str) -> Any:  # noqa: ANN401 - whatever the source says as JSON
        """Run Python in here, after the words of `prefix`; what it prints is JSON."""
        source = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{source}"
        done = self.run(*prefix, sys.executable, "-B", "-c", source, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def configure(self, **settings: str) -> None:
        """Write nix.conf; underscores stand for dashes, and an empty text leaves the setting out."""
        chosen: Mapping[str, str] = SETTINGS | {name.replace("_", "-"): value for name, value in settings.items()}
        text = "".join(f"{name} = {value}\n" for name, value in chosen.items())
        self.run("sh", "-c", 'printf %s "$0" >/etc/nix/nix.conf', text)
        self.restart()

    def restart(self) -> None:
        self.stop()
        self._daemon = subprocess.Popen(
            self._inside("sh", "-c", f"echo $$ >{_PID}; exec nix-daemon"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        connect = "import socket; socket.socket(socket.AF_UNIX).connect('/nix/var/nix/daemon-socket/socket')"
        for _ in range(200):
            if self.run(sys.executable, "-S", "-c", connect, check=False).returncode == 0:
                return
            time.sleep(0.02)
        raise AssertionError("nix-daemon does not start")

    def stop(self) -> None:
        """Stop the daemon; its socket stays, and nobody listens there."""
        if self._daemon:
            self.signal(signal.SIGKILL)
            self._daemon.send_signal(signal.SIGCONT)  # nsenter stops itself along with what it has started
            self._daemon.wait()
            self._daemon = None

    def signal(self, number: int) -> None:
        self.run("sh", "-c", f"kill -{number} $(cat {_PID})")

    def listing(self) -> set[str]:
        """All that a build could leave traces among. What is the daemon's own comes and goes with its workers."""
        found = self.run("find", "/nix", "/run", "/tmp", "-mindepth", "1").stdout.splitlines()
        return {path for path in found if not path.startswith(_DAEMONS)}

    def _inside(self, *argv: str) -> list[str]:
        return ["nsenter", f"--target={self._leader}", "--mount", "--pid", "--root", "--wd", "--", *argv]


@contextlib.contextmanager
def enter(directory: Path) -> Iterator[Room]:
    """Make a room below an empty directory, with build users and a static bash, but no daemon yet."""
    needed = {str(REPOSITORY), sys.prefix, sys.base_prefix} - {"/usr", "/usr/local"}
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
    made = subprocess.Popen([*argv, "sh", "-c", _ENTER, "sh", str(directory), *sorted(needed)])
    try:
        room = Room(_leader(made))
        room.run("sh", "-c", _FURNISH)
        try:
            yield room
        finally:
            room.stop()
    finally:
        made.kill()
        made.wait()


def _leader(made: subprocess.Popen[bytes]) -> int:
    for _ in range(500):
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{made.pid}/task/{made.pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/comm").read_text() == "sleep\n":
                return int(children[0])
        if made.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError("the room cannot be made")


def is_possible() -> bool:
    return os.geteuid() == 0
