"""Directories."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import MakeDirectory, Remove, RemoveTree, SetMode, Step
from nixadmin.errors import ConflictError
from nixadmin.host import Host


class Directory(Resource):
    """A directory with its owner and mode.

    `data` says that people's data will live in it: undoing keeps it unless it is told to purge, and then
    takes it with all that it holds. Any other directory is removed only when it is empty.
    """

    kind: Literal["directory"] = "directory"
    path: Path
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"
    data: bool = False

    @property
    @override
    def key(self) -> str:
        return str(self.path)

    @property
    @override
    def holds_data(self) -> bool:
        return self.data

    @override
    def observe(self, host: Host) -> Self | None:
        inode = host.files.inode(self.path)
        if inode is None:
            return None
        if inode.kind != "directory":
            raise ConflictError(f"{self.path} is a {inode.kind}, not a directory", f"move {self.path} away")
        return self.model_copy(
            update={
                "mode": inode.mode,
                "owner": host.user_label(inode.uid),
                "group": host.group_label(inode.gid),
            }
        )

    @override
    def create(self) -> Iterator[Step]:
        yield MakeDirectory(self.path, self.mode, self.owner, self.group)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        yield SetMode(self.path, self.mode, self.owner, self.group)

    @override
    def remove(self) -> Iterator[Step]:
        yield RemoveTree(self.path) if self.data else Remove(self.path)
