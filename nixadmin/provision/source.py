"""Where Nix comes from: what the administrator wishes, what the host has, and what was chosen before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nixadmin.config import Config
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import NixadminError, UsageError
from nixadmin.host import Host, packages
from nixadmin.host.nix import DEFAULT_PROFILE, STORE, Nix
from nixadmin.host.platform import system
from nixadmin.nix import releases
from nixadmin.nix.version import Version, parse
from nixadmin.resources import Packages, StorePaths

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

_PLACES = (DEFAULT_PROFILE / "bin", *map(Path, ("/usr/bin", "/usr/local/bin", "/usr/sbin")))
_REMOTE = ("http://", "https://", "file://")


@dataclass(frozen=True, slots=True)
class NixSource:
    """The Nix that will be on the host.

    `programs` is where its programs lie once the installation is complete, `first` where they lie until the
    default profile has been made. `paths` and `packages` are what it brings; `unpacked_size` is in bytes and 0
    for what is there already. `scratch` holds a downloaded tarball for as long as this lives.
    """

    kind: Literal["existing", "distro", "tarball"]
    version: Version
    programs: Path
    first: Path
    brings: StorePaths | Packages | None = None
    profile: tuple[Path, ...] = ()
    unpacked_size: int = 0
    note: str = ""
    scratch: "TemporaryDirectory[str] | None" = None

    @property
    def store_paths(self) -> tuple[Path, ...]:
        """What it adds to the store."""
        return self.brings.paths if isinstance(self.brings, StorePaths) else ()


def choose(host: Host, config: Config, receipt: Receipt, shells_wanted: Callable[[], bool]) -> NixSource:
    """The source of Nix for this host. `shells_wanted` is asked, where the distribution brings Nix, whether
    it is to bring a static shell too.

    Raises NixadminError when what is wished cannot be had, with what can.
    """
    match config.nix:
        case "auto":
            return _automatic(host, receipt, shells_wanted)
        case "existing":
            found = _existing(host, "you asked for the Nix that is there")
            if found is None:
                raise NixadminError("there is no Nix on this host", "choose --nix distro, or the path of a tarball")
            return found
        case "distro":
            return _distro(host, receipt, shells_wanted, "you asked for the distribution's package")
        case origin:
            return _tarball(host, receipt, origin, config.sha256)


def _automatic(host: Host, receipt: Receipt, shells_wanted: Callable[[], bool]) -> NixSource:
    for entry in receipt.entries.values():
        # What an earlier run has chosen stays chosen: it would find its own work, and take it for another's.
        if isinstance(entry.after, StorePaths):
            return _tarball(host, receipt, entry.after.origin, entry.after.sha256)
        if isinstance(entry.after, Packages) and _holds_nix(entry.after):
            return _distro(host, receipt, shells_wanted, "it was installed before")
    if found := _existing(host, "it is on this host already"):
        return found
    if packages.detect(host):
        return _distro(host, receipt, shells_wanted, "no Nix is on this host, and the distribution has one")
    release = releases.pinned(system())
    return _tarball(host, receipt, release.url, release.sha256)


def _holds_nix(entry: Packages) -> bool:
    return any(name in entry.wanted for name in packages.named(entry.manager).nix)


def _existing(host: Host, why: str) -> NixSource | None:
    for place in _PLACES:
        if host.at(place / "nix-store").exists():
            version = parse(Nix(host, place).version())
            return NixSource("existing", version, place, place, note=f"{version} at {place}: {why}")
    return None


def _distro(host: Host, receipt: Receipt, shells_wanted: Callable[[], bool], why: str) -> NixSource:
    manager = packages.detect(host)
    if manager is None:
        raise NixadminError(
            "no package manager that nixadmin knows is on this host",
            "install Nix yourself and choose --nix existing, or give the path of a tarball",
        )
    earlier = next((e.after for e in receipt.entries.values() if isinstance(e.after, Packages)), None)
    if earlier is not None and _holds_nix(earlier):
        found = _existing(host, why)
        version = found.version if found else _arrival(host, manager, earlier.wanted)[0]
        wanted = earlier.wanted
    else:
        names = (*manager.nix, *(manager.shells[:1] if shells_wanted() else ()))
        if missing := tuple(name for name in names if name not in packages.installed(host, manager, names)):
            version, wanted = _arrival(host, manager, missing)
        else:
            found = _existing(host, why)
            assert found is not None
            return found
    place = Path("/usr/bin")
    brings = Packages(manager=manager.name, wanted=wanted, installed=wanted)
    return NixSource("distro", version, place, place, brings=brings, note=f"{version} from {manager.name}: {why}")


def _arrival(host: Host, manager: packages.Manager, names: Sequence[str]) -> tuple[Version, tuple[str, ...]]:
    """The version of Nix that the manager would install, and all the packages that would come."""
    coming = packages.arrivals(host, manager, names)
    if coming is None:
        raise NixadminError(
            f"{manager.name} does not know of {' and '.join(names)}",
            f"refresh its lists with `{' '.join(manager.refresh)}`, or give --nix the path of a tarball",
        )
    text = next((coming[name] for name in manager.nix if name in coming), None)
    if text is not None:
        return parse(text), tuple(coming)
    found = _existing(host, "")
    if found is None:
        raise NixadminError(f"{manager.name} would not bring Nix with {' and '.join(names)}", "give --nix a tarball")
    return found.version, tuple(coming)


def _tarball(host: Host, receipt: Receipt, origin: str, sha256: str | None) -> NixSource:
    remote = origin.startswith(_REMOTE)
    entry = receipt.entries.get("store-paths nix")
    known = entry.after if entry and isinstance(entry.after, StorePaths) else None
    file = Path(origin)
    stamp = "" if remote else _stamp(file)
    same = known is not None and known.origin == origin
    if known is not None and same and entry is not None and entry.done and (remote or stamp in ("", known.stamp)):
        # The tarball itself is not needed again, and may be gone.
        return _from(known, 0, f"from {origin}, unpacked before", None)
    # What only the first run needs is imported only then.
    from nixadmin.host.tarball import read_contents

    scratch = None
    if remote:
        from tempfile import TemporaryDirectory

        from nixadmin.host.download import download

        sha256 = sha256 or releases.known_sha256(origin)
        if sha256 is None:
            raise UsageError(f"nothing tells what {origin} should hold", "give its digest with --sha256")
        scratch = TemporaryDirectory(prefix="nixadmin-")
        file = Path(scratch.name) / origin.rsplit("/", 1)[-1]
        download(origin, file, sha256, host.progress)
    elif not stamp:
        raise NixadminError(
            f"{origin} is not there", "--nix takes auto, existing, distro, or the path or URL of a tarball"
        )
    contents = read_contents(file)
    if contents.system != system():
        raise NixadminError(
            f"{origin} is for {contents.system}, and this host is {system()}", "take the tarball for this system"
        )
    paths = tuple(Path(one.path.absolute()) for one in contents.registrations)
    nix = STORE / str(contents.nix)
    brings = StorePaths(
        origin=origin,
        file=file,
        sha256=sha256,
        stamp=stamp,
        version=contents.version,
        programs=nix / "bin",
        paths=paths,
        profile=tuple(sorted({nix, *(STORE / str(path) for path in [contents.cacert] if path)})),
    )
    size = sum(one.nar_size for one in contents.registrations)
    return _from(brings, size, f"from {origin}", scratch)


def _from(brings: StorePaths, size: int, why: str, scratch: "TemporaryDirectory[str] | None") -> NixSource:
    version = parse(brings.version)
    return NixSource(
        kind="tarball",
        version=version,
        programs=DEFAULT_PROFILE / "bin",
        first=brings.programs,
        brings=brings,
        profile=brings.profile,
        unpacked_size=size,
        note=f"{version} {why}",
        scratch=scratch,
    )


def _stamp(file: Path) -> str:
    """What changes when a file is replaced; empty if there is none."""
    try:
        status = file.stat()
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"
