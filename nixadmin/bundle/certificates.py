"""The CA certificates of this host as a store path."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from nixadmin.bundle.staging import Staging
from nixadmin.errors import NixadminError
from nixadmin.nix.store_path import StorePath

# Where distributions keep them in one PEM file: Debian and Alpine and Arch, Fedora, openSUSE.
_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)


def stage(staging: Staging, file: Path | None = None) -> StorePath:
    """Add `nss-cacert-DATE` with etc/ssl/certs/ca-bundle.crt, where the official script and Nix look for it.

    Raises NixadminError when no certificates are found.
    """
    found = file or next((Path(place) for place in _PLACES if Path(place).is_file()), None)
    if found is None or b"-----BEGIN CERTIFICATE-----" not in found.read_bytes():
        raise NixadminError(
            f"there are no CA certificates in {found or 'the usual places'}", "install the package ca-certificates"
        )
    return staging.add(f"nss-cacert-{_date(found)}", lambda tree, _: _fill(found, tree))


def _fill(found: Path, tree: Path) -> None:
    directory = tree / "etc/ssl/certs"
    directory.mkdir(parents=True)
    shutil.copyfile(found, directory / "ca-bundle.crt")


def _date(found: Path) -> str:
    # The day the host's file was made; a bundle that is made again from the same file is the same bundle.
    return datetime.fromtimestamp(found.stat().st_mtime, UTC).strftime("%Y%m%d")
