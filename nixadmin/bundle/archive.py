"""Writing the tarball: the same input gives the same bytes."""

import contextlib
import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nixadmin.bundle.source import Source
from nixadmin.bundle.staging import Staging
from nixadmin.errors import NixadminError, UsageError
from nixadmin.nix.registration import render

# Blocks of this size are decompressed by several cores at once; smaller ones compress worse (measured, see README).
_BLOCK = 8 << 20
_INSTALL = """#!/bin/sh
# This is a bundle of Nix {version} for {system}, made by nixadmin.
cat >&2 <<END
To install it as root for every user of this host, run

  nixadmin provision --nix TARBALL

with the tarball that this file came from. Only unpacking and registering it, with no users, daemon or profile, is

  mkdir -p /nix/store && cp -RP ./store/. /nix/store/ && /nix/store/{nix}/bin/nix-store --load-db <./.reginfo
END
exit 1
"""


def check_name(out: Path) -> None:
    """Raise UsageError unless the name says how to compress."""
    if not out.name.endswith((".tar", ".tar.gz", ".tar.xz", ".tar.zst")):
        raise UsageError(f"{out} does not say how to compress", "name it *.tar.xz, *.tar.zst, *.tar.gz or *.tar")


def write(out: Path, source: Source, staging: Staging) -> tuple[str, int]:
    """Write what was staged to `out`, at once; its SHA-256 (hexadecimal) and size in bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    try:
        with open(handle, "wb") as raw:
            with _compressor(out.name, raw) as sink, tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as tar:
                _members(tar, source, staging)
            os.fsync(raw.fileno())
        with open(name, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.chmod(name, 0o644)
        size = os.stat(name).st_size
        os.rename(name, out)
    except BaseException:
        os.unlink(name)
        raise
    return digest, size


def _members(tar: tarfile.TarFile, source: Source, staging: Staging) -> None:
    top = f"nix-{source.version}-{source.system}"
    registrations = staging.registrations()
    nix = next(one.path for one in registrations if one.path.name == f"nix-{source.version}")
    install = _INSTALL.format(version=source.version, system=source.system, nix=nix)
    _text(tar, f"{top}/install", install, 0o755)
    _text(tar, f"{top}/.reginfo", render(registrations), 0o644)
    for one in registrations:
        tar.add(staging.store / str(one.path), f"{top}/store/{one.path}", filter=_normal)


def _text(tar: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    member.mode, member.mtime = mode, 1
    tar.addfile(member, io.BytesIO(text.encode()))


def _normal(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 1
    member.mode = 0o777 if member.issym() else 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    if member.islnk():  # a second name of one file in a staged closure
        raise NixadminError(f"{member.name} is a hard link", "copy the closure before bundling it")
    return member


@contextlib.contextmanager
def _compressor(name: str, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    if name.endswith(".tar"):
        yield raw
    elif name.endswith(".gz"):
        import gzip

        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=1) as file:
            yield file
    elif name.endswith(".zst"):
        import zstandard

        # Two threads, whatever the host has: the number of threads is visible in the bytes only as none or some.
        with zstandard.ZstdCompressor(level=19, threads=2).stream_writer(raw, closefd=False) as writer:
            yield writer
    else:
        with _xz(raw) as pipe:
            yield pipe


@contextlib.contextmanager
def _xz(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    command = ["xz", f"-T{max(2, os.cpu_count() or 1)}", f"--block-size={_BLOCK}", "-6", "--stdout"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=raw) as process:
        assert process.stdin is not None
        yield process.stdin
        process.stdin.close()
        if process.wait():
            raise NixadminError(f"xz exited {process.returncode}", "is there room on the disk?")
