"""Exit codes, and how a run ends that does not end well."""

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import IO

from nixadmin.cli.lightly import override
from nixadmin.errors import NixadminError, UsageError

AS_DECLARED = 0
FAILED = 1
USAGE = 2
DIFFERS = 3
# sh(1): a command that a signal ended has the status 128 + its number.
SIGNALLED = 128

# What the machine itself refuses: these need no traceback but a remedy.
REMEDIES = {
    errno.ENOSPC: "make room, then run it again to continue",
    errno.EDQUOT: "raise the quota, then run it again to continue",
    errno.EROFS: "mount it writable, then run it again to continue",
    errno.EIO: "the disk or its connection fails (see dmesg); mend it, then run it again to continue",
    errno.EACCES: "run this as root, or as a user who may",
    errno.EPERM: "run this as root, or as a user who may",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then run it again",
    errno.ENFILE: "the host has no file handle left (fs.file-max); free some, then run it again",
    errno.ENOMEM: "the host is out of memory; free some, then run it again",
}


class StoppedBySignal(BaseException):
    """Somebody asked this process to end. Like KeyboardInterrupt, it is nobody's to catch on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> None:
    raise StoppedBySignal(number)


def listen() -> None:
    """Let SIGTERM and SIGHUP (a lost terminal) end the run in good order.

    What nohup(1) has made the process ignore stays ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


class _Patient(io.FileIO):
    """A file that takes every write, also when nobody is there any more to read it."""

    @override
    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def steady_streams() -> None:
    """Keep output from ending a run half-way.

    What is told on stderr (progress, say) is lost with a lost terminal, and the work goes on. stdout shows
    what its encoding lacks as an escape.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by whoever started this: no file may get its number
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor if number else os.devnull, "w" if number else "r"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        raw = _Patient(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stderr.encoding, "backslashreplace", line_buffering=True
        )


def complain(errors: Sequence[NixadminError]) -> None:
    """Write each as two lines: what is, and what to do."""
    from nixadmin.report.paper import visible

    for error in errors:
        print(f"nixadmin: {visible(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"  {visible(error.hint)}", file=sys.stderr)


def exit_code(error: NixadminError) -> int:
    return USAGE if isinstance(error, UsageError) else FAILED


def of_the_machine(error: OSError) -> NixadminError | None:
    """What the machine refused, as an error with its remedy; None where it is a bug of ours."""
    if error.errno not in REMEDIES:
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    return NixadminError(f"{where}{os.strerror(error.errno)}", REMEDIES[error.errno])


def mute(stream: IO[str]) -> None:
    """Send everything that is still to come to nowhere."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    except (OSError, ValueError):
        pass
