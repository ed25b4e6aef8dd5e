"""From what a build saw to what that means."""

from collections.abc import Collection, Iterator
from pathlib import Path

from nixadmin.host import Host
from nixadmin.sandbox.finding import Finding, plain
from nixadmin.sandbox.obstacles import obstacles
from nixadmin.sandbox.shell import Shell
from nixadmin.sandbox.witness import Sighting, read_maps

_CONF = "/etc/nix/nix.conf"


def judge(host: Host, seen: Sighting, pool_uids: Collection[int], shell: Shell | None) -> Iterator[Finding]:
    """Whether the build was sandboxed, by whom it was done, whether it had a network, and what its shell was."""
    yield _sandbox(host, seen)
    yield _build_user(host, seen, pool_uids)
    yield _network(seen)
    yield _shell(seen, shell)


def _sandbox(host: Host, seen: Sighting) -> Finding:
    outside = [thing for thing in seen.outside if thing.startswith("/")]
    ok = seen.pid == 1 and not outside
    paths = f"{seen.paths} path{'' if seen.paths == 1 else 's'} of the store"
    if ok:
        return Finding("sandbox", True, f"it sees /{', /'.join(seen.root)}, {paths}, none of the host", "its own root")
    saw = (
        f"it sees {', '.join(outside)} of the host" if outside else f"it runs among the host's processes, as {seen.pid}"
    )
    found = obstacles(host)
    remedy = f"set sandbox = true and sandbox-fallback = false in {_CONF}, and restart nix-daemon"
    if found:
        remedy += f"; this host cannot sandbox yet: {found[0].what}: {found[0].remedy}"
    return Finding("sandbox", False, saw, "nothing but its inputs", remedy)


def _build_user(host: Host, seen: Sighting, pool_uids: Collection[int]) -> Finding:
    uid = seen.uid_outside(read_maps(host.files.read(Path("/proc/self/uid_map")).decode()))
    user = host.accounts.user_by_id(uid)
    saw = f"uid {uid} ({user.name})" if user else f"uid {uid}"
    remedy = f"set build-users-group in {_CONF} to the group of the build users, and restart nix-daemon"
    return Finding("build user", uid in pool_uids, saw, "a uid of the pool", remedy)


def _network(seen: Sighting) -> Finding:
    outside = [thing for thing in seen.outside if not thing.startswith("/")]
    others = sorted(seen.interfaces - {"lo"})
    ok = not outside and not others
    saw = "only its own loopback" if ok else f"it reaches {', '.join([*outside, *others])}"
    remedy = f"the sandbox is off, or relaxed: set sandbox = true in {_CONF}, and restart nix-daemon"
    return Finding("network", ok, saw, "no network of the host", remedy)


def _shell(seen: Sighting, shell: Shell | None) -> Finding:
    what = f"bash {seen.bash}" if seen.bash else "no bash"
    libraries = sorted(seen.mapped - {"/bin/sh"})
    if shell is None:
        # Mapped under another name, it is not the file that the sandbox shows as /bin/sh, but a link to it.
        expected, ok = "a bash that needs nothing else", bool(seen.bash) and len(seen.mapped) == 1
    elif shell.kind == "store-bash":
        expected, ok = f"bash {shell.version}", seen.bash == shell.version
    else:
        wanted = shell.version if shell.name == "bash" else ""
        same = seen.bash.startswith(wanted) if wanted else bool(seen.bash) == (shell.name == "bash")
        expected, ok = f"{shell.name} {shell.version}, static".replace(" ,", ","), same and len(seen.mapped) == 1
        what = what if seen.bash or shell.name == "bash" else "busybox"
    saw = f"{what}, with {', '.join(libraries)}" if len(seen.mapped) > 1 else f"{what}, static"
    remedy = f"let sandbox-paths in {_CONF} show a static bash as /bin/sh; nixadmin provision does"
    return Finding("shell", ok, plain(saw), expected, remedy)
