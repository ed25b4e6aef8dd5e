"""A stand-in root: a directory that looks enough like a host for the real tools."""

import os
import stat
from pathlib import Path

import pytest

from nixadmin.host import Host

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
alice:x:1000:1000:Alice:/home/alice:/bin/bash
bob:x:1001:1001:Bob:/home/bob:/bin/bash
"""
GROUP = "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\nalice:x:1000:\nbob:x:1001:\n"
NAMES = ("root", "daemon", "nobody", "alice", "bob")
DIRECTORIES = (
    *("etc/systemd/system", "etc/profile.d", "etc/default", "run/systemd/system", "usr/sbin", "usr/lib/systemd/system"),
    *("usr/local/lib", "var/lib", "home/alice", "home/bob", "root", "tmp", "bin"),
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users, which root alone may")


def make(root: Path) -> Host:
    """Lay out a host in `root`, which must be empty or absent."""
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    etc = root / "etc"
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    (etc / "shadow").write_text("".join(f"{name}:*:19000:0:99999:7:::\n" for name in NAMES))
    (etc / "gshadow").write_text("".join(f"{line.split(':')[0]}:*::\n" for line in GROUP.splitlines()))
    (etc / "shadow").chmod(0o640)
    (etc / "gshadow").chmod(0o640)
    (etc / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (root / "usr/sbin/nologin").write_text("#!/bin/sh\nexit 1\n")
    return Host(root)


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Every path of the tree with kind, mode, owner, group and content.

    Left out: the backups that tools for accounts keep beside the account files (passwd-), and their lock.
    """
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name in ("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/.pwd.lock"):
            continue
        status = path.lstat()
        if path.is_symlink():
            content: object = os.readlink(path)
        else:
            content = path.read_bytes() if path.is_file() else None
        found[name] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content)
    return found
