"""Unpacking a tarball into a store: whole, or not at all."""

import hashlib
import os
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from nixadmin.errors import ConflictError, NixadminError, UsageError
from nixadmin.host.unpack import SCRATCH, unpack
from nixadmin.nix import nar
from nixadmin.nix.registration import Registration
from tests.tarballs import TOP, Draft, compress, header

HARD = {"type": tarfile.LNKTYPE}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir(mode=0o1775)
    return tmp_path / "store"


def write(tmp_path: Path, draft: Draft, suffix: str = ".xz", reginfo: str = "first") -> Path:
    path = tmp_path / f"nix.tar{suffix}"
    path.write_bytes(compress(draft.bytes(reginfo=reginfo), suffix))
    return path


@pytest.mark.parametrize("reginfo", ["first", "last"])
@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz", ""])
def test_as_nix_wants_it(tmp_path: Path, store: Path, suffix: str, reginfo: str) -> None:
    draft = Draft(tmp_path)
    path = write(tmp_path, draft, suffix, reginfo)
    old = os.umask(0o077)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest().upper()
        contents = unpack(path, store, sha256=digest, check_nars=True)
    finally:
        os.umask(old)
    assert contents.nix == draft.nix
    assert sorted(os.listdir(store)) == sorted(str(one.path) for one in draft.registrations)
    for one in draft.registrations:
        assert nar.hash_path(store / str(one.path)) == nar.NarHash(one.nar_sha256, one.nar_size)
    for found in store.rglob("*"):
        status = found.lstat()
        assert status.st_mtime_ns == 10**9
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
        assert os.listxattr(found, follow_symlinks=False) == []
        executable = found.is_dir() or found.parent.name == "bin"
        if not found.is_symlink():
            assert stat.S_IMODE(status.st_mode) == (0o555 if executable else 0o444), found


def test_one_file_is_a_store_path_too(tmp_path: Path, store: Path) -> None:
    draft = Draft(tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"text")
    hashed = nar.hash_path(file)
    path = type(draft.nix)("b28mygmq5kv8cyxhrb0sja1zaw70a0vn", "file")
    draft.registrations.append(Registration(path, hashed.sha256, hashed.size))
    draft.add(f"store/{path}", b"text", mode=0o644)
    unpack(write(tmp_path, draft), store, check_nars=True)
    assert (store / str(path)).read_bytes() == b"text"


def test_hard_links_become_files_and_directories_may_go_unsaid(tmp_path: Path, store: Path) -> None:
    draft = Draft(tmp_path)
    # As a tarball has it that lists neither `store` nor the directories in it.
    draft.members = [(member, data) for member, data in draft.members if not member.isdir()]
    draft.add(
        f"store/{draft.cacert}/second",
        **(HARD | {"linkname": f"{TOP}/store/{draft.cacert}/etc/ssl/certs/ca-bundle.crt"}),
    )
    draft.registrations[1] = Registration(draft.cacert, bytes(32), 5000)
    unpack(write(tmp_path, draft), store)
    second = store / str(draft.cacert) / "second"
    assert second.read_bytes() == b"certificates\n"
    assert second.stat().st_nlink == 1
    assert stat.S_IMODE(second.stat().st_mode) == 0o444
    assert stat.S_IMODE((store / str(draft.nix) / "bin").stat().st_mode) == 0o555


def test_what_is_there_is_passed_over(tmp_path: Path, store: Path) -> None:
    draft = Draft(tmp_path)
    path = write(tmp_path, draft)
    unpack(path, store)
    before = {found: found.lstat() for found in [store, *store.rglob("*")]}
    (store / str(draft.cacert)).rename(tmp_path / "gone")
    unpack(path, store)
    after = {found: found.lstat() for found in [store, *store.rglob("*")]}
    assert before.keys() == after.keys()
    kept = [found for found in before if found.is_relative_to(store / str(draft.nix))]
    assert all(before[found].st_ino == after[found].st_ino for found in kept)
    assert all(before[found].st_ctime_ns == after[found].st_ctime_ns for found in kept)


def spoil(draft: Draft, how: str) -> str:
    """Make a tarball one that must be refused; the words that say why."""
    nix = f"store/{draft.nix}"
    match how:
        case "below a link":
            draft.add(f"{nix}/lib/x", b"x")  # lib is a link to bin
            return "goes through a link"
        case "below a file":
            draft.add(f"{nix}/bin/nix/x", b"x")
            return "goes through a file"
        case "a directory that is a file":
            draft.add(f"{nix}/new/x", b"x")
            draft.add(f"{nix}/new", b"x")
            return "twice"
        case "not registered":
            draft.registrations.pop()
            return "does not register it"
        case "registered only":
            draft.members = [one for one in draft.members if str(draft.cacert) not in one[0].name]
            return "but does not hold it"
        case "too large":
            draft.add(f"{nix}/bomb", bytes(10_000_000))
            return "holds more in .* than it registers"
        case "too large in links":
            for n in range(2000):
                link = {"linkname": f"{TOP}/{nix}/share/doc"}
                draft.add(f"{nix}/{n}", **(HARD | link))
            return "holds more in .* than it registers"
        case "a link to what comes later":
            draft.add(f"{nix}/hard", **(HARD | {"linkname": f"{TOP}/{nix}/later"}))
            return "a link to no file that came before"
        case "a link to a link":
            draft.add(f"{nix}/hard", **(HARD | {"linkname": f"{TOP}/{nix}/lib"}))
            return "a link to no file that came before"
        case "outside":
            draft.add(f"{nix}/../../../../escaped", b"x")
            return "leads elsewhere"
        case "another nar":
            last = draft.registrations[0]
            draft.registrations[0] = Registration(last.path, bytes(32), last.nar_size)
            return "holds another .* than it registers"
    raise AssertionError(how)


@pytest.mark.parametrize("reginfo", ["first", "last"])
@pytest.mark.parametrize(
    "how",
    [
        *("below a link", "below a file", "a directory that is a file", "not registered", "registered only"),
        *("too large", "too large in links", "a link to what comes later", "a link to a link", "outside"),
        "another nar",
    ],
)
def test_refused_and_nothing_left(tmp_path: Path, store: Path, how: str, reginfo: str) -> None:
    draft = Draft(tmp_path)
    message = spoil(draft, how)
    path = write(tmp_path, draft, reginfo=reginfo)
    around = sorted(os.listdir(tmp_path))
    with pytest.raises(NixadminError, match=message):
        unpack(path, store, check_nars=True)
    assert os.listdir(store) == []
    assert sorted(os.listdir(tmp_path)) == around


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_a_wrong_digest_or_a_cut_off_file_leaves_nothing(tmp_path: Path, store: Path, suffix: str) -> None:
    path = write(tmp_path, Draft(tmp_path), suffix)
    with pytest.raises(NixadminError, match=r"has SHA-256 [0-9a-f]{64}, not 0{64}"):
        unpack(path, store, sha256="0" * 64)
    assert os.listdir(store) == []
    # Even what comes after the end of the archive counts.
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("ab") as file:
        file.write(bytes(4096))
    with pytest.raises(NixadminError, match="has SHA-256"):
        unpack(path, store, sha256=digest)
    os.truncate(path, path.stat().st_size // 2 - 2048)
    with pytest.raises(NixadminError, match="is cut off"):
        unpack(path, store)
    assert os.listdir(store) == []


def test_no_digest(tmp_path: Path, store: Path) -> None:
    for text in ("", "abc", "g" * 64, "0" * 65):
        with pytest.raises(UsageError, match="is not a SHA-256"):
            unpack(tmp_path / "t", store, sha256=text)


def test_a_killed_run_leaves_one_directory_that_the_next_removes(tmp_path: Path, store: Path) -> None:
    draft = Draft(tmp_path)
    for n in range(400):
        draft.path(f"p{n}", {"bin/x": os.urandom(50_000), "d/link": "../bin/x"})
    path = write(tmp_path, draft, "")
    names = sorted(str(one.path) for one in draft.registrations)
    program = f"""
from pathlib import Path
from nixadmin.host.unpack import unpack
unpack(Path({str(path)!r}), Path({str(store)!r}))
"""
    interrupted = 0
    for n in range(12):
        process = subprocess.Popen([sys.executable, "-c", program])
        while not (store / SCRATCH).exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(n * 0.02)
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() != 0
        # Whatever is under its final name is whole.
        whole = [name for name in os.listdir(store) if name != SCRATCH]
        registered = {str(one.path): one for one in draft.registrations}
        for name in whole:
            assert nar.hash_path(store / name).sha256 == registered[name].nar_sha256
    assert interrupted >= 3
    unpack(path, store)
    assert sorted(os.listdir(store)) == names


def test_two_at_once(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path, Draft(tmp_path))

    def meanwhile(_what: str, _done: int, _total: int) -> None:
        with pytest.raises(ConflictError, match="another run is unpacking"):
            unpack(path, store)

    unpack(path, store, progress=meanwhile)
    assert SCRATCH not in os.listdir(store)


def test_a_link_in_place_of_the_scratch_directory(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path, Draft(tmp_path))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (store / SCRATCH).symlink_to(tmp_path / "precious")
    with pytest.raises(ConflictError, match="is no directory"):
        unpack(path, store)
    assert (tmp_path / "precious/file").exists()


def test_a_link_inside_what_a_killed_run_left(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path, Draft(tmp_path))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (store / SCRATCH / "d").mkdir(parents=True)
    (store / SCRATCH / "d/link").symlink_to(tmp_path / "precious")
    (store / SCRATCH / "d").chmod(0o555)
    unpack(path, store)
    assert (tmp_path / "precious/file").exists()


def test_what_a_store_hands_down_is_not_taken(tmp_path: Path, store: Path) -> None:
    draft = Draft(tmp_path)
    store.chmod(0o3775)
    os.chown(store, -1, 12345)
    # acl(5) as setfacl writes it: uid 12345 may do anything with what is made in this directory.
    entries = [(1, 7, -1), (2, 7, 12345), (4, 7, -1), (16, 7, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(store, "system.posix_acl_default", acl)
    unpack(write(tmp_path, draft), store)
    for found in (store / str(draft.nix)).rglob("*"):
        assert found.lstat().st_gid == os.getegid()
        assert os.listxattr(found, follow_symlinks=False) == []
        assert not found.lstat().st_mode & 0o7000


def test_what_someone_else_put_there(tmp_path: Path, store: Path) -> None:
    draft = Draft(tmp_path)
    (store / str(draft.nix)).mkdir()
    os.chown(store / str(draft.nix), 12345, 12345)
    with pytest.raises(ConflictError, match="is in the store already, but uid 12345's"):
        unpack(write(tmp_path, draft), store)
    assert os.listdir(store) == [str(draft.nix)]


def test_no_room(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.path("big", {"share/x": os.urandom(3 << 20)})
    path = write(tmp_path, draft)
    script = """
        mount -t tmpfs -o size=1m none "$1" && "$2" -c "
from pathlib import Path
from nixadmin.errors import NixadminError
from nixadmin.host.unpack import unpack
import os
try:
    unpack(Path('$3'), Path('$1'))
except NixadminError as e:
    print(e, os.listdir('$1'))
"
        mount -o remount,ro "$1"
        "$2" -c "
from pathlib import Path
from nixadmin.errors import NixadminError
from nixadmin.host.unpack import unpack
try:
    unpack(Path('$3'), Path('$1'))
except NixadminError as e:
    print(e)
"
    """
    (tmp_path / "m").mkdir()
    command = ["unshare", "--mount", "sh", "-euc", script, "sh", str(tmp_path / "m"), sys.executable, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "No space left on device []" in said
    assert "Read-only file system" in said


def test_as_an_ordinary_user(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    path = write(tmp_path, draft)
    place = Path("/dev/shm") / f"nixadmin-test-{os.getpid()}"
    place.mkdir()
    try:
        os.chown(place, 12345, 12345)
        (place / "t").write_bytes(path.read_bytes())
        code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from nixadmin.host import unpack
import ctypes  # before it cannot be read any more
os.setgroups([]); os.setgid(12345); os.setuid(12345)
unpack.unpack(Path({str(place / "t")!r}), Path({str(place)!r}))
scratch = Path({str(place / SCRATCH)!r})
(scratch / "a/b").mkdir(parents=True); (scratch / "a/b").chmod(0o555); (scratch / "a").chmod(0o555)
unpack.unpack(Path({str(place / "t")!r}), Path({str(place)!r}))
"""
        subprocess.run([sys.executable, "-c", code], check=True)
        assert sorted(os.listdir(place)) == sorted(["t", str(draft.nix), str(draft.cacert)])
        top = (place / str(draft.nix)).stat()
        assert (stat.S_IMODE(top.st_mode), top.st_uid, top.st_mtime_ns) == (0o555, 12345, 10**9)
    finally:
        subprocess.run(["rm", "-rf", place], check=True)


def test_a_missing_header_after_a_long_name(tmp_path: Path, store: Path) -> None:
    whole = Draft(tmp_path).bytes().rstrip(b"\0")
    whole += bytes(-len(whole) % 512)
    long = header("x", size=4, type=tarfile.GNUTYPE_LONGNAME).tobuf() + b"abc\0" + bytes(508)
    (tmp_path / "t").write_bytes(whole + long + bytes(1024))
    with pytest.raises(NixadminError, match="is cut off"):
        unpack(tmp_path / "t", store)
