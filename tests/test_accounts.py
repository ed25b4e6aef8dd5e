"""The account files of a stand-in root: read as the C library reads them, changed whole or not at all."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host import Host, account_files
from nixadmin.host.account_files import AccountFiles, Table, rewrite
from nixadmin.host.accounts import Accounts, Group, User
from tests.standin import make, needs_root, snapshot

ODD = b"""\
# people
root:x:0:0:root:/root:/bin/bash

alice:x:1000:1000:Al\xefce,,,:/home/alice:/bin/bash
short:x:5
word:x:five:5::/:/bin/sh
minus:x:-1:5::/:/bin/sh
huge:x:4294967296:5::/:/bin/sh
alice:x:7:7:a second one:/:/bin/sh
twin:x:1000:1000::/:/bin/false
+@ops::::::
-mallory::::::
+::::::
"""
NEW = b"new:x:2000:2000::/:/bin/false\n"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make(tmp_path / "host")


def etc(host: Host, name: str) -> Path:
    return host.root / "etc" / name


def all_four(files: AccountFiles) -> AccountFiles:
    return AccountFiles(*((getattr(files, name) or b"") + NEW for name in ("passwd", "group", "shadow", "gshadow")))


def with_line(files: AccountFiles, line: bytes = NEW) -> AccountFiles:
    return AccountFiles(files.passwd + line, files.group + line, files.shadow, files.gshadow)


# Reading


def test_users_in_the_order_of_the_file(host: Host) -> None:
    assert [user.name for user in host.accounts.users()] == ["root", "daemon", "nobody", "alice", "bob"]
    assert host.accounts.user("alice") == User("alice", 1000, 1000, "Alice", "/home/alice", "/bin/bash")
    assert host.accounts.group("alice") == Group("alice", 1000, ())


def test_what_is_no_entry_is_passed_over(host: Host) -> None:
    etc(host, "passwd").write_bytes(ODD)
    assert [user.name for user in host.accounts.users()] == ["root", "alice", "twin"]
    assert host.accounts.uid("alice") == 1000, "the first of a name counts"
    found = host.accounts.user_by_id(1000)
    assert found is not None
    assert found.name == "alice", "the first of an id counts"


def test_no_files_at_all(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    assert accounts.users() == []
    assert accounts.groups() == []
    assert accounts.user("root") is None, "a stand-in root does not ask the NSS of the machine around it"
    assert accounts.group_by_id(0) is None
    assert accounts.locked("root") is True
    assert accounts.nologin() == "/bin/false"


@pytest.mark.parametrize("text", ["nobody-there", "", "-1", "4294967295", "99999999999", "１"])
def test_unknown_is_an_error(host: Host, text: str) -> None:
    with pytest.raises(NixadminError, match="there is no user"):
        host.accounts.uid(text)
    with pytest.raises(NixadminError, match="there is no group"):
        host.accounts.gid(text)


def test_by_number(host: Host) -> None:
    assert host.accounts.uid("12345") == host.accounts.gid("12345") == 12345


def test_a_file_is_read_again_once_it_has_changed(host: Host) -> None:
    assert host.accounts.user("new") is None
    rewrite(host.root, with_line)
    assert host.accounts.user("new") is not None


@pytest.mark.parametrize(
    ("password", "locked"),
    [("!", True), ("*", True), ("!!", True), ("!$6$salt$hash", True), ("$6$salt$hash", False), ("", False)],
)
def test_locked(host: Host, password: str, locked: bool) -> None:
    etc(host, "shadow").write_text(f"alice:{password}:1::::::\n")
    assert host.accounts.locked("alice") is locked
    etc(host, "shadow").unlink()
    etc(host, "passwd").write_text(f"alice:{password}:1000:1000::/:/bin/sh\n")
    assert host.accounts.locked("alice") is locked, "where there is no shadow"


@needs_root
def test_locked_is_for_root_alone_to_know(host: Host) -> None:
    pid = os.fork()
    if not pid:
        try:
            os.chroot(host.root)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os._exit(0 if Accounts(Path("/")).locked("alice") is None else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_login_defs(host: Host) -> None:
    assert host.accounts.login_defs()["SYS_UID_MAX"] == 999
    (host.root / "usr/etc").mkdir()
    (host.root / "usr/etc/login.defs").write_text("UID_MIN 500\nGID_MIN 400\n")
    etc(host, "login.defs").write_text("# UID_MAX 5\nUID_MAX\t0x7530 # hex\nGID_MAX many\nUMASK 077\nUID_MIN 2000\n")
    defs = host.accounts.login_defs()
    assert (defs["UID_MIN"], defs["UID_MAX"], defs["SYS_UID_MAX"]) == (2000, 30000, 1999)
    assert (defs["GID_MIN"], defs["GID_MAX"], defs["SYS_GID_MAX"]) == (400, 60000, 399)
    assert "UMASK" not in defs


def test_subordinate_ranges(host: Host) -> None:
    etc(host, "subuid").write_text("alice:100000:65536\nbad\nbob:x:1\n1001:200000:10\n")
    assert host.accounts.subordinate_uids() == [range(100000, 165536), range(200000, 200010)]
    assert host.accounts.subordinate_gids() == []


# Tables

LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20), max_size=8)


@given(LINES, st.booleans())
def test_taking_out_what_was_put_in_gives_back_every_byte(lines: list[str], ended: bool) -> None:
    lines = [line for line in lines if not line.startswith("nixbld1:")]
    content = ("\n".join(lines) + ("\n" if lines and ended else "")).encode()
    table = Table(content)
    table.put("nixbld1", "x", "1")
    assert Table(table.content).get("nixbld1") == ["nixbld1", "x", "1"]
    table.drop("nixbld1")
    assert table.content == content


def test_a_new_entry_stands_before_what_nis_gives() -> None:
    table = Table(ODD)
    table.put("new", "x", "9")
    assert table.content == ODD.replace(b"+@ops", b"new:x:9\n+@ops")


def test_another_entry_in_its_place() -> None:
    table = Table(b"a:1\nb:2\nc:3")
    table.put("b", "5")
    table.put("d", "4")
    assert table.content == b"a:1\nb:5\nd:4\nc:3"
    table.drop("c")
    assert table.content == b"a:1\nb:5\nd:4\n"


@pytest.mark.parametrize("field", ["a:b", "a\nroot::0:0::/:/bin/sh"])
def test_a_field_cannot_become_an_entry(field: str) -> None:
    with pytest.raises(ValueError, match="a colon or newline"):
        Table(b"").put("nixbld1", field)


# Rewriting


@needs_root
@pytest.mark.ring(2)
def test_owner_mode_and_attributes_stay(host: Host) -> None:
    os.chown(etc(host, "passwd"), 0, 1000)
    etc(host, "passwd").chmod(0o640)
    os.setxattr(etc(host, "passwd"), "user.label", b"kept")
    before = snapshot(host.root)
    rewrite(host.root, with_line)
    after = snapshot(host.root)
    assert {name for name in after if before.get(name) != after[name]} == {"etc/passwd", "etc/group"}
    assert after["etc/passwd"][:3] == before["etc/passwd"][:3]
    assert os.getxattr(etc(host, "passwd"), "user.label") == b"kept"


def test_nothing_changed_writes_nothing(host: Host) -> None:
    inode = etc(host, "passwd").stat()
    rewrite(host.root, lambda files: files)
    assert etc(host, "passwd").stat() == inode


def test_an_error_leaves_everything(host: Host) -> None:
    before = snapshot(host.root)

    def fail(_files: AccountFiles) -> AccountFiles:
        raise NixadminError("no")

    with pytest.raises(NixadminError, match="no"):
        rewrite(host.root, fail)
    assert snapshot(host.root) == before


def test_an_interrupt_leaves_everything(host: Host) -> None:
    before = snapshot(host.root)

    def interrupt(_files: AccountFiles) -> AccountFiles:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewrite(host.root, interrupt)
    assert snapshot(host.root) == before


@needs_root
@pytest.mark.ring(2)
def test_a_full_disk_leaves_everything(tmp_path: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", root], check=True)
    try:
        make(root)
        (root / "filler").write_bytes(bytes(60_000))
        before = snapshot(root)
        with pytest.raises(NixadminError, match=os.strerror(errno.ENOSPC)):
            rewrite(root, lambda files: with_line(files, NEW * 4000))
        assert snapshot(root) == before
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        with pytest.raises(NixadminError, match="Read-only file system"):
            rewrite(root, with_line)
        assert snapshot(root) == before
    finally:
        subprocess.run(["umount", root], check=True)


def test_a_link_is_refused(host: Host) -> None:
    etc(host, "shadow").rename(etc(host, "shadow.real"))
    etc(host, "shadow").symlink_to("shadow.real")
    with pytest.raises(ConflictError, match="/etc/shadow is a symbolic link"):
        rewrite(host.root, with_line)
    assert not etc(host, "shadow+").exists()


def test_no_account_files(tmp_path: Path) -> None:
    with pytest.raises(NixadminError, match="cannot open"):
        rewrite(tmp_path, with_line)
    (tmp_path / "etc").mkdir()
    with pytest.raises(NixadminError, match="no /etc/passwd"):
        rewrite(tmp_path, with_line)
    assert os.listdir(tmp_path / "etc") == [".pwd.lock"]


# Locks


@pytest.mark.parametrize("name", ["passwd.lock", "gshadow.lock", "passwd+"])
def test_waiting_for_whoever_is_at_it(host: Host, name: str) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        etc(host, name).write_bytes(b"%d\0" % other.pid)
        done = threading.Thread(target=rewrite, args=(host.root, with_line))
        done.start()
        time.sleep(0.3)
        assert done.is_alive()
        assert NEW not in etc(host, "passwd").read_bytes()
        etc(host, name).unlink()
        done.join(5)
        assert NEW in etc(host, "passwd").read_bytes()
    finally:
        other.kill()
        other.wait()


def test_giving_up_names_the_lock(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_files, "_PATIENCE", 0.1)
    etc(host, "group.lock").write_bytes(b"1\0")
    before = snapshot(host.root)
    with pytest.raises(NixadminError, match=r"holds /etc/group\.lock"):
        rewrite(host.root, with_line)
    assert snapshot(host.root) == before


@pytest.mark.parametrize("pid", [b"", b"not a number", b"0\0"])
def test_a_lock_that_names_nobody_is_left_alone(host: Host, monkeypatch: pytest.MonkeyPatch, pid: bytes) -> None:
    monkeypatch.setattr(account_files, "_PATIENCE", 0.1)
    etc(host, "passwd.lock").write_bytes(pid)
    with pytest.raises(NixadminError, match=r"holds /etc/passwd\.lock"):
        rewrite(host.root, with_line)
    assert etc(host, "passwd.lock").read_bytes() == pid


def test_what_a_dead_one_left_is_taken_away(host: Host) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    before = set(os.listdir(host.root / "etc"))
    for name in ("passwd.lock", "shadow.lock"):
        etc(host, name).write_bytes(b"%d\0" % gone.pid)
    for name in ("passwd+", "shadow+", ".passwd.nixadmin-lock"):
        etc(host, name).write_bytes(b"half of a li")
    begun = time.monotonic()
    rewrite(host.root, with_line)
    assert time.monotonic() - begun < 1
    assert set(os.listdir(host.root / "etc")) == before | {".pwd.lock"}


def test_an_old_draft_without_a_lock_is_taken_away(host: Host) -> None:
    etc(host, "passwd+").write_bytes(b"half of a li")
    os.utime(etc(host, "passwd+"), (time.time() - 60,) * 2)
    rewrite(host.root, with_line)
    assert not etc(host, "passwd+").exists()


def _many(root: Path, who: int) -> None:
    for number in range(15):
        rewrite(root, lambda files, line=b"u%d-%d:x:1:1::/:/x\n" % (who, number): with_line(files, line))  # type: ignore[misc]


@needs_root
@pytest.mark.ring(2)
def test_nothing_is_lost_among_useradd_sysusers_and_us(host: Host) -> None:
    """Three real kinds of writers at once, on one root: each line that a writer was promised is there."""
    ours = [multiprocessing.get_context("fork").Process(target=_many, args=(host.root, who)) for who in (1, 2)]
    for process in ours:
        process.start()
    promised = []
    for number in range(12):
        name = f"theirs{number}"
        added = subprocess.run(
            ["useradd", "--root", host.root, "-M", "-N", "-g", "0", "-u", str(3000 + number), name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if added.returncode == 0:
            promised.append(name)
        else:
            assert "cannot lock" in added.stderr
        line = f"u sys{number} {4000 + number}:0 - / /usr/sbin/nologin\n"
        subprocess.run(["systemd-sysusers", f"--root={host.root}", "-"], input=line, text=True, check=True)
        promised.append(f"sys{number}")
    for process in ours:
        process.join()
        assert process.exitcode == 0
    promised += [f"u{who}-{number}" for who in (1, 2) for number in range(15)]
    there = {user.name for user in host.accounts.users()}
    assert [name for name in promised if name not in there] == []
    assert not [name for name in os.listdir(host.root / "etc") if name.endswith((".lock", "+")) and name[0] != "."]


@needs_root
@pytest.mark.ring(2)
def test_a_host_of_busybox(tmp_path: Path) -> None:
    """No shadow tools, no gshadow: what we write, busybox reads; what busybox holds, we wait for.

    Debian's busybox is built without adduser and addgroup; its passwd takes the same lock as those.
    """
    root = tmp_path / "alpine"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/ash\nalice:x:1000:1000::/home/alice:/bin/ash\n")
    (root / "etc/group").write_text("root:x:0:root\nalice:x:1000:\n")
    (root / "etc/shadow").write_text("root:*::0:::::\nalice:$6$salt$hash:19000:0:99999:7:::\n")

    def busybox(*words: str) -> str:
        done = subprocess.run(["chroot", root, "/bin/busybox", *words], capture_output=True, text=True, check=True)
        return done.stdout

    rewrite(root, lambda files: AccountFiles(files.passwd + NEW, files.group + b"new:x:2000:new\n", files.shadow, None))
    assert busybox("id", "new").strip() == "uid=2000(new) gid=2000(new) groups=2000(new)"
    # Held up in the middle by a lock of its own, busybox has its passwd+ made and not yet renamed.
    (root / "etc/shadow+").write_bytes(b"")
    waiting = threading.Thread(target=rewrite, args=(root, with_line))
    waiting.start()
    time.sleep(0.2)
    assert waiting.is_alive()
    (root / "etc/shadow+").unlink()
    waiting.join(5)
    busybox("passwd", "-l", "alice")
    assert Accounts(root).locked("alice") is True
    busybox("passwd", "-u", "alice")
    assert Accounts(root).locked("alice") is False
    assert Accounts(root).user("new") is not None


# Power and kill -9


def _child(act: Callable[[], None], stop: int) -> bool:
    """Run `act` in a child that dies before its call number `stop` of the system. True when it ended by itself."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    calls = 0

    def count(frame: FrameType, event: str, what: object) -> None:
        nonlocal calls
        if event == "c_call" and frame.f_code.co_filename == account_files.__file__ and _calls_the_system(what):
            calls += 1
            if calls == stop:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.setprofile(count)
        act()
        sys.setprofile(None)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _calls_the_system(what: object) -> bool:
    return (
        getattr(what, "__module__", None) in ("posix", "fcntl")
        or type(getattr(what, "__self__", None)).__module__ == "_io"
    )


def kill_everywhere(act: Callable[[], None], then: Callable[[int], None]) -> int:
    """Kill `act` before every call that account_files makes, and look `then`. Returns how many kills that was."""
    for stop in range(1, 10_000):
        if _child(act, stop):
            return stop - 1
        then(stop)
    raise AssertionError("it never ends")


@needs_root
@pytest.mark.ring(2)
def test_killed_anywhere_each_file_is_the_old_or_the_new(tmp_path: Path) -> None:
    host = make(tmp_path / "host")
    names = ("passwd", "group", "shadow", "gshadow")
    old = {name: etc(host, name).read_bytes() for name in names}
    orders = set()

    def then(_stop: int) -> None:
        now = {name: etc(host, name).read_bytes() for name in names}
        assert all(now[name] in (old[name], old[name] + NEW) for name in names)
        orders.add(tuple(name for name in names if now[name] != old[name]))
        rewrite(host.root, lambda _files: AccountFiles(**old))
        assert sorted(path.name for path in host.root.glob("etc/*[+k]")) == [".pwd.lock"]

    kills = kill_everywhere(lambda: rewrite(host.root, all_four), then)
    assert kills > 100
    assert orders == {(), ("passwd",), ("passwd", "shadow"), ("passwd", "shadow", "gshadow"), names}


@needs_root
@pytest.mark.ring(2)
def test_synced_before_it_is_renamed_and_the_directory_before_the_next(host: Host, tmp_path: Path) -> None:
    """Power loss: with every write synced in this order, a disk holds one of the states of the test above."""
    code = f"from tests.test_accounts import *; rewrite(Path({str(host.root)!r}), with_line)"
    log = tmp_path / "strace"
    subprocess.run(
        ["strace", "-y", "-o", log, "-e", "trace=fsync,rename,renameat,renameat2", sys.executable, "-c", code],
        check=True,
    )
    calls = [line for line in log.read_text().splitlines() if "/etc" in line]
    shape = [(line.split("(")[0].removesuffix("at").removesuffix("at2"), line.split(">")[0]) for line in calls]
    assert [name for name, _ in shape] == ["fsync", "fsync", "rename", "fsync", "rename", "fsync"]
    assert shape[0][1].endswith("/etc/passwd+")
    assert shape[1][1].endswith("/etc/group+")
    assert shape[3][1].endswith("/etc")
