"""Removing directories, empty ones and full ones."""

import errno
import os
import stat
from pathlib import Path

from nixadmin.errors import ConflictError
from nixadmin.host.walk import DIRECTORY


def remove_directory(parent: int, name: str, path: Path) -> None:
    """Remove an empty directory. Raises ConflictError, naming what it holds, for one that is not empty."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as e:
        if e.errno not in (errno.ENOTEMPTY, errno.EBUSY):
            raise
        descriptor = os.open(name, DIRECTORY, dir_fd=parent)
        try:
            names = sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        what = f"still holds {', '.join(names[:3])}{more}" if names else "is a mount point"
        raise ConflictError(f"{path} {what}", f"see whether anybody needs it: ls -la {path}") from e


def remove_tree(parent: int, name: str, device: int, path: Path) -> None:
    """Remove a directory of this device and all below it, following no link. Raises ConflictError at a mount."""
    found = os.lstat(name, dir_fd=parent)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    if found.st_dev != device:
        raise ConflictError(f"{path} is a mount point", f"umount {path}, then run this again")
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        for child in os.listdir(descriptor):
            remove_tree(descriptor, child, device, path / child)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)
