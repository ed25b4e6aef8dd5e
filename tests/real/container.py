"""A fresh Linux host without an init, in hundredths of a second."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from typing_extensions import override

from tests.real.host import Binds, Host, first_process
from tests.real.tree import PLACE

_CONTAINER = """\
set -eu
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=0755 tmpfs dev
for node in null zero full random urandom tty; do
  : > dev/$node
  mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=0755 tmpfs run
mkdir -m 1777 run/lock
mount -t tmpfs -o mode=1777 tmpfs tmp
@BINDS@
hostname host
ip link set lo up
pivot_root . .
umount -l .
cd /
trap '' CHLD
exec chroot . sh -c 'echo ready; exec cat > /dev/null'
"""


class Container(Host):
    """A host without an init: its own processes, mounts, network and name, for what needs no services.

    Starts in hundredths of a second. Process 1 only waits, and the kernel reaps orphans.
    """

    def __init__(self, root: Path, binds: Binds | None = None) -> None:
        super().__init__(root, binds)
        self._sleeper: subprocess.Popen[str] | None = None

    @override
    def start(self) -> None:
        binds = [
            f"mkdir -p .{shlex.quote(target)}\n"
            f"mount --bind {shlex.quote(str(source))} .{shlex.quote(target)}\n"
            f"mount -o remount,ro,bind .{shlex.quote(target)}"
            for target, source in self.binds.items()
        ]
        self._sleeper = subprocess.Popen(
            self.tree.command(
                *("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"),
                *("sh", "-c", _CONTAINER.replace("@BINDS@", "\n".join(binds)), "container", f"{PLACE}/root"),
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._sleeper.stdout is not None
        if self._sleeper.stdout.readline() != "ready\n":
            raise RuntimeError(f"{self.name} does not start (exit code {self._sleeper.wait()})")
        self.leader = first_process(self._sleeper.pid, ("sh", "cat"))

    @override
    def stop(self) -> None:
        assert self._sleeper is not None and self._sleeper.stdin is not None and self._sleeper.stdout is not None
        self._sleeper.stdin.close()
        self._sleeper.stdout.close()
        self._sleeper.wait(30)
        self.leader = self._sleeper = None

    @override
    def crash(self) -> None:
        self.stop()  # nothing here is told beforehand

    @override
    def close(self) -> None:
        if self._sleeper is not None:
            self.stop()
        super().close()
