"""What is done to a host. Steps are values: they can be printed, compared, tested and performed."""

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from nixadmin.host import Host
from nixadmin.host.files import kept


class Step(ABC):
    """One act. Its text says what it does; `perform` does it, and doing it twice does no harm."""

    @abstractmethod
    def perform(self, host: Host) -> None: ...

    @override
    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Run(Step):
    """Run a program of the host; another exit code than those of `ok` is an error."""

    argv: tuple[str, ...]
    ok: tuple[int, ...] = (0,)
    stdin: str | None = None

    @override
    def perform(self, host: Host) -> None:
        host.run(self.argv, ok=self.ok, stdin=self.stdin)

    @override
    def __str__(self) -> str:
        return f"$ {shlex.join(self.argv)}"


def run(*argv: str | int | Path, ok: tuple[int, ...] = (0,)) -> Run:
    """A Run step from plain arguments."""
    return Run(tuple(str(word) for word in argv), ok)


@dataclass(frozen=True, slots=True)
class MakeDirectory(Step):
    path: Path
    mode: int
    owner: str
    group: str

    @override
    def perform(self, host: Host) -> None:
        host.files.make_directory(self.path, self.mode, host.uid(self.owner), host.gid(self.group))

    @override
    def __str__(self) -> str:
        return f"make {self.path}/ ({self.owner}:{self.group} {self.mode:04o})"


@dataclass(frozen=True, slots=True)
class SetMode(Step):
    path: Path
    mode: int
    owner: str
    group: str

    @override
    def perform(self, host: Host) -> None:
        host.files.set_mode(self.path, self.mode, host.uid(self.owner), host.gid(self.group))

    @override
    def __str__(self) -> str:
        return f"set {self.path} to {self.owner}:{self.group} {self.mode:04o}"


@dataclass(frozen=True, slots=True)
class Write(Step):
    path: Path
    content: str
    mode: int
    owner: str
    group: str
    mtime_ns: int | None = None

    @override
    def perform(self, host: Host) -> None:
        host.files.write(
            self.path, self.content.encode(), self.mode, host.uid(self.owner), host.gid(self.group), self.mtime_ns
        )

    @override
    def __str__(self) -> str:
        return f"write {self.path} ({len(self.content.encode())} bytes, {self.owner}:{self.group} {self.mode:04o})"


@dataclass(frozen=True, slots=True)
class Keep(Step):
    """Lay a copy of a file beside it; it is its owner's, and nixadmin never removes it."""

    path: Path

    @override
    def perform(self, host: Host) -> None:
        host.files.keep(self.path)

    @override
    def __str__(self) -> str:
        return f"keep a copy of {self.path} as {kept(self.path)}"


@dataclass(frozen=True, slots=True)
class Link(Step):
    path: Path
    target: str

    @override
    def perform(self, host: Host) -> None:
        host.files.link(self.path, self.target)

    @override
    def __str__(self) -> str:
        return f"link {self.path} → {self.target}"


@dataclass(frozen=True, slots=True)
class Remove(Step):
    """Remove a file, a link or an empty directory."""

    path: Path

    @override
    def perform(self, host: Host) -> None:
        host.files.remove(self.path)

    @override
    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True, slots=True)
class RemoveTree(Step):
    """Remove a directory and all below it, following no link and crossing no mount."""

    path: Path

    @override
    def perform(self, host: Host) -> None:
        host.files.remove_tree(self.path)

    @override
    def __str__(self) -> str:
        return f"remove {self.path} and all below it"
