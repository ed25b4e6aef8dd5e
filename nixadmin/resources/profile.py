"""Profiles: generations of environments, as nix-env keeps them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Step
from nixadmin.host import Host
from nixadmin.host.nix import Nix, packages_of


class Profile(Resource):
    """A profile that holds these packages, whatever else people have added to it.

    `programs` is where the Nix lies that changes it. `packages` are store paths, sorted; observed, they are those
    of the same names as the declared ones: another version of Nix is a difference, a stranger's editor is not.
    """

    kind: Literal["profile"] = "profile"
    path: Path
    programs: Path
    packages: tuple[Path, ...]

    @property
    @override
    def key(self) -> str:
        return str(self.path)

    @property
    @override
    def holds_data(self) -> bool:
        return True

    @override
    def observe(self, host: Host) -> Self | None:
        if host.files.inode(self.path) is None:
            return None
        names = {package_name(path) for path in self.packages}
        found = sorted(path for path in packages_of(host, self.path) if package_name(path) in names)
        return self.model_copy(update={"packages": tuple(found)})

    @override
    def create(self) -> Iterator[Step]:
        yield InstallPackages(self.path, self.programs, self.packages)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        if missing := tuple(path for path in self.packages if path not in before.packages):
            yield InstallPackages(self.path, self.programs, missing)
        names = {package_name(path) for path in self.packages}
        if surplus := tuple(package_name(path) for path in before.packages if package_name(path) not in names):
            yield ErasePackages(self.path, self.programs, surplus)

    @override
    def remove(self) -> Iterator[Step]:
        yield RemoveProfile(self.path)


def package_name(path: Path) -> str:
    """The name of a store path without digest and version: a dash before a digit ends it, as in nix-env."""
    return re.sub(r"-[0-9].*", "", path.name[33:])


@dataclass(frozen=True, slots=True)
class InstallPackages(Step):
    """Make the next generation of a profile, with these packages added."""

    profile: Path
    programs: Path
    packages: tuple[Path, ...]

    @override
    def perform(self, host: Host) -> None:
        nix = Nix(host, self.programs)
        if host.files.inode(self.profile) is not None and not packages_of(host, self.profile):
            nix.forget_missing()  # its environment may be gone from the store, and Nix believe it is there
        nix.install(self.profile, self.packages)

    @override
    def __str__(self) -> str:
        return f"add {', '.join(path.name[33:] for path in self.packages)} to {self.profile}"


@dataclass(frozen=True, slots=True)
class ErasePackages(Step):
    """Make the next generation of a profile, without these packages."""

    profile: Path
    programs: Path
    names: tuple[str, ...]

    @override
    def perform(self, host: Host) -> None:
        Nix(host, self.programs).erase(self.profile, self.names)

    @override
    def __str__(self) -> str:
        return f"take {', '.join(self.names)} out of {self.profile}"


@dataclass(frozen=True, slots=True)
class RemoveProfile(Step):
    """Remove a profile with all its generations; what they held stays in the store until it is collected."""

    profile: Path

    @override
    def perform(self, host: Host) -> None:
        generation = re.compile(rf"{re.escape(self.profile.name)}-\d+-link")
        for name in host.files.names(self.profile.parent):
            if name == self.profile.name or generation.fullmatch(name):
                host.files.remove(self.profile.parent / name)

    @override
    def __str__(self) -> str:
        return f"remove {self.profile} and its generations"
