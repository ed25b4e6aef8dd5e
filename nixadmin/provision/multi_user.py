"""The declaration of a multi-user installation: what it consists of, in the order in which it is made."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from nixadmin.config import Config
from nixadmin.engine.resource import Resource
from nixadmin.errors import UsageError
from nixadmin.host.nix import DEFAULT_PROFILE, STORE
from nixadmin.nix.differences import BUILDS_IN_STATE, READS_CURRENT_LOAD, READS_REMOTE_SYSTEMS
from nixadmin.nix.settings import secret
from nixadmin.provision import settings
from nixadmin.provision.layout import (
    ACCOUNTS_SERVICE,
    CACHE,
    ENVIRONMENT,
    LOGIN,
    NIX_CONF,
    PER_USER,
    SDDM,
    SECRETS,
    SERVICE,
    SOCKET,
    STATE,
    definitions,
)
from nixadmin.provision.site import Site
from nixadmin.resources import (
    Block,
    Copy,
    Definition,
    Directory,
    File,
    Packages,
    Profile,
    Service,
    StorePaths,
)
from nixadmin.sandbox.paths import sandbox_paths
from nixadmin.templates import render

# Each build may hold many files and threads, and all builds together share what the daemon has (NixOS/nix#6007).
_LIMITS = {"nofile": 1048576, "tasks": 1048576}
_XDG = "use-xdg-base-directories"
_TEMPLATES = {"nixadmin.conf": "nix-daemon.dropin.j2", SERVICE: "nix-daemon.init.j2"}


def installation(config: Config, site: Site) -> list[Resource]:
    """Declare the installation. Order is the order of creation; removal is its reverse. Pure."""
    files = list(chain(_configuration(config, site), _sandbox(site), _daemon_files(config, site)))
    brings = site.nix.brings
    return [
        *([brings] if isinstance(brings, Packages) else []),
        site.pool,
        *(Directory(path=path) for path in site.absent),
        *_store(config, site),
        *([brings] if isinstance(brings, StorePaths) else []),
        *files,
        *_profile(site),
        *_login(config, site),
        *_login_screens(site),
        *_service(site, files),
    ]


def _store(config: Config, site: Site) -> Iterator[Resource]:
    def data(path: Path, mode: int = 0o755, group: str = "root") -> Directory:
        return Directory(path=path, mode=mode, group=group, data=True)

    yield data(STORE.parent)
    # Sticky, and writable by the group: a build user makes its output there, and cannot touch another's.
    yield data(STORE, 0o1775, site.pool.group)
    for path in ("/nix/var", "/nix/var/log", "/nix/var/log/nix", "/nix/var/log/nix/drvs"):
        yield data(Path(path))
    yield data(STATE)
    for name in ("db", "gcroots", "profiles", "temproots", "userpool"):
        yield data(STATE / name)
    yield data(CACHE)
    yield data(SOCKET, site.socket_mode, site.socket_group)
    for parent in PER_USER:
        yield data(parent, _per_user_mode(config, site))
    if BUILDS_IN_STATE.holds(site.nix.version):
        # No other user may write to it: CVE-2025-46415.
        yield data(STATE / "builds")
    if config.current_load.is_relative_to(STATE):
        yield data(config.current_load)
    yield from site.own_directories


def _per_user_mode(config: Config, site: Site) -> int:
    """Where anybody can make a directory, a user can make another's first: CVE-2019-17365."""
    mode = int(config.per_user_mode, 8)
    if mode & 0o002 and site.nix.version.has("2.3.1"):
        raise UsageError(
            f"{site.nix.version} needs no directory that everybody may write to",
            "leave --per-user-mode at 0755: nixadmin makes each user's own (CVE-2019-17365)",
        )
    return mode


def _configuration(config: Config, site: Site) -> Iterator[Resource]:
    if config.secret_setting:
        hidden = settings.hidden(config, site.nix.version)
        yield File(path=SECRETS, content=render("nix.conf.j2", settings=hidden, secrets=None), mode=0o600)
    paths = " ".join(map(str, sandbox_paths(site.shell)))
    values = settings.wanted(config, paths, site.nix.version, site.adopted_settings)
    secrets = SECRETS if config.secret_setting else None
    yield Block(path=NIX_CONF, content=render("nix.conf.j2", settings=values, secrets=secrets))


def _sandbox(site: Site) -> Iterator[Resource]:
    if site.shell.copy is not None:
        yield Copy(path=site.shell.copy, source=site.shell.source, sha256=site.shell.sha256)


def _daemon_files(config: Config, site: Site) -> Iterator[Resource]:
    if site.init == "none":
        return
    variables = _environment(config, site)
    content = render("nix-daemon.default.j2", environment=variables)
    # A proxy's address may hold a password.
    private = any(secret(name, value) for name, value in variables.items())
    yield File(path=ENVIRONMENT, content=content, mode=0o600 if private else 0o644)
    for path in definitions(site.init, site.adopted_unit):
        content = render(
            _TEMPLATES.get(path.name, f"{path.name}.j2"),
            daemon=site.nix.programs / "nix-daemon",
            environment_file=ENVIRONMENT,
            store_dir=STORE,
            state_dir=STATE,
            **_LIMITS,
        )
        mode = 0o755 if site.init == "sysvinit" else 0o644
        yield Definition(path=path, content=content, mode=mode, init=site.init)


def _environment(config: Config, site: Site) -> dict[str, str]:
    """What the daemon is told by variables; the same file serves every init."""
    variables: dict[str, object] = {
        "NIX_REMOTE_SYSTEMS": config.builders_file if READS_REMOTE_SYSTEMS.holds(site.nix.version) else None,
        "NIX_CURRENT_LOAD": config.current_load if READS_CURRENT_LOAD.holds(site.nix.version) else None,
        # The daemon's notes on binary caches; without it they would lie in root's home.
        "XDG_CACHE_HOME": CACHE,
        "http_proxy": config.proxy,
        "https_proxy": config.proxy,
        "no_proxy": config.no_proxy,
        "NIX_SSL_CERT_FILE": config.ssl_cert_file,
    }
    return {name: str(value) for name, value in variables.items() if value is not None}


def _profile(site: Site) -> Iterator[Resource]:
    if site.nix.profile:
        yield Profile(path=DEFAULT_PROFILE, programs=site.nix.first, packages=site.nix.profile)


def _login(config: Config, site: Site) -> Iterator[Resource]:
    if site.logs_in_by_profile:
        channel = None if config.channel == "none" else f"{config.channel} nixpkgs"
        xdg = config.setting.get(_XDG) or site.adopted_settings.get(_XDG)
        content = render(
            "profile.sh.j2",
            channel=channel,
            version=site.nix.version,
            certificates=config.ssl_cert_file,
            xdg=xdg == "true",
        )
        yield File(path=LOGIN, content=content)


def _login_screens(site: Site) -> Iterator[Resource]:
    """Keep the build users off them: their uids are those of people (NixOS/nix#7068)."""
    if site.has_sddm:
        shells = ",".join(sorted({user.shell for user in site.pool.users}))
        yield File(path=SDDM, content=f"# Written by nixadmin\n[Users]\nHideShells={shells}\n")
    if site.has_accounts_service:
        for user in site.pool.users:
            yield File(path=ACCOUNTS_SERVICE / user.name, content="[User]\nSystemAccount=true\n")


def _service(site: Site, files: list[Resource]) -> Iterator[Resource]:
    if site.init == "none":
        return
    yield Service(
        name=SERVICE,
        init=site.init,
        reads=tuple(file.path for file in files if isinstance(file, File | Block)),
        depends=tuple(file.id for file in files),
    )
