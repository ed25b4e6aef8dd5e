"""Reading a program that is to be trusted with every build."""

import errno
import os
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host

_MOST_LINKS = 40  # as the kernel has it: path_resolution(7)


def read_source(host: Host, path: Path) -> tuple[Path, bytes]:
    """Where the program at `path` really is, behind its links, and its content.

    Raises NixadminError when it is not there, or when another user could have written it.
    """
    real = path
    for _ in range(_MOST_LINKS):
        inode = host.files.inode(real)
        if inode is None:
            raise NixadminError(f"{path} does not exist", "name a program that is on this host")
        if inode.uid not in (0, os.geteuid()):
            raise NixadminError(f"{real} belongs to uid {inode.uid}", "name a program that belongs to root")
        if inode.kind != "link" or inode.target is None:
            break
        real = Path(os.path.normpath(real.parent / inode.target))
    else:
        raise NixadminError(f"{path}: {os.strerror(errno.ELOOP)}", "name the program itself")
    if inode.kind != "file":
        raise NixadminError(f"{path} is a {inode.kind}, not a program", "name a program")
    if inode.mode & 0o022:
        raise NixadminError(f"others than root can write {real} (mode {inode.mode:04o})", f"chmod go-w {real}")
    if not inode.mode & 0o111:
        raise NixadminError(f"{real} is not executable (mode {inode.mode:04o})", "name a program")
    try:
        return real, host.files.read(real)
    except OSError as e:
        raise NixadminError(f"cannot read {real}: {e.strerror}", "run this as root") from e
