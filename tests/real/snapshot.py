"""What a host's file system holds, path by path, and the readable difference between two such states."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# What a running Debian changes by itself, with the reason; everything else on the host is compared.
# Matched against the whole path, and what matches is left out with everything below it.
EXCLUDED = {
    r"/(proc|sys|dev|run|tmp)": "not the tree: kernel file systems and memory",
    r"/var/tmp/systemd-private-.*": "the private /tmp of running services, named at random at every boot",
    r"/var/log/(journal/.*|wtmp|btmp|lastlog|dmesg.*)": "every login and every boot writes them",
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-": "the state before the last change, by every tool of shadow",
}

# For a test that installs and removes packages: apt and dpkg remember what they did.
PACKAGE_STATE = {
    r"/var/(lib|cache)/apt/.*": "lists, caches and temporary directories, with their owner set at the first use",
    r"/var/lib/dpkg/status-old": "dpkg's copy of the state before the last change",
    r"/var/cache/ldconfig/.*": "a cache that ldconfig makes when a library is installed or removed",
    r"/var/log/(apt/.*|dpkg\.log|alternatives\.log)": "the history of it all",
}


@dataclass(frozen=True)
class Content:
    """The bytes of a regular file: where they lie unchanged in the root file system, or their digest.

    Files that nobody wrote to are not read at all, which keeps a snapshot of a whole Debian below a second.
    """

    pristine: Path | None = None
    sha256: str = ""

    @property
    def digest(self) -> str:
        return _digest_of_pristine(self.pristine) if self.pristine else self.sha256


@dataclass(frozen=True)
class Entry:
    """Everything about one path that a user or a program could notice."""

    kind: str  # "file", "directory", "link", "device", "fifo" or "socket"
    mode: int
    uid: int
    gid: int
    size: int = 0
    content: Content | None = None
    target: str = ""  # of a link; major:minor of a device
    xattrs: tuple[tuple[str, bytes], ...] = ()
    mtime_ns: int = 0  # files and links only: a directory's changes with what is made and removed in it

    def differences(self, other: Entry, *, times: bool) -> Iterator[str]:
        """How `other` differs, one phrase for each aspect."""
        if self.kind != other.kind:
            yield f"{self.kind} → {other.kind}"
            return
        if self.mode != other.mode:
            yield f"mode {self.mode:04o} → {other.mode:04o}"
        if (self.uid, self.gid) != (other.uid, other.gid):
            yield f"owner {self.uid}:{self.gid} → {other.uid}:{other.gid}"
        if self.target != other.target:
            yield f"target {self.target} → {other.target}"
        if self.content != other.content and self.content and other.content:
            if self.content.digest != other.content.digest:
                yield f"content ({self.size} → {other.size} bytes)"
        if self.xattrs != other.xattrs:
            yield f"extended attributes {dict(self.xattrs)} → {dict(other.xattrs)}"
        if times and self.mtime_ns != other.mtime_ns:
            yield f"mtime {self.mtime_ns} → {other.mtime_ns}"


Snapshot = dict[str, Entry]


def snapshot(root: Path, *, upper: Path, lower: Path, exclude: dict[str, str] | None = None) -> Snapshot:
    """Every path below `root`, an overlay of `upper` over `lower`, that no pattern excludes."""
    skip = re.compile("|".join(f"(?:{pattern})" for pattern in EXCLUDED | (exclude or {})))
    found: Snapshot = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(f"{root}{directory}/") as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}"
                if skip.fullmatch(path):
                    continue
                found[path] = _entry(entry, upper / path[1:], lower / path[1:])
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
    return found


def difference(before: Snapshot, after: Snapshot, *, times: bool = False) -> list[str]:
    """What changed, a line for each path, sorted: `+` added, `-` removed, `~` altered. Empty if nothing did.

    With `times`, a file that was written again with the content it had counts as altered.
    """
    lines = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None and new is not None:
            lines.append(f"+ {path} ({new.kind} {new.mode:04o} {new.uid}:{new.gid})")
        elif new is None and old is not None:
            lines.append(f"- {path} ({old.kind} {old.mode:04o} {old.uid}:{old.gid})")
        elif old and new and old != new and (how := list(old.differences(new, times=times))):
            lines.append(f"~ {path}: {', '.join(how)}")
    return lines


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


def _entry(entry: os.DirEntry[str], upper: Path, lower: Path) -> Entry:
    status = entry.stat(follow_symlinks=False)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content, target = None, ""
    if kind == "file":
        content = Content(sha256=_digest(Path(entry.path))) if os.path.lexists(upper) else Content(pristine=lower)
    elif kind == "link":
        target = os.readlink(entry.path)
    elif kind == "device":
        target = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    names = sorted(os.listxattr(entry.path, follow_symlinks=False))
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == "file" else 0,
        content=content,
        target=target,
        xattrs=tuple((name, os.getxattr(entry.path, name, follow_symlinks=False)) for name in names),
        mtime_ns=status.st_mtime_ns if kind in ("file", "link") else 0,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_digest_of_pristine = cache(_digest)
