"""nix.conf: its grammar, which value takes effect, and a marked block of our own in somebody else's file.

The grammar was tried on Nix 2.8.0, 2.26.3 and 2.34.8, which agree: a line ends at "\\n" only; `#` begins a
comment everywhere, also inside a value, and nothing quotes it; what is left is split at blanks, tabs and
carriage returns into a name, a "=" that stands alone, and the words of the value. Any other line is an error
that ends every Nix command on the host. A setting that Nix does not know is a warning.

Includes, tried on the same three: a file that cannot be read is passed over in silence, and an ordinary
user's commands go on without it, so secrets may stand in one of mode 0600. But it must lie in a directory
that everybody may search: from below a 0700 directory the client takes the *whole* of nix.conf for
unreadable (2.8: all after the include), and goes on with Nix's defaults, in silence.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import ConflictError, NixadminError
from nixadmin.nix import settings

_BLANKS = " \t\n\r"


@dataclass(frozen=True, slots=True)
class Entry:
    """`name = value` in line `line` (from 1) of `file`."""

    name: str
    value: str
    line: int
    file: Path


@dataclass(frozen=True, slots=True)
class Include:
    """`include path`, or `!include path` (optional: it may be missing). `path` is absolute."""

    path: Path
    optional: bool
    line: int
    file: Path


def parse(text: str, file: Path) -> Iterator[Entry | Include]:
    """The lines of nix.conf that say something, in order.

    Raises NixadminError, with file and line, for what makes Nix itself stop.
    """
    for number, line in enumerate(text.split("\n"), 1):
        words = _words(line)
        if not words:
            continue
        if words[0] in ("include", "!include") and len(words) == 2:
            yield Include(file.parent / words[1], words[0] == "!include", number, file)
        elif len(words) >= 2 and words[1] == "=" and words[0] not in ("include", "!include"):
            yield Entry(words[0], " ".join(words[2:]), number, file)
        else:
            raise NixadminError(
                f"{file}:{number}: {line.strip(_BLANKS)[:80]!r} is no line of nix.conf: all Nix commands fail",
                "write `name = value` with blanks around the =, or put a # before it",
            )


def load(file: Path, read: Callable[[Path], str]) -> Iterator[Entry]:
    """The settings in `file` and in what it includes, in order; `read` gives a file's text, or an OSError.

    What cannot be read is passed over, as Nix does; only a missing file that is not `!include`d is an error.
    """
    yield from _load(file, read, ())


def _load(file: Path, read: Callable[[Path], str], within: tuple[Path, ...]) -> Iterator[Entry]:
    if file in within:
        raise NixadminError(f"{file} includes itself, and every Nix command fails", f"look at {within[-1]}")
    try:
        text = read(file)
    except OSError:
        return
    for entry in parse(text, file):
        if isinstance(entry, Entry):
            yield entry
            continue
        if not entry.optional:
            try:
                read(entry.path)
            except FileNotFoundError as e:
                raise NixadminError(
                    f"{file}:{entry.line}: {entry.path} is missing, and every Nix command fails",
                    "write !include for a file that may be missing",
                ) from e
            except OSError:
                pass
        yield from _load(entry.path, read, (*within, file))


def effective(entries: Iterable[Entry]) -> dict[str, str]:
    """What the entries come to, by today's names: the last value counts, and `extra-` appends to it.

    What is appended to a setting that has no value before it stays under its `extra-` name: Nix appends it
    to its own default.
    """
    values: dict[str, str] = {}
    for entry in entries:
        name, appends = settings.canonical(entry.name)
        if not appends:
            values.pop(f"extra-{name}", None)
            values[name] = entry.value
            continue
        kept = name if name in values else f"extra-{name}"
        values[kept] = " ".join(filter(None, (values.get(kept), entry.value)))
    return values


def _words(line: str) -> list[str]:
    # str.split() without an argument also splits at form feeds and no-break spaces, and Nix does not.
    text = line.split("#", 1)[0]
    for blank in _BLANKS[1:]:
        text = text.replace(blank, " ")
    return [word for word in text.split(" ") if word]


# A block in a file that is somebody else's: found by its two markers, and taken out again byte for byte.

_BEGIN = "# nixadmin: begin {name}"
_JOINED = " (the line above had no end)"
_END = "# nixadmin: end {name}"


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block lies in its text, from `start` to before `stop`, markers included, and its lines."""

    start: int
    stop: int
    lines: tuple[str, ...]


def find_block(text: str, name: str) -> Block | None:
    """The block `name` in `text`, or None.

    Raises ConflictError when its markers are not exactly one pair.
    """
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    found: Block | None = None
    start = joined = None
    at = first = 0
    for line in _lines(text):
        bare = line.rstrip("\r\n")
        if bare in (begin, begin + _JOINED):
            if start is not None or found is not None:
                raise ConflictError(f"the line {begin!r} stands twice", "take one of the two blocks out by hand")
            joined = bare != begin
            start, first = at, at + len(line)
        elif bare == end and start is not None:
            stop = at + len(line)
            lines = tuple(inner.rstrip("\r\n") for inner in _lines(text[first:at]))
            found = Block(start - (joined is True and stop == len(text)), stop, lines)
            start = None
        at += len(line)
    if start is not None:
        raise ConflictError(f"the line {begin!r} has no {end!r} after it", "put it back, or take the block out")
    return found


def insert_block(text: str, name: str, lines: Iterable[str]) -> str:
    """`text` with the block `name` of `lines` at its end; `strip_block` gives `text` back.

    Raises ConflictError when there is such a block already, or half of one, and NixadminError for a line that
    would not come out again as it went in.
    """
    if find_block(text, name) is not None:
        raise ConflictError(f"there is a block {name!r} already", "take it out first")
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    lines = list(lines)
    if any("\n" in line or line.rstrip("\r") in (begin, begin + _JOINED, end) for line in lines):
        raise NixadminError(f"a line of the block {name!r} is more than one, or a marker", "leave it out")
    joined = text != "" and not text.endswith("\n")
    opening = f"\n{begin}{_JOINED}\n" if joined else f"{begin}\n"
    return text + opening + "".join(f"{line}\n" for line in lines) + f"{end}\n"


def strip_block(text: str, name: str) -> str:
    """`text` without the block `name`; the same text if there is none."""
    block = find_block(text, name)
    return text if block is None else text[: block.start] + text[block.stop :]


def _lines(text: str) -> list[str]:
    """Lines with their ends, split at "\\n" alone, as Nix and sh do."""
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
