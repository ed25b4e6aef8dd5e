"""The official release that is pinned: where its tarballs are, and their digests."""

from dataclasses import dataclass

from nixadmin.errors import NixadminError

VERSION = "2.34.4"

# As published in the install script of 2.34.4.
SHA256 = {
    "x86_64-linux": "595669eb6db6117135ca8ba6667b273eaf980a47523a92e61ed963556cd547b8",
    "i686-linux": "ad77c07a7cd7b6a2fa20f2ceaf445031051919f0b8fcf0eed98bf43f07eb1dc3",
    "aarch64-linux": "11f5dca5e2eccd7fca31d84ee16fbe18e8752c45a9ca223a1e55aaa16548a48b",
    "armv6l-linux": "84d5083864e6f9b65e931d1580412412c90ddca341be3bb005355420ee107fbf",
    "armv7l-linux": "b5d9967f0b98e89f34d76d7f8d12e6456010c4934b2a29d2812a5cd7dcfd4d58",
    "riscv64-linux": "77e93ba1b86c7a786ef54fb0730e9fd927002d2df5a3e2a9aae3cef33d88d688",
}


@dataclass(frozen=True, slots=True)
class Release:
    """A tarball that can be downloaded: its address and the SHA-256 (hexadecimal) it must have."""

    version: str
    system: str
    url: str
    sha256: str


def pinned(system: str) -> Release:
    """The pinned release for a system such as `x86_64-linux`. Raises NixadminError where there is none."""
    if system not in SHA256:
        raise NixadminError(
            f"no official Nix {VERSION} is made for {system}",
            f"use a Nix of this host, or a tarball of your own; official ones: {', '.join(SHA256)}",
        )
    return Release(VERSION, system, url(VERSION, system), SHA256[system])


def url(version: str, system: str) -> str:
    """Where the official tarball of any version is."""
    return f"https://releases.nixos.org/nix/nix-{version}/nix-{version}-{system}.tar.xz"


def known_sha256(address: str) -> str | None:
    """The digest (hexadecimal) of a URL if it is a pinned tarball's own address."""
    return next((digest for system, digest in SHA256.items() if address == url(VERSION, system)), None)
