"""Nix's base-32: its own alphabet, least significant digit last (Nix manual, "Store path" protocol)."""

from nixadmin.errors import NixadminError

ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"  # no e, o, t, u
_VALUES = {digit: value for value, digit in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Write bytes in Nix's base-32: 32 digits for 20 bytes, 52 for 32."""
    number = int.from_bytes(data, "little")
    length = (len(data) * 8 + 4) // 5
    return "".join(ALPHABET[number >> (5 * n) & 31] for n in reversed(range(length)))


def decode(text: str) -> bytes:
    """Read what `encode` wrote. Raises NixadminError for another alphabet or bits that fit no byte."""
    number = 0
    for digit in text:
        if digit not in _VALUES:
            raise NixadminError(f"{text!r} is not Nix base-32", f"its digits are {ALPHABET}")
        number = number << 5 | _VALUES[digit]
    length = len(text) * 5 // 8
    if number >> 8 * length or len(text) != (length * 8 + 4) // 5:
        raise NixadminError(f"{text!r} is not Nix base-32", "it has digits that belong to no byte")
    return number.to_bytes(length, "little")
