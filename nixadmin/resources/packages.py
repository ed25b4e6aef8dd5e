"""Packages of the distribution."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Step
from nixadmin.host import Host, packages


class Packages(Resource):
    """Packages that are installed, of those that are `wanted`.

    Undoing removes just those that were not there before, and no package that something else needs by now.
    """

    kind: Literal["packages"] = "packages"
    manager: str
    wanted: tuple[str, ...]
    installed: tuple[str, ...]

    @property
    @override
    def key(self) -> str:
        return self.manager

    @override
    def observe(self, host: Host) -> Self | None:
        found = packages.installed(host, packages.named(self.manager), self.wanted)
        return self.model_copy(update={"installed": found}) if found else None

    @override
    def create(self) -> Iterator[Step]:
        yield Install(self.manager, self.installed)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        if missing := tuple(name for name in self.installed if name not in before.installed):
            yield Install(self.manager, missing)
        if surplus := tuple(name for name in before.installed if name not in self.installed):
            yield Uninstall(self.manager, surplus)

    @override
    def remove(self) -> Iterator[Step]:
        yield Uninstall(self.manager, self.installed)


@dataclass(frozen=True, slots=True)
class Install(Step):
    """Install packages with the distribution's own manager."""

    manager: str
    names: tuple[str, ...]

    @override
    def perform(self, host: Host) -> None:
        packages.install(host, packages.named(self.manager), self.names)

    @override
    def __str__(self) -> str:
        return f"install {', '.join(self.names)} ({self.manager})"


@dataclass(frozen=True, slots=True)
class Uninstall(Step):
    """Remove packages, and their configuration, with the distribution's own manager."""

    manager: str
    names: tuple[str, ...]

    @override
    def perform(self, host: Host) -> None:
        packages.remove(host, packages.named(self.manager), self.names)

    @override
    def __str__(self) -> str:
        return f"remove {', '.join(self.names)} ({self.manager})"
