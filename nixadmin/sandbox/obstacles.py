"""What keeps a host from sandboxing builds: sysctls, a masked /proc, a container's capabilities, seccomp.

Nix gives each build namespaces of its own (mount, PID, network, IPC, UTS), inside a user namespace where the host
has those, and mounts a /proc of its own. The daemon is root: without user namespaces it does the same with
CAP_SYS_ADMIN, so that `user.max_user_namespaces = 0` alone is no obstacle (seen with Nix 2.8, 2.26 and 2.34).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host

_NAMESPACES = {"mnt": "mount", "pid": "PID", "net": "network", "ipc": "IPC", "uts": "UTS"}
_UNSHARE = ("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--mount-proc")
_IN_USER_NAMESPACE = ("--user", "--map-root-user")
_TRUE = ("/bin/sh", "-c", ":")
_PATIENCE = 10.0  # seconds
_CAP_SYS_ADMIN = 21  # capabilities(7)
_SECCOMP_FILTER = "2"  # seccomp(2): SECCOMP_MODE_FILTER
# What forbids user namespaces to those without CAP_SYS_ADMIN: the file, what it holds then, how to allow them.
_USER_NAMESPACE_SYSCTLS = (
    ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=65536"),
    ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that allows userns",
    ),
)
_LASTING = "and in /etc/sysctl.d"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason why this host cannot sandbox builds, and what to do about it."""

    what: str
    remedy: str


def obstacles(host: Host) -> tuple[Obstacle, ...]:
    """What keeps this host from sandboxing builds; nothing when a try of the same namespaces succeeds.

    Only root can try; for anybody else, and for a stand-in root, only what is certain without a try is named.
    """
    if host.is_stand_in:
        return ()
    certain = tuple(_certain(host))
    if certain or os.geteuid() != 0:
        return certain
    with_user, said = _try(host, *_IN_USER_NAMESPACE)
    if with_user:
        return ()
    without_user, said_without = _try(host)
    if not _user_namespaces(host):
        return () if without_user else tuple(_for_want_of_privilege(host, said_without))
    masks = tuple(_masks(host))
    if masks:
        return (_masked(masks, without_user),)
    return tuple(_for_want_of_privilege(host, said))


def user_namespace_sysctls(host: Host) -> tuple[Obstacle, ...]:
    """The sysctls that forbid user namespaces to those without CAP_SYS_ADMIN."""
    return tuple(
        Obstacle(f"{name} is {forbids}", f"{remedy}, {_LASTING}")
        for name, forbids, remedy in _USER_NAMESPACE_SYSCTLS
        if _sysctl(host, name) == forbids
    )


def _certain(host: Host) -> Iterator[Obstacle]:
    for short, name in _NAMESPACES.items():
        sysctl = f"user.max_{short}_namespaces"
        if _sysctl(host, sysctl) == "0":
            yield Obstacle(f"{sysctl} is 0", f"sysctl -w {sysctl}=65536, {_LASTING}")
        elif host.files.inode(Path("/proc/self/ns")) and host.files.inode(Path("/proc/self/ns", short)) is None:
            yield Obstacle(f"the kernel has no {name} namespaces", "boot a distribution's kernel")


def _try(host: Host, *more: str) -> tuple[bool, str]:
    try:
        done = host.run([*_UNSHARE, *more, *_TRUE], ok=range(-64, 256), timeout=_PATIENCE)
    except NixadminError:
        return True, ""  # without unshare(1) nothing can be said, and so nothing is
    return done.code == 0, done.err.strip()


def _user_namespaces(host: Host) -> bool:
    try:
        return host.run(["unshare", *_IN_USER_NAMESPACE, *_TRUE], ok=range(-64, 256), timeout=_PATIENCE).code == 0
    except NixadminError:
        return False


def _masks(host: Host) -> Iterator[str]:
    """What is mounted over parts of /proc, as containers do to hide them: mountinfo in proc(5)."""
    for line in _read(host, "/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        # binfmt_misc lies over a directory that is always empty, and so hides nothing.
        if len(fields) > 4 and fields[4].startswith("/proc/") and fields[4] != "/proc/sys/fs/binfmt_misc":
            yield fields[4]


def _masked(masks: tuple[str, ...], without_user: bool) -> Obstacle:
    # The kernel lets a user namespace mount a /proc only where all of it is visible already (NixOS/nix#13128).
    named = f"{', '.join(masks[:3])}{', …' if len(masks) > 3 else ''}"
    what = f"parts of /proc are masked ({named}), so that no build can mount one of its own"
    if without_user:
        return Obstacle(
            what,
            "unmount these before the daemon starts, or do without user namespaces: "
            f"sysctl -w user.max_user_namespaces=0, {_LASTING}",
        )
    return Obstacle(
        what,
        "run the container with all of /proc visible: docker run --security-opt systempaths=unconfined, "
        "podman run --security-opt unmask=ALL, or lxc with nesting",
    )


def _for_want_of_privilege(host: Host, said: str) -> Iterator[Obstacle]:
    status = dict(line.split(":", 1) for line in _read(host, "/proc/self/status").splitlines() if ":" in line)
    if not int(status.get("CapBnd", "0").strip() or "0", 16) >> _CAP_SYS_ADMIN & 1:
        yield Obstacle("root lacks CAP_SYS_ADMIN here, as in most containers", "run the container with --privileged")
        yield from user_namespace_sysctls(host)
    if status.get("Seccomp", "").strip() == _SECCOMP_FILTER:
        yield Obstacle(
            "a seccomp filter is in force, and may forbid clone, unshare or mount",
            "run the container with a filter that allows them: --security-opt seccomp=unconfined",
        )
    yield Obstacle(f"unshare says: {said.splitlines()[-1]}" if said else "unshare fails", "try it: " + " ".join(
        [*_UNSHARE, *_IN_USER_NAMESPACE, "true"]
    ))  # fmt: skip


def _sysctl(host: Host, name: str) -> str:
    return _read(host, f"/proc/sys/{name.replace('.', '/')}").strip()


def _read(host: Host, path: str) -> str:
    try:
        return host.files.read(Path(path)).decode(errors="replace")
    except OSError:
        return ""
