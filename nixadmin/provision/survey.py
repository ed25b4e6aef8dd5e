"""Looking at the host before anything is declared for it. Nothing here changes it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from nixadmin.config import Config
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host import Host
from nixadmin.host.accounts import User
from nixadmin.host.init import detect
from nixadmin.nix import conf
from nixadmin.nix.conf import strip_block
from nixadmin.provision import ids, settings, source
from nixadmin.provision.layout import (
    ACCOUNTS_SERVICE,
    ENVIRONMENT,
    FOREIGN_DEFINITIONS,
    LOGIN,
    NIX_CONF,
    PER_USER,
    SDDM,
    SDDM_PROGRAM,
    SOCKET,
    SYSTEMD_DIRECTORIES,
    definitions,
)
from nixadmin.provision.site import Site
from nixadmin.provision.users import own_directories
from nixadmin.resources import Directory, Packages, Pool
from nixadmin.resources.block import NAME
from nixadmin.resources.pool import in_order
from nixadmin.sandbox.shell import Shell, find_shell

_DPKG = Path("/var/lib/dpkg/status")
_CONF_OWNERS = (
    "nix-bin",
    "nix-setup-systemd",
)  # Debian packages that have brought a nix.conf, in one release or another
_PACKAGED_SHELLS = {"bash-static": Path("/bin/bash-static")}


def survey(host: Host, config: Config, receipt: Receipt) -> Site:
    """Look at the host and make the choices that the administrator left open.

    What an earlier run has chosen, as the receipt tells, is chosen again.

    Raises NixadminError when something that is wished for cannot be had.
    """
    nix = source.choose(host, config, receipt, shells_wanted=lambda: _found_shell(host, config, ()) is None)
    pool = _pool(host, config, receipt)
    init = detect(host) if config.init == "auto" else config.init
    shell = _shell(host, config, nix)
    adopted = _adopted_settings(host)
    unit = _adopted_unit(host, receipt, init)
    mode, group = _socket_access(host, receipt)
    people = tuple(ordinary_users(host, pool.pool))
    sddm = host.files.inode(SDDM_PROGRAM) is not None
    environment = ENVIRONMENT if init != "none" else None
    # A host that lost the directory since is to get it back.
    login = LOGIN if host.files.inode(LOGIN.parent) is not None or f"file {LOGIN}" in receipt.entries else None
    maybe = (NIX_CONF, *definitions(init, unit), environment, shell.copy, SDDM if sddm else None, login)
    files = [path for path in maybe if path is not None]
    return Site(
        nix=nix,
        pool=pool.pool,
        init=init,
        shell=shell,
        people=people,
        own_directories=tuple(_own_directories(host, receipt, people)),
        absent=tuple(_absent(host, receipt, files)),
        logs_in_by_profile=login is not None,
        has_sddm=sddm,
        has_accounts_service=host.files.inode(ACCOUNTS_SERVICE) is not None,
        adopted_unit=unit,
        adopted_settings=adopted,
        socket_mode=mode,
        socket_group=group,
        notes=(nix.note, *pool.notes, *_notes(config, init, shell, adopted, unit, group)),
    )


def ordinary_users(host: Host, pool: Pool) -> Iterator[User]:
    """Those who log in on this host and are neither system accounts nor build users."""
    limits = host.accounts.login_defs()
    builders = {user.name for user in pool.users}
    for user in host.accounts.users():
        if limits["UID_MIN"] <= user.uid <= limits["UID_MAX"] and user.logs_in and user.name not in builders:
            yield user


def _pool(host: Host, config: Config, receipt: Receipt) -> ids.Choice:
    entry = receipt.entries.get(f"pool {config.build_group}")
    made = [pool for pool in (entry.after, *entry.earlier) if isinstance(pool, Pool)] if entry else []
    users = {user.name: user for pool in made for user in pool.users}
    # A run that was killed may have left more, or fewer, than it was asked for.
    known = made[0].model_copy(update={"users": in_order(users.values())}) if made else None
    original = entry.before if entry and isinstance(entry.before, Pool) else None
    jobs = config.max_jobs if isinstance(config.max_jobs, int) else 0
    wish = ids.Wish(config.build_group, config.gid, config.first_uid, config.build_users, jobs)
    return ids.choose(host.accounts, wish, known, original)


def _shell(host: Host, config: Config, nix: source.NixSource) -> Shell:
    if found := _found_shell(host, config, nix.store_paths):
        return found
    if config.sandbox_shell == "auto" and isinstance(nix.brings, Packages):
        for package, place in _PACKAGED_SHELLS.items():
            if package in nix.brings.wanted:
                return Shell(place, "static-bash", "", f"comes with the package {package}", promised=True)
    return find_shell(host, config.sandbox_shell, nix.store_paths, nix.first)  # for its error


def _found_shell(host: Host, config: Config, store_paths: tuple[Path, ...]) -> Shell | None:
    try:
        return find_shell(host, config.sandbox_shell, store_paths)
    except NixadminError:
        return None


def _adopted_settings(host: Host) -> dict[str, str]:
    """What nix.conf says outside our block, unless the distribution said it and nobody since."""

    def read(path: Path) -> str:
        text = host.files.read(path).decode(errors="replace")
        return strip_block(text, NAME) if path == NIX_CONF else text

    if _is_as_packaged(host):
        return {}
    return conf.effective(conf.load(NIX_CONF, read))


def _is_as_packaged(host: Host) -> bool:
    """Whether nix.conf is what the distribution's package brought: its choice, and no administrator's."""
    if host.is_stand_in or host.files.inode(NIX_CONF) is None or host.files.inode(_DPKG) is None:
        return False
    text = strip_block(host.files.read(NIX_CONF).decode(errors="replace"), NAME)
    if not text.strip():
        return False  # nothing but our block: there is nobody to ask dpkg about
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    said = host.run(["dpkg-query", "--show", "--showformat", "${Conffiles}\n", *_CONF_OWNERS], ok=(0, 1)).out
    return f"{NIX_CONF} {digest}" in said


def _adopted_unit(host: Host, receipt: Receipt, init: str) -> Path | None:
    """A definition of the daemon that nixadmin did not write.

    Raises ConflictError for half of one: a service of systemd's without a socket.
    """
    for path in FOREIGN_DEFINITIONS.get(init, ()):
        if host.files.inode(path) is not None and f"definition {path}" not in receipt.entries:
            sockets = [directory / "nix-daemon.socket" for directory in SYSTEMD_DIRECTORIES]
            if init == "systemd" and not any(host.files.inode(socket) for socket in sockets):
                raise ConflictError(
                    f"{path} starts a Nix daemon without a socket, which nixadmin cannot build upon",
                    f"move it away, and nixadmin writes both: mv {path} /root",
                )
            return path
    return None


def _socket_access(host: Host, receipt: Receipt) -> tuple[int, str]:
    """Who may reach the daemon: whoever may enter this directory. A choice of somebody else's is kept."""
    entry = receipt.entries.get(f"directory {SOCKET}")
    if entry is not None and isinstance(entry.after, Directory):
        return entry.after.mode, entry.after.group
    there = Directory(path=SOCKET).observe(host)
    return (there.mode, there.group) if there else (0o755, "root")


def _own_directories(host: Host, receipt: Receipt, people: Iterable[User]) -> Iterator[Directory]:
    """The directories of root, of the people, and of those who had some already, even if they are gone."""
    remembered: dict[str, User | None] = {user.name: user for user in people}
    remembered["root"] = host.accounts.user("root")
    for entry in receipt.entries.values():
        if isinstance(entry.after, Directory) and entry.after.path.parent in PER_USER:
            remembered.setdefault(entry.after.path.name, host.accounts.user(entry.after.path.name))
    for name, user in sorted(remembered.items()):
        if user is not None:
            yield from own_directories(host, name)
            continue
        for parent in PER_USER:
            # Its owner is a number by now; `users remove` retires it.
            if (left := Directory(path=parent / name, data=True).observe(host)) is not None:
                yield left


def _absent(host: Host, receipt: Receipt, files: Iterable[Path]) -> Iterator[Path]:
    """Directories above the files that are not there, or that nixadmin has made, outermost first."""
    above = {parent for file in files for parent in file.parents if parent != Path("/")}
    for path in sorted(above):
        if f"directory {path}" in receipt.entries or host.files.inode(path) is None:
            yield path


def _notes(
    config: Config, init: str, shell: Shell, adopted: Mapping[str, str], unit: Path | None, group: str
) -> Iterator[str]:
    yield f"/bin/sh of the sandbox: {shell.source}: {shell.reason}"
    if shell.warning:
        yield shell.warning
    if unit is not None:
        yield f"{unit} is there already: it is adopted, with a drop-in for what nixadmin sets"
    if group != "root":
        yield f"only members of {group} may use the daemon, as {SOCKET} says; it stays so"
    if init == "none":
        yield "no init that nixadmin knows runs here: start `nix-daemon --daemon`, then nixadmin verify --probe"
    yield from settings.notes(config, adopted)
