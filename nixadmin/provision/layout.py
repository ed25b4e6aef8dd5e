"""Where things of a multi-user installation lie."""

from pathlib import Path

STATE = Path("/nix/var/nix")
CACHE = Path("/nix/var/cache")
SOCKET = STATE / "daemon-socket"
PER_USER = (STATE / "profiles/per-user", STATE / "gcroots/per-user")

CONF = Path("/etc/nix")
NIX_CONF = CONF / "nix.conf"
SECRETS = CONF / "nixadmin-secret.conf"
ENVIRONMENT = Path("/etc/default/nix-daemon")
LOGIN = Path("/etc/profile.d/nixadmin.sh")

# What login screens read: SDDM, and those that ask AccountsService (GDM, LightDM). LightDM by itself shows nobody
# without a login shell.
SDDM = Path("/etc/sddm.conf.d/nixadmin.conf")
SDDM_PROGRAM = Path("/usr/bin/sddm")
ACCOUNTS_SERVICE = Path("/var/lib/AccountsService/users")

SERVICE = "nix-daemon"
UNITS = Path("/etc/systemd/system")
SCRIPT = Path("/etc/init.d/nix-daemon")
SYSTEMD_DIRECTORIES = tuple(map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system", str(UNITS))))
# Where a distribution or another installer may have put its own definition of the daemon. Lix since 2.95 has
# a service for each connection.
FOREIGN_DEFINITIONS = {
    "systemd": tuple(
        directory / f"nix-daemon{instance}.service" for directory in SYSTEMD_DIRECTORIES for instance in ("", "@")
    ),
    "sysvinit": (SCRIPT,),
}


def drop_in(unit: Path) -> Path:
    """Where nixadmin adds to somebody else's unit."""
    return UNITS / f"{unit.name}.d" / "nixadmin.conf"


def definitions(init: str, adopted: Path | None) -> tuple[Path, ...]:
    """The files by which init knows the daemon, of those that nixadmin writes."""
    match init:
        case "systemd":
            ours = tuple(UNITS / f"{SERVICE}.{kind}" for kind in ("socket", "service"))
            return ours if adopted is None else (drop_in(adopted),)
        case "sysvinit":
            return (SCRIPT,) if adopted is None else ()
        case _:
            return ()
