"""The pinned release."""

import re

import pytest

from nixadmin.errors import NixadminError
from nixadmin.nix import releases


@pytest.mark.parametrize("system", releases.SHA256)
def test_every_system(system: str) -> None:
    release = releases.pinned(system)
    assert release.url == f"https://releases.nixos.org/nix/nix-2.34.4/nix-2.34.4-{system}.tar.xz"
    assert re.fullmatch("[0-9a-f]{64}", release.sha256)
    assert releases.known_sha256(release.url) == release.sha256


def test_each_has_its_own_digest() -> None:
    assert len(set(releases.SHA256.values())) == len(releases.SHA256) == 6


def test_others() -> None:
    assert releases.known_sha256(releases.url("2.34.3", "x86_64-linux")) is None
    with pytest.raises(NixadminError, match=r"no official Nix 2\.34\.4 is made for s390x-linux"):
        releases.pinned("s390x-linux")
