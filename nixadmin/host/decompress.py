"""The decompressed bytes of a file, in one pass: read, hashed, and decompressed (where it can be, on every core)."""

import hashlib
import lzma
import os
import stat
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import IO, cast

from nixadmin.errors import NixadminError
from nixadmin.host import xz_index

# Called with (bytes read, bytes in all) of the compressed file.
Progress = Callable[[int, int], None]
Chunks = Generator[bytes, None, None]
_CHUNK = 1 << 20
_MEMORY = 256 << 20  # what a decompressor may take: `xz -9` takes a quarter of it
_QUEUE = 8  # chunks between the thread that decompresses and the one that uses them
_HINT = "copy or download it again, and compare its SHA-256 with the published one"


class Stream:
    """The decompressed bytes of one file, in order: `position` of them were handed out. `called` is its name."""

    def __init__(self, chunks: Iterator[bytes], called: str) -> None:
        self.called = called
        self.position = 0
        self._chunks = chunks
        self._current = memoryview(b"")

    def some(self, most: int) -> memoryview:
        """From 1 to `most` of the next bytes, without copying; none at the end."""
        while not self._current:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._current = memoryview(chunk)
        taken, self._current = self._current[:most], self._current[most:]
        self.position += len(taken)
        return taken

    def take(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, in pieces. Raises NixadminError where the file ends before."""
        while size:
            piece = self.some(size)
            if not piece:
                raise NixadminError(f"{self.called} is cut off", _HINT)
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        """The next `size` bytes at once. Raises NixadminError where the file ends before."""
        return b"".join(self.take(size))

    def finish(self) -> None:
        """Read to the end, so that the whole file is hashed and its check sums are compared."""
        while self.some(_CHUNK):
            pass


class _Source:
    """The compressed file; every byte that is read of it is hashed and counted."""

    def __init__(self, file: IO[bytes], hasher: "hashlib._Hash | None") -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.done = 0
        self._hasher = hasher

    def read(self, size: int = _CHUNK) -> bytes:
        data = self.file.read(size)
        self.done += len(data)
        if self._hasher:
            self._hasher.update(data)
        return data


@contextmanager
def opened(
    path: Path,
    *,
    called: str | None = None,
    hasher: "hashlib._Hash | None" = None,
    progress: Progress | None = None,
    threads: int = 1,
) -> Iterator[Stream]:
    """Open a .xz, .zst, .gz or uncompressed file; its first bytes tell which it is.

    With more than one thread, decompression runs ahead of the reader, and the blocks of an .xz file side by side.
    After Stream.finish, `hasher` has seen the whole compressed file.

    Raises NixadminError for a file that is missing, unreadable or not regular; and, while reading, for a damaged one.
    """
    called = called or str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a fifo must not keep us waiting
    except OSError as e:
        raise NixadminError(f"cannot read {called}: {e.strerror}", "look at its name and its mode") from e
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NixadminError(f"{called} is not a regular file", "name a tarball")
    with open(descriptor, "rb") as file:
        source = _Source(file, hasher)
        if threads > 1 and (blocks := xz_index.blocks(descriptor)):
            chunks = _side_by_side(source, blocks, threads)
        else:
            chunks = _ahead(_decompressed(source)) if threads > 1 else _decompressed(source)
        with closing(chunks):
            yield Stream(_watched(chunks, source, called, progress), called)


def _watched(chunks: Chunks, source: _Source, called: str, progress: Progress | None) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            if progress:
                progress(source.done, source.size)
            yield chunk
    except EOFError as e:
        raise NixadminError(f"{called} is cut off", _HINT) from e
    except (lzma.LZMAError, zlib.error, ValueError) as e:
        raise NixadminError(f"{called} is damaged: {e}", _HINT) from e
    if progress:
        progress(source.size, source.size)


def _decompressed(source: _Source) -> Chunks:
    """One chunk after the other. Raises EOFError for a truncated file; lzma, zlib and ValueError for a damaged one."""
    start = os.pread(source.file.fileno(), 6, 0)
    if start == b"\xfd7zXZ\0":
        yield from _xz(source)
    elif start.startswith(b"\x1f\x8b"):
        yield from _gzip(source)
    elif start.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _zstd(source)
    else:
        while data := source.read():
            yield data


def _xz(source: _Source) -> Chunks:
    data = source.read()
    while data:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        while not decoder.eof:
            if not data and decoder.needs_input and not (data := source.read()):
                raise EOFError
            yield decoder.decompress(data, _CHUNK)  # limited: a few bytes may stand for very many
            data = b""
        data = decoder.unused_data or source.read()
        while data and not data.strip(b"\0"):  # padding between streams
            data = source.read()
        data = data.lstrip(b"\0")


def _gzip(source: _Source) -> Chunks:
    data = source.read()
    while data:
        decoder = zlib.decompressobj(wbits=31)
        while not decoder.eof:
            if not data and not (data := source.read()):
                raise EOFError
            yield decoder.decompress(data, _CHUNK)
            data = decoder.unconsumed_tail
        data = (decoder.unused_data or source.read()).lstrip(b"\0")


def _zstd(source: _Source) -> Chunks:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=_MEMORY // 2)
    try:
        with decoder.stream_reader(
            cast(IO[bytes], source), read_size=_CHUNK, read_across_frames=True, closefd=False
        ) as reader:
            while data := reader.read(_CHUNK):
                yield data
    except zstandard.ZstdError as e:
        raise ValueError(e) from e


def _ahead(chunks: Chunks) -> Chunks:
    """The same chunks, made by a thread of their own while the reader is busy."""
    handed: Queue[bytes | BaseException | None] = Queue(_QUEUE)
    stopped = Event()

    def hand(item: bytes | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return handed.put(item, timeout=0.1)
            except Full:
                continue

    def work() -> None:
        try:
            for chunk in chunks:
                hand(chunk)
                if stopped.is_set():
                    return
            hand(None)
        except BaseException as e:
            hand(e)

    thread = Thread(target=work, name="decompress", daemon=True)
    thread.start()
    try:
        while (item := handed.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _side_by_side(source: _Source, blocks: tuple[xz_index.Block, ...], threads: int) -> Chunks:
    with ThreadPoolExecutor(threads, "decompress") as pool:
        waiting: deque[Future[bytes]] = deque()
        header = source.read(xz_index.HEADER)
        try:
            for block in blocks:
                waiting.append(pool.submit(_block, header, source.read(block.stored), block.size))
                if len(waiting) > threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            while source.read():  # the index: it is hashed as well
                pass
        finally:
            pool.shutdown(cancel_futures=True)


def _block(header: bytes, stored: bytes, size: int) -> bytes:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    data = decoder.decompress(header + stored, size)
    # The first byte of an index: it is accepted only after the block has ended and its check sum was right.
    if len(data) != size or decoder.decompress(b"\0", 1):
        raise ValueError("a block has another size than its index says")
    return data
