"""systemd: a socket that is always open, and a service that it starts."""

import time
from pathlib import Path

from nixadmin.host import Host
from nixadmin.host.init.service import ServiceState

_UNITS = Path("/etc/systemd/system")
_SHOWN = ("LoadState", "UnitFileState", "ActiveState", "NeedDaemonReload", "ActiveEnterTimestampMonotonic")


class Systemd:
    def runs(self, host: Host) -> bool:
        # sd_booted(3)
        return host.files.inode(Path("/run/systemd/system")) is not None

    def state(self, host: Host, name: str) -> ServiceState:
        if host.is_stand_in:
            return self._state_of_files(host, name)
        shown = host.run(["systemctl", "show", "--property", ",".join(_SHOWN), f"{name}.socket", f"{name}.service"])
        socket, service = (
            dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
            for unit in shown.out.strip().split("\n\n")
        )
        running = service["ActiveState"] in ("active", "reloading", "deactivating")
        # Either listens. A socket whose service runs already refuses to: so it is on Debian 12 when nix-setup-systemd
        # has just been installed, and all is well from the next boot on.
        listens = socket["ActiveState"] == "active" or running
        return ServiceState(
            known="loaded" in (socket["LoadState"], service["LoadState"]),
            enabled=socket["UnitFileState"] in ("enabled", "enabled-runtime", "linked"),
            masked="masked" in (socket["LoadState"], service["LoadState"]),
            running=listens,
            failed="failed" in (socket["ActiveState"], service["ActiveState"]),
            since=_since(service["ActiveEnterTimestampMonotonic"]) if running else None,
            outdated="yes" in (socket["NeedDaemonReload"], service["NeedDaemonReload"]),
        )

    def _state_of_files(self, host: Host, name: str) -> ServiceState:
        asked = host.run(["systemctl", f"--root={host.root}", "is-enabled", f"{name}.socket"], ok=range(256))
        answer = asked.out.strip()
        return ServiceState(
            known=answer not in ("", "not-found"),
            enabled=answer == "enabled",
            masked=answer == "masked",
            running=answer == "enabled",
            failed=False,
            since=None,
        )

    def enable(self, host: Host, name: str) -> None:
        units = (f"{name}.socket", f"{name}.service")
        if host.is_stand_in:
            host.run(["systemctl", f"--root={host.root}", "unmask", *units])
            host.run(["systemctl", f"--root={host.root}", "enable", units[0]])
            return
        state = self.state(host, name)
        if state.masked:
            host.run(["systemctl", "unmask", *units])
        if state.failed:
            host.run(["systemctl", "reset-failed", *units])
        # Reads the definitions again by itself.
        host.run(["systemctl", "enable", *([] if state.running else ["--now"]), units[0]])

    def disable(self, host: Host, name: str) -> None:
        if host.is_stand_in:
            host.run(["systemctl", f"--root={host.root}", "disable", f"{name}.socket"])
            return
        # The socket first: it would start the service again.
        host.run(["systemctl", "disable", "--now", f"{name}.socket"], ok=(0, 1, 5))
        host.run(["systemctl", "stop", f"{name}.service"], ok=(0, 5))

    def start(self, host: Host, name: str) -> None:
        if not host.is_stand_in:
            host.run(["systemctl", "start", f"{name}.socket"])

    def restart(self, host: Host, name: str) -> None:
        if not host.is_stand_in:
            self.reload(host)
            listens = host.run(["systemctl", "is-active", f"{name}.socket"], ok=range(256)).code == 0
            # An open socket starts it again for whoever comes next.
            host.run(["systemctl", "stop" if listens else "try-restart", f"{name}.service"])

    def tidy(self, host: Host) -> None:
        """Directories for links that were never made; systemctl too removes them when their last link goes."""
        for name in host.files.names(_UNITS):
            directory = _UNITS / name
            if name.endswith((".wants", ".requires")) and not host.files.names(directory):
                inode = host.files.inode(directory)
                if inode is not None and inode.kind == "directory":
                    host.files.remove(directory)

    def reload(self, host: Host) -> None:
        if not host.is_stand_in:
            host.run(["systemctl", "daemon-reload"])


def _since(monotonic_us: str) -> float | None:
    entered = int(monotonic_us or 0)
    if not entered:
        return None
    return time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - entered / 1e6)
