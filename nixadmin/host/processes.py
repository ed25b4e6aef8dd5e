"""Running other programs."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError

# What every program that nixadmin runs is given: the caller's environment (its LD_PRELOAD, NIX_REMOTE,
# BASH_ENV or locale) must not change what they do or print.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}
# Except for what says how the outside world is reached.
PASSED_ON = frozenset(
    {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"}
    | {"NIX_SSL_CERT_FILE", "SSL_CERT_FILE"}
)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a process runs as: numbers, so that it needs no entry in passwd."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """A process that has ended: its exit code is an answer, its stderr is not a failure."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """A fresh copy of the environment that nixadmin gives to other programs."""
    # An ordinary user (plan, verify) may not look into root's home, and Nix stops where it may not look.
    home = {} if os.geteuid() == 0 else {"HOME": "/"}
    return ENVIRONMENT | home | {name: value for name, value in os.environ.items() if name in PASSED_ON}


def run(
    argv: Sequence[str | Path],
    *,
    ok: Sequence[int] = (0,),
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run a program to its end and return what it said.

    `env` is added to `environment()`. `ok` holds the exit codes that are an answer. `timeout` is in seconds.

    Raises NixadminError when the program is missing, takes too long or ends with another exit code.
    """
    words = tuple(str(word) for word in argv)
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment() | dict(env or {}),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            cwd=cwd,
            timeout=timeout,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=account.groups if account else None,
        )
    except FileNotFoundError as e:
        raise NixadminError(f"{words[0]} is not on this host", f"install it, or look at PATH={PATH}") from e
    except PermissionError as e:
        raise NixadminError(f"cannot run {words[0]}: {e.strerror}", "look at its mode and its mount") from e
    except subprocess.TimeoutExpired as e:
        raise NixadminError(f"`{shlex.join(words)}` did not end within {timeout:g} s") from e
    if done.returncode not in ok:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise NixadminError(f"`{shlex.join(words)}` exited {done.returncode}", said or None)
    return Completed(words, done.returncode, done.stdout, done.stderr)
