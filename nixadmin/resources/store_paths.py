"""Store paths that a tarball brings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Step
from nixadmin.errors import ConflictError, NixadminError, SourceError
from nixadmin.host import Host
from nixadmin.host.nix import STORE, Nix


class StorePaths(Resource):
    """Paths in the store that are there whole, and known to its database.

    `origin` is the path or URL of the tarball, `file` where it lies during this run, `stamp` what tells that a
    file has been replaced; `programs` is where its Nix lies in the store, `profile` what belongs into the
    default profile.
    """

    kind: Literal["store-paths"] = "store-paths"
    origin: str
    file: Path
    sha256: str | None
    stamp: str
    version: str
    programs: Path
    paths: tuple[Path, ...]
    profile: tuple[Path, ...]

    @property
    @override
    def key(self) -> str:
        return "nix"

    @property
    @override
    def holds_data(self) -> bool:
        return True

    @override
    def observe(self, host: Host) -> Self | None:
        there = [path for path in self.paths if host.files.inode(path) is not None]
        if there and host.files.inode(self.programs / "nix-store") is not None:
            valid = Nix(host, self.programs).valid(there)
            there = [path for path in there if path in valid]
        else:
            there = []
        return self.model_copy(update={"paths": tuple(there)}) if there else None

    @override
    def tidy(self, host: Host) -> None:
        from nixadmin.host.unpack import tidy

        tidy(host.at(STORE))

    @override
    def create(self) -> Iterator[Step]:
        yield Unpack(self.file, self.sha256, self.programs)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        # What another version brought stays: a generation of the profile holds it until it is collected.
        if not set(self.paths) <= set(before.paths):
            yield from self.create()

    @override
    def remove(self) -> Iterator[Step]:
        yield DeletePaths(self.programs, self.paths)

    @override
    def differences(self, before: Self) -> Iterator[str]:
        missing = len(set(self.paths) - set(before.paths))
        yield f"{missing} of {len(self.paths)} paths missing"


@dataclass(frozen=True, slots=True)
class Unpack(Step):
    """Unpack a tarball's store paths, and tell the store's database of them; what is there already is passed over.

    One step, so that what is registered is what the very bytes say that were unpacked, and nothing is read twice.
    """

    file: Path
    sha256: str | None
    programs: Path

    @override
    def perform(self, host: Host) -> None:
        from nixadmin.host.unpack import unpack

        if host.files.inode(self.programs / "nix-store") is None:
            # Its path may be there, but damaged; what is there is passed over.
            host.files.remove_tree(self.programs.parent)
        try:
            contents = unpack(self.file, host.at(STORE), sha256=self.sha256, progress=host.progress)
        except NixadminError as e:
            raise SourceError(str(e), e.hint) from e
        Nix(host, self.programs).register(contents.registrations)

    @override
    def __str__(self) -> str:
        return f"unpack {self.file} into {STORE}, and register its paths (nix-store --load-db)"


@dataclass(frozen=True, slots=True)
class DeletePaths(Step):
    """Delete paths from the store, unless something else has come to need them."""

    programs: Path
    paths: tuple[Path, ...]

    @override
    def perform(self, host: Host) -> None:
        try:
            Nix(host, self.programs).delete(self.paths)
        except NixadminError as e:
            raise ConflictError(
                f"something still needs the Nix at {self.programs.parent}, so it stays in the store",
                f"see what: {self.programs}/nix-store --query --roots {self.programs.parent}",
            ) from e

    @override
    def __str__(self) -> str:
        return f"delete {len(self.paths)} paths from the store"
