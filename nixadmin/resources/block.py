"""A block of lines that is ours in a file that may be somebody else's."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Keep, Step
from nixadmin.errors import ConflictError
from nixadmin.host import Host
from nixadmin.nix.conf import find_block, insert_block, strip_block

NAME = "settings"


class Block(Resource):
    """A marked block in a file, and the file itself where there was none.

    A `content` of None is a file that is there without the block. The rest of the file is never touched: not its
    mode, not its owner. Undoing gives back the very bytes, and the time when they were written.
    """

    kind: Literal["block"] = "block"
    path: Path
    content: str | None
    # Of a file without the block: when it was last written, in ns since 1970, and the SHA-256 (hexadecimal) of what
    # was. The time is given back to the same bytes only: what others have written since, they have written since.
    mtime_ns: int | None = None
    sha256: str | None = None

    @override
    def __eq__(self, other: object) -> bool:
        """Whether both say the same. What is remembered of the file around them is no part of that."""
        return isinstance(other, Block) and (self.path, self.content) == (other.path, other.content)

    @override
    def __hash__(self) -> int:
        return hash((self.path, self.content))

    @property
    @override
    def key(self) -> str:
        return str(self.path)

    @override
    def observe(self, host: Host) -> Self | None:
        text = _read(host, self.path)
        if text is None:
            return None
        if (block := find_block(text, NAME)) is not None:
            content = "".join(f"{line}\n" for line in block.lines)
            return self.model_copy(update={"content": content, "mtime_ns": None, "sha256": None})
        inode = host.files.inode(self.path)
        mtime = inode.mtime_ns if inode else None
        return self.model_copy(update={"content": None, "mtime_ns": mtime, "sha256": _digest(text)})

    @override
    def keep(self) -> Iterator[Step]:
        yield Keep(self.path)

    @override
    def tidy(self, host: Host) -> None:
        host.files.tidy(self.path)

    @override
    def create(self) -> Iterator[Step]:
        yield WriteBlock(self.path, self.content, self.mtime_ns, self.sha256)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        yield WriteBlock(self.path, self.content, self.mtime_ns, self.sha256)

    @override
    def remove(self) -> Iterator[Step]:
        yield RemoveBlock(self.path)

    @override
    def edited(self, since: Self) -> bool:
        return self.content is not None and self.content != since.content

    @override
    def differences(self, before: Self) -> Iterator[str]:
        yield "the block of nixadmin's settings"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(host: Host, path: Path) -> str | None:
    inode = host.files.inode(path)
    if inode is None:
        return None
    if inode.kind != "file":
        raise ConflictError(f"{path} is a {inode.kind}, not a file", f"move {path} away")
    try:
        return host.files.read(path).decode()
    except UnicodeDecodeError as e:
        raise ConflictError(f"{path} is not a text file", f"move {path} away") from e


@dataclass(frozen=True, slots=True)
class WriteBlock(Step):
    """Put the block at the end of the file, in place of the one that it has; None takes the block out."""

    path: Path
    content: str | None
    # The time that the file gets when its bytes are then those of this SHA-256.
    mtime_ns: int | None = None
    sha256: str | None = None

    @override
    def perform(self, host: Host) -> None:
        old = host.files.inode(self.path)
        text = strip_block(_read(host, self.path) or "", NAME)
        if self.content is not None:
            text = insert_block(text, NAME, self.content.splitlines())
        mode, uid, gid = (old.mode, old.uid, old.gid) if old else (0o644, 0, 0)
        mtime = self.mtime_ns if _digest(text) == self.sha256 else None
        host.files.write(self.path, text.encode(), mode, uid, gid, mtime)

    @override
    def __str__(self) -> str:
        if self.content is None:
            return f"take nixadmin's settings out of {self.path}"
        return f"write {len(self.content.splitlines())} lines of settings into {self.path}"


@dataclass(frozen=True, slots=True)
class RemoveBlock(Step):
    """Take the block out of a file that nixadmin made, and the file with it unless others have added to it."""

    path: Path

    @override
    def perform(self, host: Host) -> None:
        rest = strip_block(_read(host, self.path) or "", NAME)
        if not rest.strip():
            host.files.remove(self.path)
            return
        WriteBlock(self.path, None).perform(host)
        raise ConflictError(
            f"{self.path} holds settings that nixadmin did not write; they stay, without nixadmin's",
            f"remove {self.path} if nothing needs it",
        )

    @override
    def __str__(self) -> str:
        return f"take nixadmin's settings out of {self.path}, and remove it if nothing else is in it"
