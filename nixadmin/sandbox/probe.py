"""The proof of an installation: an ordinary user builds something, and the build tells where it was.

The user may be hostile: what it says is only read, what it leaves is removed without following it anywhere, and
it cannot keep the probe waiting. All it can do is to make the probe of its own build lie.
"""

import re
import secrets
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.accounts import User
from nixadmin.host.session import Ended, run_session
from nixadmin.sandbox.causes import cause
from nixadmin.sandbox.finding import Finding, plain
from nixadmin.sandbox.judgement import judge
from nixadmin.sandbox.leavings import clear_away, per_user
from nixadmin.sandbox.shell import Shell
from nixadmin.sandbox.visitor import Visitor, choose_visitor
from nixadmin.sandbox.witness import EXPRESSION, LONGEST, SCRIPT, Sighting

__all__ = ["Finding", "probe"]

_LOGIN = Path("/etc/profile.d/nixadmin.sh")
_PATH = "/usr/local/bin:/usr/bin:/bin"  # before the login script adds to it
# A daemon that has just been started may still be at it.
_STARTING = 5.0  # seconds
_OUTPUT = re.compile(r"/nix/store/[0-9a-z]{32}-(nixadmin-probe-[0-9a-f]{16})")


def probe(
    host: Host,
    programs: Path,
    pool_uids: Collection[int],
    people: Sequence[User] = (),
    shell: Shell | None = None,
    timeout: float = 60.0,
) -> list[Finding]:
    """Let an ordinary user build something through the daemon, and say what the build saw. Needs root.

    `programs` is the directory of nix-build and nix-store, `pool_uids` are the uids that builds may have, `people` the
    users to choose from: the first whom the daemon lets in, or a uid that nobody has. `shell` is what /bin/sh should
    be. The build may take `timeout` seconds. Nothing of it is left on the host.

    Raises NixadminError in a stand-in root, and when no build can even be tried.
    """
    if host.is_stand_in:
        raise NixadminError("a stand-in root has no daemon to probe", "probe the host itself")
    visitor = choose_visitor(host, people)
    label = visitor.name or str(visitor.account.uid)
    name = f"nixadmin-probe-{secrets.token_hex(8)}"
    had = per_user(host, label)
    with _home(host, visitor, name) as home, _listening() as port:
        try:
            ended = _build(host, programs, visitor, name, home, port, timeout)
            findings = list(_findings(host, ended, visitor, name, pool_uids, shell, timeout))
        finally:
            left = clear_away(host, programs, name, home, label, had)
    if left:
        findings.append(Finding("traces", True, f"left for the next garbage collection: {plain(left)}", "none"))
    return findings


@contextmanager
def _home(host: Host, visitor: Visitor, name: str) -> Iterator[Path]:
    """A home of its own for the visitor, in a directory that only root can rename it in."""
    run = host.files.inode(Path("/run"))
    base = Path("/run" if run and run.kind == "directory" and run.uid == 0 and not run.mode & 0o022 else "/tmp")
    outer = base / name
    host.files.make_directory(outer, 0o711, 0, 0)
    try:
        host.files.make_directory(outer / "home", 0o700, visitor.account.uid, visitor.account.gid)
        yield outer / "home"
    finally:
        host.files.remove_tree(outer)


@contextmanager
def _listening() -> Iterator[int]:
    """A port that the host listens at, which no build may see; 0 where the host has no loopback."""
    try:
        listener = socket.create_server(("127.0.0.1", 0))
    except OSError:
        yield 0
        return
    with listener:
        yield listener.getsockname()[1]


def _build(host: Host, programs: Path, visitor: Visitor, name: str, home: Path, port: int, timeout: float) -> Ended:
    logs_in = host.files.inode(_LOGIN) is not None
    values = {"name": name, "script": SCRIPT, "marker": str(home.parent), "port": str(port), "portHex": f"{port:04X}"}
    words = [
        "nix-build" if logs_in else str(programs / "nix-build"),
        "--no-out-link",
        *("--option", "builders", ""),
        *("--expr", EXPRESSION),
        *(word for key, value in values.items() for word in ("--argstr", key, value)),
    ]
    env = {"HOME": str(home), "TMPDIR": str(home), "PATH": _PATH, "NIX_REMOTE": "daemon", "LC_ALL": "C.UTF-8"}
    if visitor.name:
        env |= {"USER": visitor.name, "LOGNAME": visitor.name}
    login = f'[ ! -r {_LOGIN} ] || . {_LOGIN}; exec "$0" "$@"'
    begun = time.monotonic()
    while True:
        ended = run_session(
            ["/bin/sh", "-c", login, *words], account=visitor.account, env=env, cwd=home, timeout=timeout
        )
        starting = re.search(r"cannot connect to socket.*(No such file|Connection refused)", ended.err, re.DOTALL)
        if not starting or time.monotonic() - begun > min(_STARTING, timeout):
            return ended
        time.sleep(0.1)


def _findings(
    host: Host,
    ended: Ended,
    visitor: Visitor,
    name: str,
    pool_uids: Collection[int],
    shell: Shell | None,
    timeout: float,
) -> Iterator[Finding]:
    who, expected = visitor.label, "a build through the daemon"
    if ended.code is None:
        remedy = "the daemon does not answer: journalctl -u nix-daemon, then systemctl restart nix-daemon"
        yield Finding("build", False, f"no end within {timeout:g} s", expected, remedy)
        return
    if ended.code != 0:
        why = cause(host, ended.err or ended.out, who)
        yield Finding("build", False, why.saw, expected, why.remedy)
        return
    try:
        sighting = _sighting(host, ended.out, name)
    except NixadminError as e:
        yield Finding("build", False, f"{plain(str(e))}: {plain(e.hint or '')}", expected, "run it again")
        return
    yield Finding("build", True, f"{who} built through the daemon, in {ended.seconds:.2f} s", expected)
    yield from judge(host, sighting, pool_uids, shell)


def _sighting(host: Host, out: str, name: str) -> Sighting:
    """What the build wrote. The path comes from the user, so it is believed only when it can be no other file."""
    said = out.strip()
    match = _OUTPUT.fullmatch(said)
    if not match or match[1] != name:
        raise NixadminError("nix-build has named another output than was asked for", said)
    inode = host.files.inode(Path(said))
    if inode is None or inode.kind != "file" or inode.size > LONGEST:
        raise NixadminError("the output of the build is not what was asked for", said)
    return Sighting.read(host.files.read(Path(said)).decode(errors="replace"))
