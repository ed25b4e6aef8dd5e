"""A process that dies when it has changed the host for the n-th time: after a system call, in one, or in a program."""

# ruff: noqa: ANN401 - it stands in for calls of any kind

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from nixadmin.engine.change import Change

# All by which Python changes a file system; what is synced is the same before and after, to who is killed.
_CALLS = (
    *("chmod", "chown", "fchmod", "fchown", "ftruncate", "lchown", "link", "mkdir", "open", "pwrite", "remove"),
    *("removexattr", "rename", "replace", "rmdir", "setxattr", "symlink", "truncate", "unlink", "utime", "write"),
)
# Programs that only look. All others may change something.
_LOOKS = frozenset({"--check-validity", "--version", "is-enabled", "-p"})

# after: when the call has been made; torn: when a file was made and a part of it written; inside: while a program
# runs, which dies too (as by a power cut or a killed process group); alone: while a program runs, which goes on.
How = Literal["after", "torn", "inside", "alone"]


@dataclass(frozen=True, slots=True)
class Event:
    """One change to the host: during which change of the plan, by which call, from which module, for how long."""

    during: str
    call: str
    what: str
    module: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Death:
    """Where a process is to die: at the event of this number (from 0), `delay` seconds into a program."""

    number: int
    how: How = "after"
    delay: float = 0.0


@dataclass(slots=True)
class Fate:
    """Counts the changes that this process makes, and ends it where it was decided; without a death, it notes them."""

    death: Death | None = None
    events: list[Event] = field(default_factory=list)
    during: str = ""
    ignored: str = ""  # the id of a change that does not count
    _count: int = 0
    _pid: int = field(default_factory=os.getpid)

    def tell(self, _place: int, _of: int, change: Change) -> None:
        self.during = change.subject.id

    def begin(self) -> None:
        """From here on, in this process, every change counts."""
        self._pid = os.getpid()
        for name in _CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))
        subprocess.run = self._counted_program(subprocess.run)

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **given: Any) -> Any:
            if os.getpid() != self._pid:  # in a process that asks as another user
                return call(*args, **given)
            result = call(*args, **given)
            creates = name == "open" and args[1] & os.O_CREAT
            if name == "open" and not creates:
                return result
            if name in ("write", "pwrite") and not stat.S_ISREG(os.fstat(args[0]).st_mode):
                return result
            if self.ignored == self.during != "":
                return result
            if self._is_fatal("after", "torn"):
                if self.death and self.death.how == "torn":
                    os.pwrite.__wrapped__(result, b"tor", 0)  # type: ignore[attr-defined]
                _die()
            frame = sys._getframe(1)
            self._note(Event(self.during, name, str(args[0])[-90:], frame.f_globals["__name__"]))
            return result

        counted.__wrapped__ = call  # type: ignore[attr-defined]
        return counted

    def _counted_program(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def counted(argv: tuple[str, ...], **given: Any) -> Any:
            if looks(argv) or os.getpid() != self._pid:
                return run(argv, **given)
            if self.ignored == self.during != "":
                return run(argv, **given)
            if self._is_fatal("inside", "alone"):
                self._die_in(argv, given)
            started = time.monotonic()
            done = run(argv, **given)
            if self._is_fatal("after"):
                _die()
            words = [word for word in argv if "/" not in word]
            self._note(Event(self.during, "run", " ".join(words)[:90], "program", time.monotonic() - started))
            return done

        return counted

    def _die_in(self, argv: tuple[str, ...], given: dict[str, Any]) -> None:
        assert self.death
        given = {name: given[name] for name in ("env", "cwd", "user", "group", "extra_groups")}
        program = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True, **_quiet(), **given)
        if stdin := sys._getframe(2).f_locals.get("stdin"):
            assert program.stdin
            program.stdin.write(stdin.encode())
        if program.stdin:
            program.stdin.close()
        time.sleep(self.death.delay)
        if self.death.how == "inside":
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        _die()

    def _is_fatal(self, *how: How) -> bool:
        return self.death is not None and self._count == self.death.number and self.death.how in how

    def _note(self, event: Event) -> None:
        self._count += 1
        if self.death is None:
            self.events.append(event)


def looks(argv: tuple[str, ...]) -> bool:
    """Whether a program that is run like this only looks, and changes nothing."""
    return not _LOOKS.isdisjoint(argv)


def _quiet() -> dict[str, Any]:
    return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deaths(events: list[Event], *, every: int) -> list[Death]:
    """Where to die so that nothing is left out; among hundreds alike, in the store, at each `every`-th."""
    found: list[Death] = []
    for number, event in enumerate(events):
        alike = event.module.endswith("store_writer") or event.during == "directory /nix/store"
        if alike and number % every and event.call != "mkdir":
            continue
        if event.call == "run":
            found += [Death(number, "inside", event.seconds * part) for part in (0.25, 0.5, 0.75)]
            found.append(Death(number, "alone", event.seconds * 0.3))
        if event.call == "open":
            found.append(Death(number, "torn"))
        found.append(Death(number))
    return found
