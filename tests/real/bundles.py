"""A Nix for hosts without a network: the tarball that this checkout's own `nixadmin bundle` makes of Debian's Nix."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.real.payload import CHECKOUT
from tests.real.rootfs import cache_dir, locked

BUNDLE_DIR = "/opt/bundle"  # where a host finds it
BUNDLE = f"{BUNDLE_DIR}/nix.tar.xz"


def bundle() -> Path:
    """A directory with `nix.tar.xz` in it, made once for each version of the code and of Debian's packages.

    Raises RuntimeError with the words of `nixadmin bundle` when it fails.
    """
    place = cache_dir().parent / "bundle" / _key()
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place):
        if not place.exists():
            unfinished = place.with_name(place.name + ".unfinished")
            unfinished.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "nixadmin", "bundle", "--out", f"{unfinished}/nix.tar.xz"]
            process = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
            if process.returncode != 0:
                raise RuntimeError(f"no bundle: {process.stderr}")
            unfinished.rename(place)
    return place


def _key() -> str:
    digest = hashlib.sha256()
    for part in ("bundle/*.py", "nix/*.py", "host/compress.py"):
        for path in sorted((CHECKOUT / "nixadmin").glob(part)):
            digest.update(f"{path.relative_to(CHECKOUT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    query = ["dpkg-query", "--show", "nix-bin", "bash-static", "ca-certificates"]
    digest.update(subprocess.run(query, check=True, capture_output=True).stdout)
    return digest.hexdigest()[:16]
