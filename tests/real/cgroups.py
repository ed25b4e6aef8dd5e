"""Control groups for booted hosts: one in every mounted hierarchy, of version 1, 2 or both."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def create(name: str) -> list[Path]:
    """Make the group `name` below this process's own in every mounted hierarchy, and return them."""
    for parent in _own():
        for group in parent.glob("nixadmin-*"):
            if _is_stale(group):
                _remove(group)
    groups = [parent / name for parent in _own()]
    for group in groups:
        group.mkdir(exist_ok=True)
        for setting in (
            "cpuset.cpus",
            "cpuset.mems",
        ):  # version 1: empty, and nobody may join, until they are set
            if (group / setting).exists() and not (group / "cgroup.controllers").exists():
                (group / setting).write_text((group.parent / setting).read_text())
    return groups


def remove(name: str) -> None:
    """Remove the group and what its host made in it; the processes are gone by now."""
    for parent in _own():
        _remove(parent / name)


def _is_stale(group: Path) -> bool:
    """Left by a test run that was killed: not new, and no process in it."""
    try:
        processes = any((Path(directory) / "cgroup.procs").read_text() for directory, _, _ in os.walk(group))
        return not processes and time.time() - group.stat().st_mtime > 60
    except OSError:
        return False  # somebody is removing it


def _remove(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):  # another test run is removing it, too
            Path(directory).rmdir()


def _own() -> list[Path]:
    """The directories of the groups that this process is in."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for _, place, kind, options, *_ in mounts:
            wanted = set(controllers.split(",")) <= set(options.split(",")) if controllers else kind == "cgroup2"
            if kind in ("cgroup", "cgroup2") and wanted:
                found.append(Path(place) / path.lstrip("/"))
                break
    return found
