"""A daemon that init starts, and the definitions that init has of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field
from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Step
from nixadmin.host import Host
from nixadmin.host.init import supervisor
from nixadmin.resources.file import File


class Definition(File):
    """A file that init reads: a unit, or a script."""

    kind: Literal["definition"] = "definition"  # type: ignore[assignment]
    init: str

    @override
    def remove(self) -> Iterator[Step]:
        yield from super().remove()
        yield Manage(self.init, "reload", "")


class Service(Resource):
    """A service: started at boot, running now, with the settings that its files now hold.

    `current` is false when the daemon was started before one of the files that it `reads` was last written.
    """

    kind: Literal["service"] = "service"
    name: str
    init: str
    enabled: bool = True
    running: bool = True
    failed: bool = False
    masked: bool = False
    # Left out of the receipt: nobody wants a daemon with outdated settings back.
    current: bool = Field(True, exclude=True)
    reads: tuple[Path, ...] = ()
    depends: tuple[str, ...] = ()

    @property
    @override
    def key(self) -> str:
        return self.name

    @property
    @override
    def follows(self) -> frozenset[str]:
        return frozenset(self.depends)

    @override
    def observe(self, host: Host) -> Self | None:
        state = supervisor(self.init).state(host, self.name)
        if not (state.known or state.masked) or not (state.enabled or state.running or state.masked or state.failed):
            return None
        return self.model_copy(
            update={
                "enabled": state.enabled,
                "running": state.running,
                "failed": state.failed,
                "masked": state.masked,
                "current": not state.outdated and not self._written_since(host, state.since),
            }
        )

    def _written_since(self, host: Host, since: float | None) -> bool:
        if since is None:
            return False
        inodes = (host.files.inode(path) for path in self.reads)
        return any(inode is not None and inode.mtime_ns / 1e9 > since for inode in inodes)

    @override
    def stale(self, host: Host) -> Self:
        running = supervisor(self.init).state(host, self.name).since is not None
        return self.model_copy(update={"current": not running})

    @override
    def tidy(self, host: Host) -> None:
        supervisor(self.init).tidy(host)

    @override
    def create(self) -> Iterator[Step]:
        yield Manage(self.init, "enable", self.name)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        if not before.current:
            yield Manage(self.init, "restart", self.name)
        if (before.enabled, before.failed, before.masked) != (self.enabled, self.failed, self.masked):
            yield Manage(self.init, "enable" if self.enabled else "disable", self.name)
        if before.running != self.running and self.running:
            yield Manage(self.init, "start", self.name)

    @override
    def remove(self) -> Iterator[Step]:
        yield Manage(self.init, "disable", self.name)


Verb = Literal["enable", "disable", "start", "restart", "reload"]


@dataclass(frozen=True, slots=True)
class Manage(Step):
    """Tell init what to do with a service."""

    init: str
    verb: Verb
    name: str

    @override
    def perform(self, host: Host) -> None:
        manager = supervisor(self.init)
        match self.verb:
            case "reload":
                manager.reload(host)
            case "enable":
                manager.enable(host, self.name)
            case "disable":
                manager.disable(host, self.name)
            case "start":
                manager.start(host, self.name)
            case "restart":
                manager.restart(host, self.name)

    @override
    def __str__(self) -> str:
        return f"{self.verb} {self.name} ({self.init})" if self.name else f"let {self.init} read its files again"
