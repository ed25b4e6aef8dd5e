"""A stand-in host on which a real Nix runs: how one is laid out, copied, compared, and worked on by real processes."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import pickle
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from nixadmin.host import Host
from tests import standin
from tests.real.rootfs import cache_dir, locked

T = TypeVar("T")
_DIGESTS: dict[tuple[int, int], object] = {}  # by device and inode
Tree = dict[str, tuple[object, ...]]

_CHECKOUT = Path(__file__).resolve().parents[2]
_BASH = Path("/bin/bash-static")
_NOT_EVEN_BEGUN = 99
_LONG_AGO = 10**18  # ns: in 2001, so that no file of the origin was written just now
_CLONE_NEWNS, _CLONE_NEWPID, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x20000000, 4096, 16384, 1 << 18
# The time of these is no promise: other programs go by it to see that an account has come or gone.
ACCOUNTS = frozenset({"etc/passwd", "etc/shadow", "etc/group", "etc/gshadow"})
# What tools for accounts keep beside the account files, and what Nix leaves of its own when it is killed in a build.
_NOT_COMPARED = re.compile(
    r"etc/(passwd-|group-|shadow-|gshadow-|\.pwd\.lock)|nix/var/nix/temproots/.*|tmp/nix-build-.*|(dev|proc)/.*"
)
_DATABASE = "nix/var/nix/db/db.sqlite"
_SOCKET = "[Socket]\nListenStream=/nix/var/nix/daemon-socket/socket\n[Install]\nWantedBy=sockets.target\n"
RECEIPTS = ("var/lib/nixadmin/receipt.json", "var/lib/nixadmin/public.json")


def bundle() -> Path:
    """A tarball of Debian's Nix, made once for each version of the code; .zst, which unpacks fastest."""
    digest = hashlib.sha256()
    for path in sorted((_CHECKOUT / "nixadmin/bundle").rglob("*.py")):
        digest.update(path.read_bytes())
    versions = subprocess.run(["dpkg-query", "--show", "nix-bin", "bash-static"], capture_output=True, check=True)
    digest.update(versions.stdout)
    place = cache_dir().parent / "bundle" / f"{digest.hexdigest()[:16]}.tar.zst"
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place):
        if not place.exists():
            unfinished = place.with_name(f"unfinished-{place.name}")
            command = [sys.executable, "-m", "nixadmin", "bundle", "--out", str(unfinished)]
            made = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=False)
            if made.returncode != 0:
                raise RuntimeError(f"no bundle: {made.stderr}")
            unfinished.rename(place)
    return place


def fresh(root: Path) -> None:
    """A host that has never heard of Nix."""
    standin.make(root)
    shutil.copy(_BASH, root / "bin/bash-static")
    (root / "bin/sh").symlink_to("bash-static")
    for name in ("dev", "proc"):
        (root / name).mkdir()
    (root / "etc/motd").write_text("theirs\n")
    os.setxattr(root / "etc/motd", "trusted.note", b"theirs")
    _age(root)


def lived_in(root: Path) -> None:
    """A host with leftovers and habits: in nearly every place that nixadmin touches, there is something already."""
    fresh(root)
    texts = {
        "etc/nix/nix.conf": ("# ours since 2019\ncores = 2\nkeep-outputs = true", 0o640),
        "etc/profile.d/nixadmin.sh": ("export EDITOR=ed\n", 0o600),
        "etc/default/nix-daemon": ("FOO=bar\n", 0o644),
        "usr/lib/systemd/system/nix-daemon.service": ("[Service]\nExecStart=/usr/bin/nix-daemon\n", 0o644),
        "usr/lib/systemd/system/nix-daemon.socket": (_SOCKET, 0o644),
        "usr/local/lib/nixadmin/note": ("theirs\n", 0o644),
        "nix/note": ("theirs\n", 0o644),
    }
    for name, (text, mode) in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    os.setxattr(root / "etc/nix/nix.conf", "trusted.note", b"theirs")
    os.setxattr(root / "etc/profile.d/nixadmin.sh", "trusted.note", b"theirs")
    os.chown(root / "etc/nix/nix.conf", 0, 1000)
    (root / "etc/nix").chmod(0o750)
    (root / "nix").chmod(0o711)
    with (root / "etc/passwd").open("a") as passwd, (root / "etc/shadow").open("a") as shadow:
        for number in (1, 2):
            passwd.write(f"nixbld{number}:x:{980 + number}:982:left over:/nonexistent:/bin/false\n")
            shadow.write(f"nixbld{number}:*:19000::::::\n")
    with (root / "etc/group").open("a") as group, (root / "etc/gshadow").open("a") as gshadow:
        group.write("nixbld:x:982:nixbld1,nixbld2\n")
        gshadow.write("nixbld:!::nixbld1,nixbld2\n")
    _age(root)


ORIGINS: dict[str, Callable[[Path], None]] = {"fresh": fresh, "lived-in": lived_in}


def _age(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, ns=(_LONG_AGO, _LONG_AGO), follow_symlinks=False)


def copy(source: Path, target: Path, *, below_store: bool = False) -> None:
    """Copy a tree with all that belongs to it. Files in the store, which nobody changes, are linked."""
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            there = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                copy(Path(entry.path), there, below_store=below_store or entry.path.endswith("/nix/store"))
            elif entry.is_symlink():
                os.symlink(os.readlink(entry.path), there)
                _copy_status(entry.path, there, link=True)
            elif below_store:
                os.link(entry.path, there)
            elif not entry.is_file():  # the socket of a Nix that was killed
                os.mknod(there, os.lstat(entry.path).st_mode)
                _copy_status(entry.path, there)
            else:
                there.write_bytes(Path(entry.path).read_bytes())
                _copy_status(entry.path, there)
    _copy_status(str(source), target)


def _copy_status(source: str, target: Path, *, link: bool = False) -> None:
    status = os.lstat(source)
    os.lchown(target, status.st_uid, status.st_gid)
    if not link:
        os.chmod(target, stat.S_IMODE(status.st_mode))
        for name in os.listxattr(source):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)


def look(root: Path, *, times: bool = False) -> Tree:
    """Every path with kind, mode, owner, group, extended attributes and content; of files also the time.

    Of what never comes out twice the same, the meaning counts: rows of Nix's database, the receipt without dates.
    """
    return {name: look_at(root / name, name, times) for name in _names(root, "") if not _NOT_COMPARED.fullmatch(name)}


def _names(directory: Path, prefix: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{prefix}{entry.name}"
            yield name
            if entry.is_dir(follow_symlinks=False) and name not in ("dev", "proc"):
                yield from _names(Path(entry.path), f"{name}/")


def look_at(path: Path, name: str, times: bool = False) -> tuple[object, ...]:
    """What `look` says of one path, by its name in the tree."""
    status = path.lstat()
    content: object = None
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif name == _DATABASE:
        content = _rows(path)
    elif name in RECEIPTS:
        content = _meaning(path.read_bytes())
    elif stat.S_ISREG(status.st_mode):
        content = _DIGESTS.get((status.st_dev, status.st_ino)) or _digest(path)
    time = status.st_mtime_ns if times and not stat.S_ISDIR(status.st_mode) and name not in ACCOUNTS else None
    attributes = tuple((one, os.getxattr(path, one, follow_symlinks=False)) for one in _attributes(path))
    return stat.filemode(status.st_mode), status.st_uid, status.st_gid, content, attributes, time


def _attributes(path: Path) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def _digest(path: Path) -> object:
    content = path.read_bytes()
    return content if len(content) < 20000 else hashlib.sha256(content).hexdigest()


def remember_store(root: Path) -> None:
    """Read the files of a store that will stay as long as this process: copies of it are links, not read again."""
    for path in (root / "nix/store").rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.lstat()
            _DIGESTS[status.st_dev, status.st_ino] = _digest(path)


def _rows(path: Path) -> object:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
            paths = database.execute("select path, hash, deriver, narSize from ValidPaths order by path").fetchall()
            references = database.execute("select count(*) from Refs").fetchall()
    except sqlite3.Error as e:
        return str(e)
    return tuple(paths), tuple(references)


def _meaning(content: bytes) -> object:
    try:
        receipt = json.loads(content)
    except ValueError:
        return content
    for entry in receipt["entries"].values():
        entry["since"] = None
    return json.dumps(receipt)  # with the entries in their order, which counts


def differences(found: Tree, wanted: Tree) -> list[str]:
    """What is not the same, a line each; empty when the trees are equal."""
    return [
        f"{name}: {_short(found.get(name))} instead of {_short(wanted.get(name))}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]


def _short(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) < 15000 else f"{text[:1500]}…"


@dataclass(frozen=True, slots=True)
class Killed:
    """What became of a process that a signal ended."""

    signal: int


def in_process(root: Path, act: Callable[[Host], T], prepare: Callable[[], None] | None = None) -> T | Killed:
    """Let `act` work on the host in a process of its own; what it answers or raises.

    There the host has the kernel's /dev and /proc, which go with the process, and no process but its own: Nix kills
    all that a build user runs before a build. What the process leaves behind is waited for. `prepare` is called first.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _enter(root)
            _follow(os.fork())  # this one's children are in the new namespace, and it itself is not
            _enter_processes(root)
            _follow(os.fork())  # the first process of a namespace cannot be killed from within
            _work(root, act, prepare, writer)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(_NOT_EVEN_BEGUN)  # and not on into the test runner, which would clear everything away
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code != _NOT_EVEN_BEGUN
    if code:
        return Killed(code)
    result, error, text = pickle.loads(data)
    if error is not None:
        error.add_note(f"{getattr(error, 'hint', '')}\nin the process:\n{text}")
        raise error
    return result  # type: ignore[no-any-return]


def _work(root: Path, act: Callable[[Host], object], prepare: Callable[[], None] | None, writer: int) -> NoReturn:
    answer: tuple[object, BaseException | None, str]
    try:
        if prepare:
            prepare()
        answer = (act(Host(root)), None, "")
    except BaseException as e:
        answer = (None, e, traceback.format_exc())
    try:
        data = pickle.dumps(answer)
    except Exception:
        data = pickle.dumps((None, RuntimeError(answer[2]), answer[2]))
    with open(writer, "wb") as pipe:
        pipe.write(data)
    os._exit(0)


def _follow(child: int) -> None:
    """In the child, go on; in the parent, wait for it and all that it has left, and end with the signal it died of."""
    if child == 0:
        return
    os.closerange(3, 1024)  # the pipe, whose other end is to see the worker's death
    code = 0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            os._exit(code)
        if pid == child:
            code = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    if _libc().mount(source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def _enter(root: Path) -> None:
    if _libc().unshare(_CLONE_NEWNS | _CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("/dev", str(root / "dev"), None, _MS_BIND | _MS_REC)


def _enter_processes(root: Path) -> None:
    _mount("proc", str(root / "proc"), "proc", 0)
