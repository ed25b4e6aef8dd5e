"""A distribution's Nix as one store path that needs nothing of its host."""

import os
import shutil
from pathlib import Path

from nixadmin.bundle import elf
from nixadmin.bundle.source import Source
from nixadmin.bundle.staging import Staging
from nixadmin.errors import NixadminError
from nixadmin.host import processes
from nixadmin.nix.store_path import StorePath

# Every name under which the one program is called (Nix 2.0 to 2.34); those that this Nix has are taken.
_COMMANDS = (
    *("nix-build", "nix-channel", "nix-collect-garbage", "nix-copy-closure", "nix-daemon", "nix-env", "nix-hash"),
    *("nix-instantiate", "nix-prefetch-url", "nix-shell", "nix-store"),
)
_BUILD_HOOK = "build-remote"
# Nix before 2.24 looks for its other programs and its build hook where it was configured to be installed,
# unless these variables say otherwise; and it is not possible to change the strings in place.
_SCRIPT = """#!/bin/sh
# {name}, told where its own files are: the program was built to live in {prefix}.
export NIX_BIN_DIR="${{NIX_BIN_DIR:-{top}/bin}}"
export NIX_LIBEXEC_DIR="${{NIX_LIBEXEC_DIR:-{top}/libexec}}"
{data}exec {top}/libexec/nix/{name} "$@"
"""
_DATA = 'export NIX_DATA_DIR="${{NIX_DATA_DIR:-{top}/share}}"\n'


def stage(source: Source, staging: Staging) -> StorePath:
    """Add the Nix of a distribution: programs, libraries, loader and name service modules in one path.

    Raises NixadminError when patchelf is missing or the result does not run by itself.
    """
    return staging.add(f"nix-{source.version}", lambda tree, path: _fill(source, tree, path.absolute()))


def _fill(source: Source, tree: Path, top: str) -> None:
    need = elf.needs(source.program)
    for directory in ("bin", "lib", "libexec/nix"):
        (tree / directory).mkdir(parents=True)
    shutil.copyfile(need.loader, tree / "lib" / need.loader.name)
    (tree / "lib" / need.loader.name).chmod(0o755)
    for soname, library in need.libraries.items():
        copy = tree / "lib" / soname
        shutil.copyfile(library, copy)
        if elf.has_run_path(copy):
            _patch(copy, "--remove-rpath")
    wrapped = _has_built_in_places(need)
    program = tree / ("libexec/nix/nix" if wrapped else "bin/nix")
    shutil.copyfile(source.program, program)
    program.chmod(0o755)
    # A run path of the old kind (DT_RPATH) on the program holds for all its libraries, and before
    # LD_LIBRARY_PATH: nothing of the host gets in between.
    _patch(program, "--set-interpreter", f"{top}/lib/{need.loader.name}", "--force-rpath", "--set-rpath", f"{top}/lib")
    names = [name for name in _COMMANDS if (source.program.parent / name).exists()]
    data = source.program.parent.parent / "share/nix/corepkgs"
    if data.is_dir():  # Nix before 2.4
        shutil.copytree(data, tree / "share/nix/corepkgs")
    for name in names:
        (program.parent / name).symlink_to("nix")
    (tree / "libexec/nix" / _BUILD_HOOK).symlink_to("nix" if wrapped else "../../bin/nix")
    if wrapped:
        set_data = _DATA.format(top=top) if data.is_dir() else ""
        prefix = source.program.parent.parent
        for name in ("nix", *names):
            script = tree / "bin" / name
            script.write_text(_SCRIPT.format(name=name, prefix=prefix, top=top, data=set_data))
            script.chmod(0o755)


def _has_built_in_places(need: elf.Needs) -> bool:
    return any(
        b"NIX_LIBEXEC_DIR" in library.read_bytes()
        for soname, library in need.libraries.items()
        if soname.startswith("libnix")
    )


def _patch(file: Path, *words: str) -> None:
    try:
        processes.run(["patchelf", *words, file])
    except NixadminError as e:
        if shutil.which("patchelf", path=processes.PATH):
            raise
        raise NixadminError("patchelf is not on this host", "install it: it rewrites where programs look") from e


def run_path_of(program: Path) -> str:
    """The run path that a program carries."""
    return processes.run(["patchelf", "--print-rpath", os.fspath(program)]).out.strip()
