"""What every host under test can do, booted or not: run commands, show its tree, restart, and vanish."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from testinfra.backend.base import BaseBackend, CommandResult  # type: ignore[import-untyped]
from testinfra.host import Host as TestinfraHost  # type: ignore[import-untyped]

from tests.real.snapshot import Snapshot
from tests.real.tree import Tree

Binds = Mapping[str, Path]  # path on the host → what is seen there, read-only

_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "USER=root",
    "LOGNAME=root",
    "LANG=C.UTF-8",
    "TERM=dumb",
)
_numbers = itertools.count(1)


class CommandError(AssertionError):
    """A command on a host ended otherwise than the test expects; the message holds everything it said."""


class Host(ABC):
    """A host under test. Use it as a context manager: it starts on entry, and vanishes on exit."""

    def __init__(self, root: Path, binds: Binds | None = None) -> None:
        self.name = f"nixadmin-{os.getpid()}-{next(_numbers)}"
        self.binds = dict(binds or {})
        self.tree = Tree(root)
        self.leader: int | None = None

    @abstractmethod
    def start(self) -> None:
        """Bring the host up on its tree and return when it is usable."""

    @abstractmethod
    def stop(self) -> None:
        """Shut the host down in its orderly way; its tree stays."""

    @abstractmethod
    def crash(self) -> None:
        """End every process of the host at once, as a power cut would; its tree stays."""

    def reboot(self) -> None:
        """Shut down, and start again on the same tree; /run and /tmp are empty afterwards."""
        self.stop()
        self.start()

    def argv(self, command: str | Sequence[str], user: str | None = None) -> list[str]:
        """The command line which runs `command` on the host: root's as it is, a user's in a login shell."""
        if self.leader is None:
            raise RuntimeError(f"{self.name} is not running")
        if user is not None:
            inside = ["su", "-", user, "-c", command if isinstance(command, str) else shlex.join(command)]
        elif isinstance(command, str):
            inside = ["/bin/sh", "-c", command]
        else:
            inside = list(command)
        return [
            "nsenter",
            f"--target={self.leader}",
            "--all",
            "--",
            "/usr/bin/env",
            "-i",
            *_ENVIRONMENT,
            *inside,
        ]

    def run(
        self,
        command: str | Sequence[str],
        *,
        user: str | None = None,
        check: bool = True,
        input: str | None = None,  # noqa: A002  # as subprocess.run calls it
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell line or an argument vector as root, or as `user` in a login shell (`su - USER -c …`).

        Raises CommandError if it fails and `check` is set, and subprocess.TimeoutExpired after `timeout`
        seconds.
        """
        process = subprocess.run(
            self.argv(command, user),
            input="" if input is None else input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and process.returncode != 0:
            raise CommandError(
                f"{user or 'root'}: {command if isinstance(command, str) else shlex.join(command)}\n"
                f"exit code {process.returncode}\n{process.stdout}{process.stderr}"
            )
        return process

    def sh(self, command: str | Sequence[str], *, user: str | None = None) -> str:
        """What a command that must succeed writes to its standard output, without the last line break."""
        return self.run(command, user=user).stdout.rstrip("\n")

    @property
    def host(self) -> TestinfraHost:
        """This host for testinfra, as root."""
        return self.host_as(None)

    def host_as(self, user: str | None) -> TestinfraHost:
        """This host for testinfra, every command in a login shell of `user`."""
        return TestinfraHost(NsenterBackend(self, user))

    def path(self, path: str) -> Path:
        """A path of the host's tree as seen from outside; not for /run, /tmp and what is bound in."""
        return self.tree.root / path.lstrip("/")

    def snapshot(self, exclude: dict[str, str] | None = None) -> Snapshot:
        """Every path of the tree; see `tests.real.snapshot`."""
        return self.tree.snapshot(exclude)

    def close(self) -> None:
        """Leave nothing behind. Closing twice is allowed."""
        self.leader = None
        self.tree.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NsenterBackend(BaseBackend):  # type: ignore[misc]
    """testinfra's way to a host of ours."""

    NAME = "nsenter"

    def __init__(self, host: Host, user: str | None) -> None:
        super().__init__(host.name)
        self._host = host
        self._user = user

    def run(self, command: str, *args: str, **_: object) -> CommandResult:
        line = self.get_command(command, *args)
        process = subprocess.run(
            self._host.argv(line, self._user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=300,
        )
        return self.result(process.returncode, self.encode(line), process.stdout, process.stderr)


def first_process(pid: int, names: Sequence[str]) -> int | None:
    """The descendant of `pid` that is process 1 of a namespace and has one of these names."""
    for child in _descendants(pid):
        try:
            status = Path(f"/proc/{child}/status").read_text()
        except OSError:
            continue  # it has ended
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["NSpid"].split()[-1] == "1" and fields["Name"] in names:
            return child
    return None


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)
