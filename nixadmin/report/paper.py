"""What lines are written on: a terminal with colours, or plain text."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TextIO

Style = Literal["plain", "title", "faint", "add", "change", "remove", "good", "bad"]

# ECMA-48, 8.3.117 (SGR).
_CODES: dict[Style, str] = {
    "title": "1",
    "faint": "2",
    "add": "32",
    "change": "33",
    "remove": "31",
    "good": "32",
    "bad": "1;31",
}
# For terminals and files that hold less than Unicode.
_SUBSTITUTES = str.maketrans({"→": "->", "…": "...", "·": "*", "✓": "ok", "✗": "no"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report and how it looks."""

    text: str = ""
    style: Style = "plain"


class Paper:
    """Writes lines to a stream, with colours only where the stream is a terminal that shows them.

    NO_COLOR (no-color.org) and TERM=dumb switch colours off.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.is_terminal = stream.isatty()
        self._colours = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._wide = (stream.encoding or "").lower().replace("-", "").startswith("utf")

    def write(self, lines: Iterable[Line]) -> None:
        """Write lines. Nothing in them can move the cursor or change the terminal: see `visible`."""
        for line in lines:
            text = visible(line.text)
            if not self._wide:
                text = text.translate(_SUBSTITUTES)
            if self._colours and line.style in _CODES and text:
                text = f"\x1b[{_CODES[line.style]}m{text}\x1b[0m"
            self.stream.write(f"{text}\n")

    def say(self, text: str, style: Style = "plain") -> None:
        """Write one line."""
        self.write([Line(text, style)])


def visible(text: str) -> str:
    """The text with control characters and other invisible ones escaped.

    Names and files may be anybody's, and must not reach the terminal of an administrator as commands.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def columns(rows: Iterable[tuple[str, ...]], indent: str = "  ") -> Iterable[Line]:
    """Rows as aligned columns; the last may be of any length."""
    rows = [tuple(map(visible, row)) for row in rows]
    if not rows:
        return
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield Line(indent + "  ".join([*cells, row[-1]]).rstrip())


def counted(number: int, noun: str) -> str:
    """`1 directory`, `2 directories`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def size(count: float) -> str:
    """Bytes for people, in powers of 1024."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
