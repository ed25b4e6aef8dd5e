"""Writing compressed files, so that they can be decompressed fast and are the same every time."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from nixadmin.errors import NixadminError, UsageError
from nixadmin.host.processes import environment

SUFFIXES = (".tar", ".tar.gz", ".tar.xz", ".tar.zst")
# Blocks of an .xz file are decompressed side by side. Of 78 MB of programs, blocks of 8 MiB make 1.6 % more than
# blocks of 16 MiB (which two cores share less evenly, and are slower by a quarter), and 3.6 % less than 4 MiB.
_BLOCK = 8 << 20


def check_suffix(out: Path) -> None:
    """Raise UsageError unless the name of a file says how to compress it."""
    if not out.name.endswith(SUFFIXES) or out.name in SUFFIXES:
        raise UsageError(f"{out} does not say how to compress", f"name it *{', *'.join(SUFFIXES)}")


@contextmanager
def compressed(name: str, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """What is written to the result is compressed as `name` says, and goes to `raw`.

    The bytes do not depend on the number of cores. Raises NixadminError when xz is missing or fails.
    """
    if name.endswith(".xz"):
        with _xz(raw) as pipe:
            yield pipe
    elif name.endswith(".zst"):
        import zstandard

        # Two threads, whatever the host has: none gives other bytes than some, but their number does not show.
        with zstandard.ZstdCompressor(level=19, threads=2, write_checksum=True).stream_writer(
            raw, closefd=False
        ) as writer:
            yield cast(IO[bytes], writer)
    elif name.endswith(".gz"):
        import gzip

        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=1) as file:
            yield cast(IO[bytes], file)
    else:
        yield raw


@contextmanager
def _xz(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    # Never one thread: then xz leaves the sizes out of the block headers, and the bytes differ.
    threads = max(2, len(os.sched_getaffinity(0)))
    command = ["xz", f"--threads={threads}", f"--block-size={_BLOCK}", "-6", "--stdout", "--no-warn"]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=raw, stderr=subprocess.PIPE, env=environment()
        )
    except FileNotFoundError as e:
        raise NixadminError("xz is not on this host", "install xz-utils, or name the file *.tar.zst") from e
    with process:
        assert process.stdin is not None and process.stderr is not None
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            pass  # xz has ended before, and says why
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise NixadminError(f"xz exited {process.returncode}: {said}", "is there room on the disk?")
