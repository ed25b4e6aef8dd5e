"""sysvinit: a script in /etc/init.d, and links to it for each runlevel."""

import re
import shutil
from pathlib import Path

from nixadmin.host import Host
from nixadmin.host.init.service import ServiceState
from nixadmin.host.processes import PATH

SCRIPTS = Path("/etc/init.d")
RUNLEVELS = tuple(Path(f"/etc/rc{level}.d") for level in "0123456S")
_BOOT = tuple(Path(f"/etc/rc{level}.d") for level in "2345")


class Sysvinit:
    def runs(self, host: Host) -> bool:
        if host.files.inode(SCRIPTS) is None or host.files.inode(Path("/etc/rc2.d")) is None:
            return False
        if host.is_stand_in:
            return host.files.inode(Path("/etc/inittab")) is not None
        return Path("/proc/1/comm").read_text().strip() == "init"

    def state(self, host: Host, name: str) -> ServiceState:
        script = host.files.inode(SCRIPTS / name)
        starts = [level for level in _BOOT if any(_is_link(entry, name, "S") for entry in host.files.names(level))]
        since = None if host.is_stand_in else self._started(host, name)
        return ServiceState(
            known=script is not None,
            enabled=len(starts) == len(_BOOT),
            masked=script is not None and not script.mode & 0o100,
            running=bool(starts) if host.is_stand_in else since is not None,
            failed=False,
            since=since,
        )

    def _started(self, host: Host, name: str) -> float | None:
        # By the pid file, which the script writes as it starts the daemon. The kernel tells when a process began by
        # the time of boot, in whole seconds: too coarse to compare with a file that was written just before.
        path = Path(f"/run/{name}.pid")
        inode = host.files.inode(path)
        try:
            pid = int(host.files.read(path))
            is_daemon = Path(f"/proc/{pid}/comm").read_text().strip() == name  # or another program has its pid by now
        except (OSError, ValueError):
            return None
        return inode.mtime_ns / 1e9 if inode is not None and is_daemon else None

    def enable(self, host: Host, name: str) -> None:
        self._links(host, name, on=True)
        self.start(host, name)

    def disable(self, host: Host, name: str) -> None:
        if not host.is_stand_in and host.files.inode(SCRIPTS / name):
            host.run([SCRIPTS / name, "stop"])
        self._links(host, name, on=False)

    def start(self, host: Host, name: str) -> None:
        if not host.is_stand_in:
            host.run([SCRIPTS / name, "start"])

    def restart(self, host: Host, name: str) -> None:
        if not host.is_stand_in:
            host.run([SCRIPTS / name, "restart"])

    def tidy(self, host: Host) -> None:
        """Nothing to do: links are made one by one, and `disable` finds each."""

    def reload(self, host: Host) -> None:
        """Let insserv number the links of the other scripts as if one that has gone had never been there.

        While a script is there, `update-rc.d remove` only takes its own links out. sysvinit itself reads its scripts
        each time.
        """
        if not host.is_stand_in and shutil.which("insserv", path=PATH):
            host.run(["insserv"])

    def _links(self, host: Host, name: str, *, on: bool) -> None:
        if not host.is_stand_in and shutil.which("update-rc.d", path=PATH):
            host.run(["update-rc.d", name, "defaults"] if on else ["update-rc.d", "-f", name, "remove"])
        elif not host.is_stand_in and shutil.which("chkconfig", path=PATH):
            host.run(["chkconfig", "--add" if on else "--del", name])
        else:
            self._plain_links(host, name, on=on)

    def _plain_links(self, host: Host, name: str, *, on: bool) -> None:
        for level in RUNLEVELS:
            for entry in host.files.names(level):
                if _is_link(entry, name, "SK"):
                    host.files.remove(level / entry)
            if on and host.files.inode(level) and level.name != "rcS.d":
                order = "S20" if level in _BOOT else "K80"
                host.files.link(level / f"{order}{name}", f"../init.d/{name}")


def _is_link(entry: str, name: str, kinds: str) -> bool:
    return re.fullmatch(rf"[{kinds}]\d\d{re.escape(name)}", entry) is not None
