"""What a file has beside its content: owner, mode, extended attributes."""

import errno
import os

# What vouches for the old content must not vouch for the new.
_OF_CONTENT = frozenset({"security.capability", "security.ima", "security.evm"})


def own(descriptor: int, mode: int, uid: int, gid: int) -> None:
    """Give an open file or directory its owner, group and mode."""
    # chown clears the set-id bits, so the mode comes last.
    found = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != (uid, gid):
        os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, mode)


def label(descriptor: int, name: str, parent: int) -> None:
    """Give a file the extended attributes of the one that it will replace."""
    try:
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return  # there is none, or it is no file and rename(2) will tell
    try:
        for attribute in os.listxattr(old):
            if attribute not in _OF_CONTENT and os.getxattr(old, attribute) != _given(descriptor, attribute):
                os.setxattr(descriptor, attribute, os.getxattr(old, attribute))
    except OSError as e:
        if e.errno != errno.ENOTSUP:
            raise
    finally:
        os.close(old)


def _given(descriptor: int, attribute: str) -> bytes | None:
    return os.getxattr(descriptor, attribute) if attribute in os.listxattr(descriptor) else None
