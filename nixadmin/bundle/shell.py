"""A static shell as a store path: what the build sandbox shows as /bin/sh."""

import re
import shutil
from pathlib import Path

from nixadmin.bundle.staging import Staging
from nixadmin.errors import NixadminError
from nixadmin.host import processes
from nixadmin.host.elf import read_elf
from nixadmin.nix.store_path import StorePath

_PLACES = ("/bin/bash-static", "/usr/bin/bash-static", "/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static")


def stage(staging: Staging, shell: Path | None = None) -> StorePath | None:
    """Add `bash-static-VERSION` (else `busybox-static-VERSION`) with bin/sh; None when the host has neither.

    Raises NixadminError when the one that was named is not static.
    """
    if shell and not read_elf(shell).static:
        raise NixadminError(f"{shell} is dynamically linked", "name a static shell, such as Debian's bash-static")
    for place in (shell,) if shell else map(Path, _PLACES):
        if place.is_file() and read_elf(place).static:
            return _stage(staging, place.resolve())
    return None


def _stage(staging: Staging, shell: Path) -> StorePath:
    name = "busybox" if "busybox" in shell.name else "bash"
    said = processes.run([shell, "--help"] if name == "busybox" else [shell, "--version"])
    version = re.search(r"(?:version |BusyBox v)(\d+(?:\.\d+)+)", said.out + said.err)
    if not version:
        raise NixadminError(f"{shell} does not tell its version", "name a static bash or busybox")

    def fill(tree: Path, _: str) -> None:
        (tree / "bin").mkdir(parents=True)
        shutil.copyfile(shell, tree / "bin" / name)
        (tree / "bin" / name).chmod(0o755)
        (tree / "bin/sh").symlink_to(name)

    return staging.add(f"{name}-static-{version[1]}", fill)
