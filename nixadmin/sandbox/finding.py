"""What a probe saw."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, in words for people: `saw` and `expected` are phrases that fit together.

    `remedy` says what to do where it is not `ok`.
    """

    name: str
    ok: bool
    saw: str
    expected: str
    remedy: str = ""


def plain(text: str, longest: int = 300) -> str:
    """What somebody else's program has said, fit for a terminal: one line, no control characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
