"""systemd: a socket that is always open, and a service that it starts."""

import time
from pathlib import Path

from nixadmin.host import Host
from nixadmin.host.init.service import ServiceState

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
        return ServiceState(
            known="loaded" in (socket["LoadState"], service["LoadState"]),
            enabled=socket["UnitFileState"] in ("enabled", "enabled-runtime", "linked"),
            masked="masked" in (socket["LoadState"], service["LoadState"]),
            running=socket["ActiveState"] == "active",
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
        host.run(["systemctl", "enable", "--now", units[0]])  # reads the definitions again by itself

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
            # The socket stays, and starts it again for whoever comes next.
            host.run(["systemctl", "stop" if self.state(host, name).running else "try-restart", f"{name}.service"])

    def reload(self, host: Host) -> None:
        if not host.is_stand_in:
            host.run(["systemctl", "daemon-reload"])


def _since(monotonic_us: str) -> float | None:
    entered = int(monotonic_us or 0)
    if not entered:
        return None
    return time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - entered / 1e6)
