"""Running a program for somebody who is not trusted: what it does, says and leaves behind has bounds."""

import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host.processes import Account

_GRACE = 0.2  # seconds for what is in the pipes when the program has ended
_PATIENCE = 10.0  # seconds for a look at somebody's home
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended. `code` is None when it took too long; a negative one is the signal that killed it."""

    code: int | None
    out: str
    err: str
    seconds: float


def run_session(
    argv: Sequence[str], *, account: Account, env: Mapping[str, str], cwd: Path, timeout: float, limit: int = 2**18
) -> Ended:
    """Run a program in a session of its own, with no more environment than `env`, for at most `timeout` seconds.

    When it ends, or takes too long, all that is left of its process group is killed. Of each stream, `limit`
    bytes are kept. A process that has fled into another session and holds the pipes open is not waited for.

    Raises NixadminError when the program cannot be started.
    """
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            umask=0o077,
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise NixadminError(f"cannot run {argv[0]} as uid {account.uid}: {e}", "run this as root") from e
    try:
        out, err = _listen(process, started + timeout, limit)
    finally:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        # Not reaped yet, so its number is still its own, and its group's.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        code = process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
    return Ended(code if ended else None, out, err, time.monotonic() - started)


def _listen(process: subprocess.Popen[bytes], deadline: float, limit: int) -> tuple[str, str]:
    assert process.stdout and process.stderr
    heard = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    # Readable once the program has ended, whoever else may still hold its pipes.
    end = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            for descriptor in (*heard, end):
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    break
                for key, _ in ready:
                    if key.fd == end:
                        deadline = min(deadline, time.monotonic() + _GRACE)
                    if key.fd == end or not _read(key.fd, heard[key.fd], limit):
                        selector.unregister(key.fd)
    finally:
        os.close(end)
    out, err = (bytes(said).decode(errors="replace") for said in heard.values())
    return out, err


def _read(pipe: int, into: bytearray, limit: int) -> bool:
    """Read on; False at its end."""
    part = os.read(pipe, _CHUNK)
    into += part[: max(0, limit - len(into))]
    return bool(part)


def as_account(account: Account, ask: Callable[[], Sequence[str]]) -> tuple[str, ...]:
    """What `ask` answers in a process of its own that has the account's rights, and no others.

    Whatever the account's owner has planted, it leads no further than the owner could go. A process that fails
    answers nothing. Without root's rights, the question is asked as who we are.
    """
    if os.geteuid() != 0:
        return tuple(ask())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(account.groups)
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)
            os.write(writer, "\0".join(ask()).encode("utf-8", "surrogateescape")[:_CHUNK])
            code = 0
        finally:
            os._exit(code)  # no clean-up of the parent's is to run twice
    os.close(writer)
    with open(reader, "rb") as answers:
        # A home may be a file system that its owner serves, and never answers from.
        ready, _, _ = select.select([answers], [], [], _PATIENCE)
        if not ready:
            os.kill(child, signal.SIGKILL)
        said = answers.read().decode("utf-8", "surrogateescape")
    os.waitpid(child, 0)
    return tuple(said.split("\0")) if said else ()
