"""What every init can tell about a service, and do to it."""

from dataclasses import dataclass
from typing import Protocol

from nixadmin.host import Host


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as init sees it.

    `since` is when the running daemon was started, in seconds since 1970; None when it does not run.
    `outdated` says that init itself has not read the definition as it now is.
    """

    known: bool
    enabled: bool
    masked: bool
    running: bool
    failed: bool
    since: float | None
    outdated: bool = False


class Supervisor(Protocol):
    """An init. It acts on the stand-in's files only, where the host is a stand-in."""

    def runs(self, host: Host) -> bool:
        """Whether this init runs the host."""
        ...

    def state(self, host: Host, name: str) -> ServiceState:
        """The state of the service of that name."""
        ...

    def enable(self, host: Host, name: str) -> None:
        """Have it started at boot, and start it now."""
        ...

    def disable(self, host: Host, name: str) -> None:
        """Stop it now, and have it started no more."""
        ...

    def start(self, host: Host, name: str) -> None:
        """Start it now."""
        ...

    def restart(self, host: Host, name: str) -> None:
        """Let the daemon begin anew with its present settings. Running builds go on."""
        ...

    def tidy(self, host: Host) -> None:
        """Remove what an `enable` that was killed has left half-made."""
        ...

    def reload(self, host: Host) -> None:
        """Let init read its definitions again."""
        ...
