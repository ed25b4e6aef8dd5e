"""What Nix says when a build through the daemon fails, and what is behind it.

The texts are those of Nix 2.8, 2.26 and 2.34, each one produced by breaking a host that way.
"""

import re
from dataclasses import dataclass

from nixadmin.host import Host
from nixadmin.sandbox.finding import plain
from nixadmin.sandbox.obstacles import obstacles

_LOG = "read its log: journalctl -u nix-daemon"
_AGAIN = "nixadmin provision mends it"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a build failed: `saw` is a phrase, `remedy` what to do."""

    saw: str
    remedy: str


# By pattern, the more telling first; {who} is the user.
_CAUSES = (
    (
        r"cannot connect to socket.*Permission denied",
        "{who} may not reach the daemon's socket",
        "let everybody enter /nix/var/nix/daemon-socket (chmod 0755), or its group (chmod 0750, chgrp)",
    ),
    (
        r"cannot connect to socket.*No such file",
        "the daemon's socket is not there",
        "start it: systemctl start nix-daemon.socket, or service nix-daemon start",
    ),
    (
        r"cannot connect to socket",
        "nobody answers at the daemon's socket",
        "start it: systemctl restart nix-daemon.socket, or service nix-daemon restart",
    ),
    (
        r"cannot open connection to remote store|reading from file: Connection reset|Broken pipe",
        "the daemon turned {who} away",
        f"let allowed-users in /etc/nix/nix.conf name {{who}}, or *; or {_LOG}",
    ),
    (r"build users group '[^']*' has no members", "the group of the build users has no members", _AGAIN),
    (r"group '[^']*' specified in 'build-users-group' does not exist", "there is no group of build users", _AGAIN),
    (
        r"all build users are currently in use",
        "all build users are busy",
        "try again later, or provision more with --build-users",
    ),
    (
        r"executing '/bin/sh'",
        "/bin/sh is not in the sandbox, or needs what is not there",
        f"sandbox-paths in /etc/nix/nix.conf must show a static bash as /bin/sh; {_AGAIN}",
    ),
    (
        r"getting attributes of path|while processing 'sandbox-paths'",
        "a path of sandbox-paths is not on the host",
        f"put it back, or take it out of /etc/nix/nix.conf; {_AGAIN}",
    ),
    (
        r"nix-build: (command )?not found|cannot execute.*nix-build",
        "{who} has no nix-build after logging in",
        f"/etc/profile.d/nixadmin.sh must put it on PATH; {_AGAIN}",
    ),
    (r"syntax error in configuration|unknown setting", "nix.conf is wrong", "mend the line that it names"),
    (r"No space left on device|disk is full", "a file system is full", "free some space on /nix and /tmp"),
    (r"cannot kill processes for uid|cannot change ownership", "the daemon lacks root's capabilities", _LOG),
)
# When one of these is said, the sandbox itself could not be made.
_NO_SANDBOX = re.compile(
    r"kernel namespaces that are required for sandboxing|unable to fork|mounting /proc|cloning builder process"
    r"|unable to start build process|private mount namespace|getting sandbox mount namespace|pivot.?root"
)


def cause(host: Host, said: str, who: str) -> Cause:
    """Why a build failed that made Nix say `said`."""
    text = plain(said, 20_000)
    if _NO_SANDBOX.search(text):
        found = obstacles(host)
        if found:
            remedies = "; ".join(dict.fromkeys(obstacle.remedy for obstacle in found))
            return Cause(f"this host cannot sandbox: {'; '.join(obstacle.what for obstacle in found)}", remedies)
        return Cause(f"the daemon cannot sandbox: {_last_error(said)}", f"its unit may confine it too much; {_LOG}")
    for pattern, saw, remedy in _CAUSES:
        if re.search(pattern, text):
            matches = (re.search(f"(?:{pattern}).*", line) for line in _lines(said))
            words = next((match[0] for match in matches if match), _last_error(said))
            return Cause(f"{saw.format(who=who)} ({words})", remedy.format(who=who))
    return Cause(_last_error(said) or "it failed without a word", _LOG)


def _lines(said: str) -> list[str]:
    return [plain(line) for line in said.splitlines()]


def _last_error(said: str) -> str:
    """The innermost error: Nix gives the outer ones first, and lines of context around them."""
    lines = _lines(said)
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    return next((error for error in reversed(errors) if error), next((line for line in reversed(lines) if line), ""))
