"""A distribution's Nix as one store path that needs nothing of its host."""

import shutil
from pathlib import Path

from nixadmin.bundle.libraries import Needs, needs, resolve
from nixadmin.bundle.source import Source
from nixadmin.bundle.staging import Staging
from nixadmin.errors import NixadminError
from nixadmin.host import processes
from nixadmin.nix.store_path import StorePath

# The names under which the one program is called (Nix 2.0 to 2.34); those that this Nix has are taken.
_COMMANDS = (
    *("nix-build", "nix-channel", "nix-collect-garbage", "nix-copy-closure", "nix-daemon", "nix-env", "nix-hash"),
    *("nix-instantiate", "nix-prefetch-url", "nix-shell", "nix-store"),
)
_BUILD_HOOK = "build-remote"
# Older ones (2.8 is one, 2.26 none) look for their other programs and their build hook where they were configured
# to be installed unless these variables say otherwise; those strings cannot be made longer in place.
_SCRIPT = """#!/bin/sh
# {name}, told where its own files are: the program was built to be in {prefix}.
export NIX_BIN_DIR="${{NIX_BIN_DIR:-{top}/bin}}"
export NIX_LIBEXEC_DIR="${{NIX_LIBEXEC_DIR:-{top}/libexec}}"
{data}exec {top}/libexec/nix/{name} "$@"
"""
_DATA = 'export NIX_DATA_DIR="${{NIX_DATA_DIR:-{top}/share}}"\n'


def stage(source: Source, staging: Staging) -> StorePath:
    """Add the Nix of a distribution: programs, libraries, loader and name service modules in one path.

    Raises NixadminError when patchelf is missing or the result would need something else of the host.
    """
    return staging.add(f"nix-{source.version}", lambda tree, top: _fill(source, tree, top))


def _fill(source: Source, tree: Path, top: str) -> None:
    need = needs(source.program)
    for directory in ("bin", "lib", "libexec/nix"):
        (tree / directory).mkdir(parents=True)
    _copy(need.loader, tree / "lib" / need.loader.name, executable=True)
    for soname, library in need.libraries.items():
        _copy(library, tree / "lib" / soname)
        if _patchelf("--print-rpath", tree / "lib" / soname).strip():
            # Its own word would come before the program's.
            _patchelf("--remove-rpath", tree / "lib" / soname)
    names = [name for name in _COMMANDS if (source.program.parent / name).exists()]
    data = source.program.parent.parent / "share/nix/corepkgs"
    if data.is_dir():  # Nix before 2.4
        shutil.copytree(data, tree / "share/nix/corepkgs")
    wrapped = _has_built_in_places(source, need)
    program = tree / ("libexec/nix/nix" if wrapped else "bin/nix")
    _copy(source.program, program, executable=True)
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
    _prove(source, program, tree / "lib", need)
    # A run path of the old kind (DT_RPATH) on the program holds for all its libraries, and comes before
    # LD_LIBRARY_PATH: nothing of the host gets in between.
    _patchelf("--set-interpreter", f"{top}/lib/{need.loader.name}", program)
    _patchelf("--force-rpath", "--set-rpath", f"{top}/lib", program)


def _copy(file: Path, copy: Path, *, executable: bool = False) -> None:
    shutil.copyfile(file, copy)
    copy.chmod(0o755 if executable else 0o644)


def _has_built_in_places(source: Source, need: Needs) -> bool:
    own = [file for soname, file in need.libraries.items() if soname.startswith("libnix")]
    return any(b"NIX_LIBEXEC_DIR" in file.read_bytes() for file in (source.program, *own))


def _prove(source: Source, program: Path, libraries: Path, need: Needs) -> None:
    """Load the program and each library from the copies alone; the run path says where they will be."""
    loader = libraries / need.loader.name
    for file in (program, *(libraries / soname for soname in need.libraries)):
        for soname, found in resolve(loader, file, libraries).items():
            if found.parent != libraries:
                raise NixadminError(f"{file.name} would take {soname} from {found}", "make the bundle elsewhere")
    options = ("--inhibit-cache", "--library-path", libraries)
    said = processes.run([loader, *options, program, "--version"]).out
    if not said.strip().endswith(f" {source.version}"):
        raise NixadminError(f"the copy of {source.program} does not run: {said.strip()!r}", "make it elsewhere")


def _patchelf(*words: str | Path) -> str:
    if shutil.which("patchelf", path=processes.PATH) is None:
        raise NixadminError("patchelf is not on this host", "install it: it rewrites where programs look")
    return processes.run(["patchelf", *words]).out
