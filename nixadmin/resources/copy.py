"""Programs and other binary files that nixadmin keeps its own copy of."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field
from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Keep, Remove, SetMode, Step
from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host import Host
from nixadmin.host.elf import parse_elf


@dataclass(frozen=True, slots=True)
class CopyFile(Step):
    """Copy a program. Raises NixadminError when `source` is not the one that was planned with.

    That is the one with this SHA-256; where it was not there yet to be looked at, a static program.
    """

    path: Path
    source: Path
    sha256: str | None
    mode: int
    owner: str
    group: str

    @override
    def perform(self, host: Host) -> None:
        try:
            content = host.files.read(self.source)
        except OSError as e:
            raise NixadminError(f"cannot read {self.source}: {e.strerror}", "install it again") from e
        # The very bytes that are written are the ones that were looked at: a source that changes in between
        # cannot slip in.
        if self.sha256 is None:
            if not parse_elf(content, self.source).static:
                raise NixadminError(f"{self.source} is not static, as was expected of it", "install a static one")
        elif hashlib.sha256(content).hexdigest() != self.sha256:
            raise NixadminError(f"{self.source} is not what it was when this was planned", "run this again")
        host.files.write(self.path, content, self.mode, host.uid(self.owner), host.gid(self.group))

    @override
    def __str__(self) -> str:
        return f"copy {self.source} to {self.path} ({self.owner}:{self.group} {self.mode:04o})"


class Copy(Resource):
    """A program that is a copy of `source`, whose SHA-256 (hexadecimal) is known when it is declared.

    It is None when the source itself is yet to come, with a package: it must be static then, and any copy of it is
    as declared.

    Only the content can be observed, not where it came from: what `observe` returns keeps the declared
    source, and so equals what was declared when the content does.
    """

    kind: Literal["copy"] = "copy"
    path: Path
    source: Path
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"

    @property
    @override
    def key(self) -> str:
        return str(self.path)

    @override
    def observe(self, host: Host) -> Self | None:
        inode = host.files.inode(self.path)
        if inode is None:
            return None
        if inode.kind != "file":
            raise ConflictError(f"{self.path} is a {inode.kind}, not a file", f"move {self.path} away")
        try:
            content = host.files.read(self.path)
        except PermissionError:
            sha256 = self.sha256  # an ordinary user's plan cannot look into it, and says nothing about it
        else:
            same = self.sha256 is None and content == self._content_of_source(host)
            sha256 = None if same else hashlib.sha256(content).hexdigest()
        return self.model_copy(
            update={
                "sha256": sha256,
                "mode": inode.mode,
                "owner": host.user_label(inode.uid),
                "group": host.group_label(inode.gid),
            }
        )

    def _content_of_source(self, host: Host) -> bytes | None:
        try:
            return host.files.read(self.source)
        except OSError:
            return None

    @override
    def keep(self) -> Iterator[Step]:
        yield Keep(self.path)

    @override
    def tidy(self, host: Host) -> None:
        host.files.tidy(self.path)

    @override
    def create(self) -> Iterator[Step]:
        yield CopyFile(self.path, self.source, self.sha256, self.mode, self.owner, self.group)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        if before.sha256 == self.sha256:
            yield SetMode(self.path, self.mode, self.owner, self.group)
        else:
            yield from self.create()

    @override
    def remove(self) -> Iterator[Step]:
        yield Remove(self.path)

    @override
    def remembered(self, host: Host) -> Self:
        sha256 = self.sha256 or hashlib.sha256(host.files.read(self.path)).hexdigest()
        return self.model_copy(update={"sha256": sha256})

    @override
    def edited(self, since: Self) -> bool:
        return self.sha256 != since.sha256 is not None

    @override
    def differences(self, before: Self) -> Iterator[str]:
        for difference in super().differences(before):
            yield "content" if difference.startswith("sha256") else difference
