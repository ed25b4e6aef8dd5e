"""Nix's base-32."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixadmin.errors import NixadminError
from nixadmin.nix import base32


@given(st.binary(max_size=64))
def test_what_is_written_is_read_again(data: bytes) -> None:
    assert base32.decode(base32.encode(data)) == data


@pytest.mark.parametrize("digits", ["00" * 32, "ff" * 32, "0123456789abcdef" * 4])
def test_as_nix_writes_it(digits: str) -> None:
    nix = subprocess.run(
        ["nix-hash", "--to-base32", "--type", "sha256", digits], capture_output=True, text=True, check=True
    )
    assert base32.encode(bytes.fromhex(digits)) == nix.stdout.strip()


@pytest.mark.parametrize("text", ["e", "000", "zz", "0" * 31 + "U", "\n" * 32, "1" + "0" * 50 + "é"])
def test_what_is_no_base32(text: str) -> None:
    with pytest.raises(NixadminError, match="is not Nix base-32"):
        base32.decode(text)
