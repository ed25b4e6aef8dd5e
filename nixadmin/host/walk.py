"""Walking a path so that no other user can lead us astray.

It is walked from the root one name at a time, with directory descriptors. A symbolic link on the way is followed only
when nobody but root could have put it there; the last name of a path is never followed.
"""

import errno
import os
import stat
from pathlib import Path

from nixadmin.errors import ConflictError

# How a directory is opened: never through a link.
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as the kernel has it: path_resolution(7)


def walk(root: Path, way: list[str], path: Path) -> int:
    """A descriptor, fit for reading, of the directory that the names of `way` lead to from `root`.

    `path` is what people call it. Raises FileNotFoundError, NotADirectoryError, and ConflictError at a link that
    somebody else could have planted.
    """
    left, links = list(way), 0
    chain = [os.open(root, DIRECTORY)]
    try:
        while left:
            name = left.pop(0)
            if name == "..":
                if len(chain) > 1:
                    os.close(chain.pop())
                continue
            step = os.open(name, _LOOK, dir_fd=chain[-1])
            try:
                found = os.fstat(step)
                if stat.S_ISLNK(found.st_mode):
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                    target = _trusted_target(chain[-1], name, found, path)
                    if target.startswith("/"):
                        while len(chain) > 1:
                            os.close(chain.pop())
                    left[:0] = [part for part in target.split("/") if part not in ("", ".")]
                else:
                    chain.append(os.open(name, DIRECTORY, dir_fd=chain[-1]))
            finally:
                os.close(step)
        return os.dup(chain[-1])
    finally:
        for descriptor in chain:
            os.close(descriptor)


def _trusted_target(parent: int, name: str, link: os.stat_result, path: Path) -> str:
    holder = os.fstat(parent)
    ours = {0, os.geteuid()}
    others_write = holder.st_mode & 0o022 and not holder.st_mode & stat.S_ISVTX
    if link.st_uid not in ours or holder.st_uid not in ours or others_write:
        raise ConflictError(
            f"{path} leads over the link {name}, which belongs to uid {link.st_uid}",
            "somebody may have planted it: replace it with a directory of root",
        )
    return os.readlink(name, dir_fd=parent)
