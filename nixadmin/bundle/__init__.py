"""A portable tarball made from the Nix of this host, laid out as the official one."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nixadmin.bundle import archive, certificates, selfcontained, shell, storenix
from nixadmin.bundle.source import Source, find
from nixadmin.bundle.staging import Staging
from nixadmin.host.compress import check_suffix
from nixadmin.nix.store_path import StorePath

__all__ = ["Bundle", "Source", "find", "make_bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was made: the file, its SHA-256 (hexadecimal) and size, and what is in it (sizes in bytes)."""

    path: Path
    sha256: str
    size: int
    unpacked_size: int
    version: str
    system: str
    paths: tuple[StorePath, ...]


def make_bundle(
    out: Path,
    *,
    nix: Path | None = None,
    certificate_file: Path | None = None,
    bash: Path | None = None,
) -> Bundle:
    """Make a tarball (.tar.xz, .tar.zst, .tar.gz or .tar) of this host's Nix, CA certificates and a static shell.

    A Nix of the distribution becomes one store path that needs nothing of its host; a Nix from a store is
    taken with its closure. `nix`, `certificate_file` and `bash` say which, instead of the host's own. The same
    inputs give the same bytes. `out` is replaced at once, at the end.

    Raises UsageError for another suffix, and NixadminError when there is no Nix to take, a tool (patchelf, xz) is
    missing, there is no room, or what was made does not run by itself.
    """
    check_suffix(out)
    source = find(nix)
    with tempfile.TemporaryDirectory(prefix="nixadmin-bundle-") as directory:
        staging = Staging(Path(directory))
        stage = storenix.stage if source.in_store else selfcontained.stage
        top = stage(source, staging)
        certificates.stage(staging, certificate_file)
        shell.stage(staging, bash)
        sha256, size = archive.write(out, source, top, staging)
        registrations = staging.registrations()
    return Bundle(
        path=out,
        sha256=sha256,
        size=size,
        unpacked_size=sum(one.nar_size for one in registrations),
        version=source.version,
        system=source.system,
        paths=tuple(one.path for one in registrations),
    )
