"""Files whose content is all ours, and blocks of our own in files of others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Keep, Remove, SetMode, Step, Write
from nixadmin.errors import ConflictError
from nixadmin.host import Host

PRIVATE = 0o077


class File(Resource):
    """A text file: nixadmin writes all of it."""

    kind: Literal["file"] = "file"
    path: Path
    content: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    # When it was last written, in ns since 1970, for a file that was there before: undoing gives that back too.
    mtime_ns: int | None = None

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
            content = host.files.read(self.path).decode()
        except UnicodeDecodeError as e:
            raise ConflictError(f"{self.path} is not a text file", f"move {self.path} away") from e
        except PermissionError:
            content = self.content  # an ordinary user's plan cannot look into it, and says nothing about it
        # The time is nobody's wish: it counts only in what was there before, and only while that is unchanged.
        ours = content == self.content and self.mtime_ns is None
        return self.model_copy(
            update={
                "content": content,
                "mode": inode.mode,
                "owner": host.user_label(inode.uid),
                "group": host.group_label(inode.gid),
                "mtime_ns": None if ours else inode.mtime_ns,
            }
        )

    @override
    def keep(self) -> Iterator[Step]:
        yield Keep(self.path)

    @override
    def tidy(self, host: Host) -> None:
        host.files.tidy(self.path)

    @override
    def create(self) -> Iterator[Step]:
        yield Write(self.path, self.content, self.mode, self.owner, self.group, self.mtime_ns)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        if (before.content, before.mtime_ns) == (self.content, self.mtime_ns):
            yield SetMode(self.path, self.mode, self.owner, self.group)
        else:
            yield from self.create()

    @override
    def remove(self) -> Iterator[Step]:
        yield Remove(self.path)

    @override
    def edited(self, since: Self) -> bool:
        return self.content != since.content

    @override
    def differences(self, before: Self) -> Iterator[str]:
        for difference in super().differences(before):
            field = difference.split(" ", 1)[0]
            if field == "content":
                yield "content"
            elif field != "mtime":
                yield difference

    @override
    def public(self) -> Self:
        return self.model_copy(update={"content": ""}) if self.private else self

    @property
    def private(self) -> bool:
        """Whether its content must not be shown: it is not for everyone's eyes on the host either."""
        return not self.mode & PRIVATE
