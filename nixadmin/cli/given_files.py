"""Files that an administrator names on the command line: read whole, and secrets only from private ones."""

import os
import stat
from pathlib import Path

from nixadmin.errors import UsageError

MOST_BYTES = 1 << 20


def read_text(path: Path) -> tuple[str, bool]:
    """A file's text, and whether it is private: root's or the caller's, and closed to group and others.

    Raises UsageError where it cannot be read, is no text, or is longer than 1 MiB.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {os.strerror(error.errno or 0)}", "name a file that you may read"
        ) from None
    except ValueError:
        raise UsageError("a file's name holds a null character", "name a file that you may read") from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} is longer than {MOST_BYTES} bytes", "name the right file")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", "name the right file") from None
    private = status.st_uid in (0, os.geteuid()) and not stat.S_IMODE(status.st_mode) & 0o077
    return text, private


def read_private(path: Path, origin: str) -> str:
    """The secret in a file, without the newline at its end.

    Raises UsageError where others may read it too.
    """
    text, private = read_text(path)
    if not private:
        raise UsageError(
            f"{origin}: {path} can be read by others than its owner, or is not root's or yours",
            f"chown root:root {path}; chmod 0600 {path}",
        )
    return text.removesuffix("\n")
