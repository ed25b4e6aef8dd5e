"""Where the blocks of an .xz file are, from the index at its end (The .xz File Format 1.2.0, sections 2 to 4)."""

import os
import zlib
from dataclasses import dataclass

HEADER = 12  # bytes of a stream's header, and of its footer
_LARGEST = 64 << 20  # several blocks are held in memory at once


@dataclass(frozen=True, slots=True)
class Block:
    """One block: bytes it takes in the file, with padding, and the bytes it decompresses to."""

    stored: int
    size: int


def blocks(descriptor: int) -> tuple[Block, ...]:
    """The blocks of an .xz file that can be decompressed side by side; else none.

    None for another format, for one block or very large ones, for several streams in one file, and for an index
    that does not fit: such a file is read from its beginning, and what is wrong with it comes up there.
    """
    end = os.fstat(descriptor).st_size
    footer = os.pread(descriptor, HEADER, max(0, end - HEADER))
    if os.pread(descriptor, 6, 0) != b"\xfd7zXZ\0" or len(footer) < HEADER or footer[10:] != b"YZ":
        return ()
    length = (int.from_bytes(footer[4:8], "little") + 1) * 4
    start = end - HEADER - length
    if start < HEADER or length > 1 << 20:
        return ()
    index = os.pread(descriptor, length, start)
    found = _records(index)
    fits = HEADER + sum(block.stored for block in found) == start
    return found if fits and len(found) > 1 and max(block.size for block in found) <= _LARGEST else ()


def _records(index: bytes) -> tuple[Block, ...]:
    if index[:1] != b"\0" or zlib.crc32(index[:-4]).to_bytes(4, "little") != index[-4:]:
        return ()
    try:
        count, at = _number(index, 1)
        found = []
        for _ in range(count):
            unpadded, at = _number(index, at)
            size, at = _number(index, at)
            found.append(Block((unpadded + 3) & ~3, size))
    except IndexError:
        return ()
    return tuple(found)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length (section 1.2): 7 bits a byte, the least significant first; and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
