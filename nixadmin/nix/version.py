"""Versions of Nix, and of what descends from it."""

import re
from dataclasses import dataclass, field

from typing_extensions import override

from nixadmin.errors import NixadminError

# "nix (Nix) 2.8.0", "nix-env (Lix, like Nix) 2.90.0", "nix (Determinate Nix 3.6.1) 2.29.0", "2.34.8",
# "1.11.16", Debian's "2.8.0+dfsg-1.1", a snapshot's "2.4pre20211006_53e4794".
_TEXT = re.compile(
    r"(?:nix[a-z-]* \((?P<product>[^()]*)\) )?"
    r"(?P<numbers>[0-9]{1,9}(?:\.[0-9]{1,9})+)(?P<rest>[-+~a-z_][\w.+~-]*)?",
    re.ASCII,
)
# Lix was forked from Nix 2.18 (the release notes of Lix 2.90).
_FORK = (2, 18)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version of Nix: `numbers` without zeros at the end, and whether it is a release or from before one.

    Versions of one product compare as one expects. What a version *knows* is asked with `has`.
    """

    numbers: tuple[int, ...]
    released: bool = True
    lix: bool = field(default=False, compare=False)
    text: str = field(default="", compare=False)

    @override
    def __str__(self) -> str:
        return f"{'Lix' if self.lix else 'Nix'} {self.text}"

    def has(self, release: str) -> bool:
        """Whether what came with Nix `release` is in this version.

        A snapshot counts as its release: "2.4pre…" has most of 2.4. Lix, which counts from 2.90, has what
        came with Nix 2.18 at the latest; what it took over since then is not known here.
        """
        return _numbers(release) <= (_FORK if self.lix else self.numbers)


def parse(text: str) -> Version:
    """The version in `text`: what `nix --version` prints, a bare number, or a Debian package's version.

    Raises NixadminError if there is none.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise NixadminError(f"{text.strip()[:80]!r} is not a version of Nix", "a version looks like 2.34.4")
    rest = match["rest"] or ""
    return Version(
        numbers=_numbers(match["numbers"]),
        released=re.match("[-~]?(pre|rc|dev)", rest) is None,
        lix="Lix" in (match["product"] or ""),
        text=match["numbers"] + rest,
    )


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(number) for number in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
