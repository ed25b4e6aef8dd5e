"""The .reginfo format."""

import base64

import pytest

from nixadmin.errors import NixadminError
from nixadmin.nix import base32
from nixadmin.nix.registration import Registration, parse, render
from nixadmin.nix.store_path import StorePath

A = StorePath("mjp33aspphv5syz8xpcjfi41g33kbzk0", "a")
B = StorePath("b28mygmq5kv8cyxhrb0sja1zaw70a0vn", "b")
DRV = StorePath("ffmnyp7mg1m5s9baqq17ws7bgx3i4pfl", "a.drv")
HASH = bytes(range(32))
TEXT = f"{A.absolute()}\n{HASH.hex()}\n7777777\n\n0\n"


def test_what_is_written_is_read_again() -> None:
    both = (Registration(A, HASH, 12, (A, B), DRV), Registration(B, HASH, 1))
    assert parse(render(both)) == (Registration(A, HASH, 12, (B, A), DRV), both[1])
    assert render(both).startswith(f"{A.absolute()}\n{HASH.hex()}\n12\n{DRV.absolute()}\n2\n{B.absolute()}\n")


@pytest.mark.parametrize(
    "digits",
    [HASH.hex(), f"sha256:{HASH.hex()}", f"sha256:{base32.encode(HASH)}", f"sha256-{base64.b64encode(HASH).decode()}"],
)
def test_every_form_of_a_hash(digits: str) -> None:
    assert parse(TEXT.replace(HASH.hex(), digits))[0].nar_sha256 == HASH


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT[:-1], "cut off in the middle of a line"),
        (TEXT[: TEXT.index("\n7777777") + 1], "ends in the middle of"),
        (TEXT.replace("\n0\n", f"\n2\n{A.absolute()}\n"), "ends in the middle of"),
        (TEXT + TEXT, "registered twice"),
        (TEXT.replace("\n0\n", f"\n1\n{B.absolute()}\n"), "refers to .*, which is not registered"),
        (TEXT.replace("7777777", "-7777777"), "is not a number"),
        (TEXT.replace("7777777", "²"), "is not a number"),
        (TEXT.replace("\n0\n", f"\n{'9' * 18}\n"), "ends in the middle of"),
        (TEXT.replace("00", "0g", 1), "is not a SHA-256"),
        (TEXT.replace(HASH.hex(), " ".join(["00"] * 21) + "0"), "is not a SHA-256"),
        (TEXT.replace("/nix/store", "/gnu/store"), "is not in the store"),
        (TEXT.replace("-a", "-a/bin"), "is not the name of a store path"),
        (TEXT.replace("\n", "\r\n"), "is not the name of a store path"),
        ("\n", "is not in the store"),
    ],
)
def test_what_is_no_registration(text: str, message: str) -> None:
    with pytest.raises(NixadminError, match=message):
        parse(text)
