"""A fresh Linux host booted by its own init."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from tests.real import cgroups
from tests.real.host import Binds, Host, first_process
from tests.real.tree import PLACE

T = TypeVar("T")


class Machine(Host):
    """A host booted by systemd-nspawn with its own init (systemd or sysvinit) as process 1."""

    def __init__(self, root: Path, binds: Binds | None = None) -> None:
        super().__init__(root, binds)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._console = tempfile.TemporaryFile()  # closed with the machine

    @property
    def console(self) -> str:
        """What the machine wrote to its console, all boots one after the other."""
        return os.pread(self._console.fileno(), 1 << 20, 0).decode(errors="replace")

    @override
    def start(self) -> None:
        # systemd manages the whole control group that it finds itself in: two machines that shared one would
        # stop each other's services.
        join = [f"echo 0 > {shlex.quote(str(group))}/cgroup.procs" for group in cgroups.create(self.name)]
        nspawn = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={PLACE}/root",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--capability=all",
            "--console=pipe",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            f"--machine={self.name}",
            "--hostname=host",
            *(f"--bind-ro={source}:{target}" for target, source in self.binds.items()),
        ]
        self._nspawn = subprocess.Popen(
            self.tree.command("sh", "-c", "; ".join([*join, 'exec "$@"']), "sh", *nspawn),
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.leader = self._wait(self._find_leader, 30)
            self._wait(self._is_up, 60)
        except BaseException:
            self.crash()
            raise

    @override
    def stop(self) -> None:
        assert self._nspawn is not None
        command = "systemctl poweroff" if self._is_systemd() else "init 0"
        self.run(command, check=False)  # the connection may end before the answer
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self.crash()
            raise
        self._stopped()

    @override
    def crash(self) -> None:
        assert self._nspawn is not None
        if self.leader is not None and self._nspawn.poll() is None:
            os.kill(self.leader, 9)  # the leader cannot have ended: its parent nspawn would have, too
        else:
            self._nspawn.kill()
        self._nspawn.wait(30)
        self._stopped()

    @override
    def close(self) -> None:
        super().close()  # the keeper's process namespace takes nspawn and all of the machine with it
        if self._nspawn is not None:
            self._nspawn.wait(30)
            self._stopped()
        self._console.close()

    def _stopped(self) -> None:
        self.leader = self._nspawn = None
        cgroups.remove(self.name)

    def _is_systemd(self) -> bool:
        return Path(f"/proc/{self.leader}/comm").read_text().strip() == "systemd"

    def _find_leader(self) -> int | None:
        """nspawn's descendant that is process 1 of its namespace, once it has become the init."""
        assert self._nspawn is not None
        return first_process(self._nspawn.pid, ("systemd", "init"))

    def _is_up(self) -> bool | None:
        if self._is_systemd():
            state = self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
            return True if state in ("running", "degraded") else None
        return True if self.run(["test", "-e", "/run/booted"], check=False).returncode == 0 else None

    def _wait(self, condition: Callable[[], T | None], seconds: float) -> T:
        assert self._nspawn is not None
        end = time.monotonic() + seconds
        while (value := condition()) is None:
            if self._nspawn.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not boot\n{self.console[-4000:]}")
            time.sleep(0.01)
        return value
