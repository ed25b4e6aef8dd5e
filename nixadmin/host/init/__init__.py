"""The init of the host: what starts nix-daemon, and keeps it."""

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.init.service import ServiceState, Supervisor
from nixadmin.host.init.systemd import Systemd
from nixadmin.host.init.sysvinit import Sysvinit

SUPERVISORS: dict[str, type[Supervisor]] = {"systemd": Systemd, "sysvinit": Sysvinit}

__all__ = ["SUPERVISORS", "ServiceState", "Supervisor", "detect", "supervisor"]


def supervisor(name: str) -> Supervisor:
    """The supervisor of that name. Raises NixadminError for one that is not known."""
    try:
        return SUPERVISORS[name]()
    except KeyError:
        raise NixadminError(f"no init is called {name}", f"choose one of {', '.join(SUPERVISORS)}, none") from None


def detect(host: Host) -> str:
    """The name of the init that runs this host, or `none`."""
    return next((name for name, kind in SUPERVISORS.items() if kind().runs(host)), "none")
