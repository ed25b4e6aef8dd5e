"""The shell of the build sandbox: the one program that builds may use without declaring it.

It must be bash and must need nothing beside itself, because nothing else of the host is shown to a build.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.elf import Elf, parse_elf
from nixadmin.sandbox.source import read_source

STORE = Path("/nix/store")
DIRECTORY = Path("/usr/local/lib/nixadmin/sandbox")

Kind = Literal["static-bash", "static-busybox", "store-bash"]

_DEBIAN = ("/bin/bash-static", "/usr/bin/bash-static")
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_BUSYBOXES = (
    "busybox.static",
    "busybox-static",
    "busybox",
)  # Alpine's and Fedora's, then Debian's and Arch's
_STORE_BASH = re.compile(r"[0-9a-z]{32}-bash(?P<static>-static)?-(?P<version>\d[^/]*)")
_STORE_BUSYBOX = re.compile(r"[0-9a-z]{32}-busybox-static-(?P<version>\d[^/]*)")
_NOT_BASH = (
    "the sandbox shell is busybox, not bash: builders that use arrays, [[ =~ ]], <( ) or /dev/tcp in /bin/sh"
    " fail here and work elsewhere"
)
_SAY_VERSION = ("-p", "-c", 'printf %s "$BASH_VERSION"')
_VERSION = re.compile(r"\d+\.[\w.()-]{1,40}")
_ANY = range(256)  # exit codes: what was said is the answer
_PATIENCE = 10.0  # seconds that a shell may take to say something


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell that may stand as /bin/sh in the sandbox, and why this one.

    `source` is where it is (no link). One outside the store is copied to `copy`; one in the store is used
    where it is, with its `closure`. `sha256` is in hexadecimal; it is None for a `promised` shell, whose
    store path is yet to be unpacked: `prove` proves it then.
    """

    source: Path
    kind: Kind
    version: str
    reason: str
    sha256: str | None = None
    closure: tuple[Path, ...] = ()
    promised: bool = False

    @property
    def name(self) -> str:
        return "busybox" if self.kind == "static-busybox" else "bash"

    @property
    def warning(self) -> str | None:
        return _NOT_BASH if self.kind == "static-busybox" else None

    @property
    def copy(self) -> Path | None:
        """Where nixadmin installs its own copy, which outlives the package that the shell came from."""
        return None if self.source.is_relative_to(STORE) else DIRECTORY / self.name


def find_shell(
    host: Host, wanted: str = "auto", store_candidates: Iterable[Path] = (), programs: Path | None = None
) -> Shell:
    """Find the shell for the sandbox: the `wanted` path, or the first of those that `auto` goes through.

    These are Debian's bash-static, the copy that nixadmin has installed, any other static bash on PATH, a
    static bash in the store, a static busybox (with a warning), and a bash in the store that has a closure.
    `store_candidates` are store paths (…-bash-static-5.2) that are there or are about to be unpacked.
    `programs` is the directory of Nix's programs, which tell the closure of a bash in the store.

    Raises NixadminError when there is none, or when the wanted one will not do; it says why.
    """
    candidates = frozenset(store_candidates)
    if wanted != "auto":
        return _wanted(host, Path(wanted), candidates, programs)
    for shell in _found(host, candidates, programs):
        return shell
    raise NixadminError(
        "no shell for the build sandbox: neither a static bash, nor busybox, nor a bash in the store",
        "apt install bash-static, install from a bundle that has one, or name one with --sandbox-shell",
    )


def prove(host: Host, shell: Shell, programs: Path | None = None) -> Shell:
    """Look at a shell again, such as a promised one that is unpacked now. Raises as `find_shell` does."""
    if shell.copy is None:
        return _of_store(host, shell.source, shell.reason, programs)
    return _static(host, shell.source, shell.reason)


def _found(host: Host, candidates: frozenset[Path], programs: Path | None) -> Iterator[Shell]:
    for place in _DEBIAN:
        yield from _if_static(host, Path(place), "Debian's bash-static")
    yield from _if_static(host, DIRECTORY / "bash", "the copy that nixadmin has installed")
    for directory in _PATH:
        for name in ("bash-static", "bash"):
            yield from _if_static(host, Path(directory, name), f"a static bash in {directory}")
    in_store = sorted(candidates.union(_in_store(host)), key=lambda path: _rank(path, candidates), reverse=True)
    for path in in_store:
        if _STORE_BASH.fullmatch(path.name):
            yield from _if_static_in_store(host, path, path / "bin/bash")
    for directory in _PATH:
        for name in _BUSYBOXES:
            yield from _if_static(host, Path(directory, name), "no static bash is there, but busybox is")
    for path in in_store:
        if _STORE_BUSYBOX.fullmatch(path.name):
            yield from _if_static_in_store(host, path, path / "bin/busybox")
    for path in in_store:
        if _STORE_BASH.fullmatch(path.name) and host.files.inode(path / "bin/bash"):
            yield _of_store(host, path / "bin/bash", "no static shell is there, but a bash in the store is", programs)


def _if_static(host: Host, place: Path, reason: str) -> Iterator[Shell]:
    """The shell at `place`, or none: it is not there, not static, not readable or not root's."""
    if host.files.inode(place):
        try:
            yield _static(host, place, reason)
        except NixadminError:
            return


def _if_static_in_store(host: Host, path: Path, program: Path) -> Iterator[Shell]:
    if host.files.inode(path):
        for shell in _if_static(host, program, "a static shell in the store"):
            yield replace(shell, closure=(path,))
    else:
        yield from _promised(path, "a static shell in the store, once it is unpacked")


def _promised(path: Path, reason: str) -> Iterator[Shell]:
    """What the name of a store path promises: only that of a static shell promises enough."""
    if found := _STORE_BUSYBOX.fullmatch(path.name):
        source = path / "bin/busybox"
        yield Shell(source, "static-busybox", found["version"], reason, closure=(path,), promised=True)
    elif (found := _STORE_BASH.fullmatch(path.name)) and found["static"]:
        source = path / "bin/bash"
        yield Shell(source, "static-bash", found["version"], reason, closure=(path,), promised=True)


def _wanted(host: Host, path: Path, candidates: frozenset[Path], programs: Path | None) -> Shell:
    reason = "it was asked for"
    if not path.is_absolute() or ".." in path.parts:
        raise NixadminError(f"the sandbox shell {str(path)!r} is not an absolute path", "name it from / on")
    if not path.is_relative_to(STORE):
        return _static(host, path, reason)
    for candidate in candidates:
        if path.is_relative_to(candidate) and host.files.inode(candidate) is None:
            for shell in _promised(candidate, reason):
                return replace(shell, source=path)
    return _of_store(host, path, reason, programs)


def _static(host: Host, place: Path, reason: str) -> Shell:
    """The static shell at `place`. Raises NixadminError when it is none."""
    real, content = read_source(host, place)
    elf = parse_elf(content, place)
    if not elf.static:
        raise _dynamic(place, elf)
    kind, version = _told(host, real)
    return Shell(real, kind, version, reason, hashlib.sha256(content).hexdigest())


def _of_store(host: Host, path: Path, reason: str, programs: Path | None) -> Shell:
    """A shell that is in the store: it may be dynamic, since its closure can be shown with it."""
    real, content = read_source(host, path)
    if not real.is_relative_to(STORE) or len(real.parts) < 5:
        raise NixadminError(f"{path} leads out of the store, to {real}", "name a program inside a store path")
    elf = parse_elf(content, real)
    store_path = STORE / real.parts[3]
    if elf.static:
        return replace(_static(host, path, reason), closure=(store_path,))
    if elf.interpreter and not Path(elf.interpreter).is_relative_to(STORE):
        raise _dynamic(real, elf)
    closure = _closure(host, store_path, programs)
    version = host.run_inside([real, *_SAY_VERSION], ok=_ANY).out
    if not _VERSION.fullmatch(version):
        raise NixadminError(f"{path} is not bash", "name a bash of the store, or a static busybox")
    return Shell(real, "store-bash", version, reason, hashlib.sha256(content).hexdigest(), closure)


def _closure(host: Host, path: Path, programs: Path | None) -> tuple[Path, ...]:
    argv = [str((programs or Path()) / "nix-store"), "--query", "--requisites", str(path)]
    closure = tuple(sorted(Path(line) for line in host.run_inside(argv).out.splitlines()))
    if path not in closure:
        raise NixadminError(f"{path} is not a valid path of the store", "register it, or name another shell")
    return closure


def _dynamic(path: Path, elf: Elf) -> NixadminError:
    needs = ", ".join([*([elf.interpreter] if elf.interpreter else []), *elf.needed])
    return NixadminError(
        f"{path} is not static: it needs {needs}",
        "name a static bash, such as /bin/bash-static (apt install bash-static), or one in the store",
    )


def _told(host: Host, path: Path) -> tuple[Kind, str]:
    """What a static shell says of itself: it is the shell that it seems to be, and it starts here."""
    program = host.at(path)
    if path.name.startswith("busybox"):
        counted = host.run([program, "sh", "-c", "echo $((6 * 7))"], ok=_ANY, timeout=_PATIENCE).out
        told = re.match(r"BusyBox v(\S+)", host.run([program], ok=_ANY, timeout=_PATIENCE).out)
        if counted == "42\n" and told:
            return "static-busybox", told[1]
    else:
        said = host.run([program, *_SAY_VERSION], ok=_ANY, timeout=_PATIENCE).out
        if _VERSION.fullmatch(said):
            return "static-bash", said
    raise NixadminError(f"{path} is neither bash nor a busybox with a shell", "name another shell")


def _in_store(host: Host) -> Iterator[Path]:
    for name in host.files.names(STORE):
        if _STORE_BASH.fullmatch(name) or _STORE_BUSYBOX.fullmatch(name):
            yield STORE / name


def _rank(path: Path, candidates: frozenset[Path]) -> tuple[bool, list[int], str]:
    """Which store path goes first: one that was offered, then the newer; and always in the same order."""
    return path in candidates, [int(digits) for digits in re.findall(r"\d+", path.name[33:])], path.name
