"""Decompressing files, whole ones and damaged ones."""

import hashlib
import lzma
import os
import random
import subprocess
import threading
from pathlib import Path

import pytest

from nixadmin.errors import NixadminError
from nixadmin.host import xz_index
from nixadmin.host.decompress import opened
from tests.tarballs import compress

DATA = random.Random(1).randbytes(100_000) + bytes(5_000_000) + b"end"


def make(path: Path, suffix: str, data: bytes = DATA) -> Path:
    """`.blocks.xz` has several blocks, as `xz --threads` makes them."""
    if suffix == ".blocks.xz":
        command = ["xz", "--threads=2", "--block-size=1MiB", "--stdout"]
        compressed = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    else:
        compressed = compress(data, suffix)
    path.write_bytes(compressed)
    return path


def read(path: Path, threads: int, hasher: "hashlib._Hash | None" = None) -> bytes:
    with opened(path, hasher=hasher, threads=threads) as stream:
        pieces = []
        while piece := stream.some(1 << 16):
            pieces.append(bytes(piece))
    return b"".join(pieces)


SUFFIXES = (".xz", ".blocks.xz", ".zst", ".gz", "")


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whole(tmp_path: Path, suffix: str, threads: int) -> None:
    path = make(tmp_path / "file", suffix)
    hasher = hashlib.sha256()
    assert read(path, threads, hasher) == DATA
    assert hasher.digest() == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_progress_ends_at_the_size_of_the_file(tmp_path: Path, suffix: str, threads: int) -> None:
    path = make(tmp_path / "file", suffix)
    told: list[tuple[int, int]] = []
    with opened(path, threads=threads, progress=lambda done, total: told.append((done, total))) as stream:
        stream.finish()
    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert told == sorted(told)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("suffix", [".xz", ".blocks.xz", ".gz"])
@pytest.mark.parametrize("missing", [1, 13, 2000, -1])
def test_cut_off(tmp_path: Path, suffix: str, threads: int, missing: int) -> None:
    path = make(tmp_path / "file", suffix)
    size = path.stat().st_size
    os.truncate(path, size - missing if missing > 0 else 40)
    with pytest.raises(NixadminError, match="is cut off"):
        read(path, threads)


def test_a_cut_off_zst_is_noticed_by_who_takes_a_certain_size(tmp_path: Path) -> None:
    path = make(tmp_path / "file", ".zst")
    os.truncate(path, path.stat().st_size - 2000)
    with opened(path) as stream, pytest.raises(NixadminError, match="is cut off"):
        stream.read(len(DATA))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("suffix", [".xz", ".blocks.xz", ".zst", ".gz"])
def test_a_changed_byte(tmp_path: Path, suffix: str, threads: int) -> None:
    path = make(tmp_path / "file", suffix)
    content = bytearray(path.read_bytes())
    content[50_000] ^= 1
    path.write_bytes(content)
    if suffix == ".zst":  # zstandard's default has no check sum: that is what the digest is for
        assert read(path, threads) != DATA
    else:
        with pytest.raises(NixadminError, match="is damaged"):
            read(path, threads)


def test_an_index_that_lies_about_a_size(tmp_path: Path) -> None:
    path = make(tmp_path / "file", ".blocks.xz")
    content = path.read_bytes()
    length = (int.from_bytes(content[-8:-4], "little") + 1) * 4
    index = bytearray(content[-12 - length : -12])
    at = index.index(b"\x80\x80\x40")  # 1 MiB
    index[at + 2] = 0x3F
    import zlib

    index[-4:] = zlib.crc32(index[:-4]).to_bytes(4, "little")
    path.write_bytes(content[: -12 - length] + index + content[-12:])
    with pytest.raises(NixadminError, match="is damaged"):
        read(path, 2)


def test_which_blocks_can_be_read_side_by_side(tmp_path: Path) -> None:
    def blocks(path: Path) -> tuple[xz_index.Block, ...]:
        with path.open("rb") as file:
            return xz_index.blocks(file.fileno())

    found = blocks(make(tmp_path / "blocks", ".blocks.xz"))
    assert sum(block.size for block in found) == len(DATA)
    assert [block.size for block in found[:-1]] == [1 << 20] * (len(found) - 1)
    assert blocks(make(tmp_path / "one", ".xz")) == ()
    assert blocks(make(tmp_path / "none", ".xz", b"")) == ()
    assert blocks(make(tmp_path / "empty", "", b"")) == ()
    streams = tmp_path / "streams"
    streams.write_bytes((tmp_path / "blocks").read_bytes() * 2)
    assert blocks(streams) == ()


@pytest.mark.parametrize("padding", [b"", bytes(4), bytes(1 << 21)])
def test_several_streams(tmp_path: Path, padding: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(lzma.compress(b"one") + padding + lzma.compress(b"two") + padding)
    assert read(path, 1) == read(path, 2) == b"onetwo"


def test_a_dictionary_larger_than_the_memory_allowed(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29, "preset": 0}]
    (tmp_path / "file").write_bytes(lzma.compress(b"x", filters=filters))
    with pytest.raises(NixadminError, match="is damaged"):
        read(tmp_path / "file", 1)


@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz"])
def test_few_bytes_for_very_many_take_little_memory(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path / "file", suffix, bytes(300 << 20))
    with opened(path) as stream:
        assert max(len(stream.some(1 << 30)) for _ in range(5)) <= 1 << 20


def test_no_thread_stays_when_the_reader_gives_up(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = make(tmp_path / "file", suffix)
        with pytest.raises(RuntimeError), opened(path, threads=2) as stream:
            stream.some(1)
            raise RuntimeError
    assert [thread.name for thread in threading.enumerate() if "decompress" in thread.name] == []


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, message in (
        (tmp_path / "fifo", "not a regular file"),
        (tmp_path, "not a regular"),
        (tmp_path / "x", "No"),
    ):
        with pytest.raises(NixadminError, match=message):
            read(path, 1)
