"""The Nix archive format, compared with what Nix itself writes."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixadmin.errors import NixadminError
from nixadmin.nix import nar


def dumped(path: Path) -> bytes:
    pieces: list[bytes] = []
    nar.dump(path, pieces.append)
    return b"".join(pieces)


def dumped_by_nix(path: Path) -> bytes:
    return subprocess.run(["nix-store", "--dump", path], capture_output=True, check=True).stdout


def test_a_tree_as_nix_dumps_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d/e").mkdir(parents=True)
    for name, content in {
        "a": b"",
        "B": b"x" * 8,
        "d/z": b"\0\n",
        "d/é": os.urandom(3 << 20),
        "A b": b"1234567",
    }.items():
        (tree / name).write_bytes(content)
    (tree / "B").chmod(0o711)
    (tree / "link").symlink_to("d/nowhere")
    (tree / "d/up").symlink_to("..")
    assert dumped(tree) == dumped_by_nix(tree)
    assert nar.hash_path(tree) == nar.NarHash(hashlib.sha256(dumped(tree)).digest(), len(dumped(tree)))


def test_a_single_file_and_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    (tmp_path / "link").symlink_to("file")
    assert dumped(tmp_path / "file") == dumped_by_nix(tmp_path / "file")
    assert dumped(tmp_path / "link") == dumped_by_nix(tmp_path / "link")


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "t") + b"/\xff\xfe")).write_bytes(b"x")
    assert dumped(tmp_path / "t") == dumped_by_nix(tmp_path / "t")


def test_a_fifo_has_no_nar(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NixadminError, match="neither a file, a link nor a directory"):
        nar.hash_path(tmp_path)


@given(st.lists(st.sampled_from([b"a" * 32, b"a" * 31, b"b", bytes(32), b"a" * 64, b"xyz" * 11]), max_size=12))
def test_modulo_reads_its_own_digest_as_zeros(parts: list[bytes]) -> None:
    # Hashing in pieces gives the same as replacing in the whole.
    content = b"".join(parts)
    path = Path(f"/dev/shm/nixadmin-test-{os.getpid()}")
    path.write_bytes(content)
    try:
        whole = dumped(path)
        positions, at = [], whole.find(b"a" * 32)
        zeroed = whole
        while at >= 0:
            positions.append(at)
            zeroed = zeroed[:at] + bytes(32) + zeroed[at + 32 :]
            at = zeroed.find(b"a" * 32, at + 32)
        expected = hashlib.sha256(zeroed + "".join(f"|{at}" for at in positions).encode()).digest()
        assert nar.hash_modulo(path, "a" * 32) == nar.NarHash(expected, len(whole))
    finally:
        path.unlink()
