"""Writing the tarball: the same input gives the same bytes."""

import hashlib
import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

from nixadmin.bundle.source import Source
from nixadmin.bundle.staging import Staging
from nixadmin.errors import NixadminError
from nixadmin.host.compress import compressed
from nixadmin.host.tarball import read_contents
from nixadmin.nix.registration import render
from nixadmin.nix.store_path import StorePath

_INSTALL = """#!/bin/sh
# A bundle of Nix {version} for {system}, made by nixadmin.
cat >&2 <<'END'
This does not install anything itself. As root, for every user of this host:

  nixadmin provision --nix TARBALL      (the file that this came from)

Without nixadmin, the programs alone, with neither users nor daemon nor profile:

  mkdir -p /nix/store && cp -RP store/. /nix/store/ && /nix/store/{nix}/bin/nix-store --load-db <.reginfo
END
exit 1
"""


def write(out: Path, source: Source, nix: StorePath, staging: Staging) -> tuple[str, int]:
    """Write what was staged to `out`, at once; its SHA-256 (hexadecimal) and size in bytes.

    Raises NixadminError when it cannot be written, or does not read back.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        draft = Path(name)
        try:
            with open(handle, "w+b") as raw:
                with (
                    compressed(out.name, raw) as sink,
                    tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as archive,
                ):
                    _write_members(archive, source, nix, staging)
                raw.flush()
                os.fsync(raw.fileno())
                raw.seek(0)
                digest = hashlib.file_digest(raw, "sha256").hexdigest()
                size = os.fstat(raw.fileno()).st_size
            read_contents(draft)
            draft.chmod(0o644)
            draft.rename(out)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as e:
        raise NixadminError(f"cannot write {out}: {e.strerror or e}", "see that it has room, and is writable") from e
    return digest, size


def _write_members(archive: tarfile.TarFile, source: Source, nix: StorePath, staging: Staging) -> None:
    top = f"nix-{source.version}-{source.system}"
    install = _INSTALL.format(version=source.version, system=source.system, nix=nix)
    _write_text(archive, f"{top}/install", install, 0o755)
    _write_text(archive, f"{top}/.reginfo", render(staging.registrations()), 0o644)
    for one in staging.registrations():
        _write_tree(archive, f"{top}/store/{one.path}", staging.place(one.path))


def _write_text(archive: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    content = text.encode()
    archive.addfile(_header(name, tarfile.REGTYPE, mode, len(content)), io.BytesIO(content))


def _write_tree(archive: tarfile.TarFile, name: str, path: Path) -> None:
    # Not TarFile.add: in an optimised store many files are hard links of each other, and it would say so.
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        archive.addfile(_header(name, tarfile.DIRTYPE, 0o755))
        for inner in sorted(os.listdir(path)):
            _write_tree(archive, f"{name}/{inner}", path / inner)
    elif stat.S_ISLNK(status.st_mode):
        header = _header(name, tarfile.SYMTYPE, 0o777)
        header.linkname = os.readlink(path)
        archive.addfile(header)
    else:
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        with path.open("rb") as file:
            archive.addfile(_header(name, tarfile.REGTYPE, mode, status.st_size), file)


def _header(name: str, kind: bytes, mode: int, size: int = 0) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.mode, header.size, header.mtime = kind, mode, size, 1
    return header
