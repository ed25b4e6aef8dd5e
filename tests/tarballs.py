"""Small tarballs of Nix, whole ones and broken ones."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path

import zstandard

from nixadmin.nix import nar
from nixadmin.nix.registration import Registration, render
from nixadmin.nix.store_path import StorePath, content_addressed

TOP = "nix-2.34.4-x86_64-linux"


def header(name: str, **fields: object) -> tarfile.TarInfo:
    """The header of a member below TOP, or of an absolute one."""
    made = tarfile.TarInfo(name if name.startswith(("/", "..", "./")) else f"{TOP}/{name}" if name else TOP)
    made.mode, made.mtime = 0o755, 1
    for field, value in fields.items():
        setattr(made, field, value)
    return made


class Draft:
    """A tarball in the making: its members can be changed before it is written."""

    def __init__(self, tmp_path: Path) -> None:
        self.room = tmp_path / "draft"
        self.registrations: list[Registration] = []
        self.members: list[tuple[tarfile.TarInfo, bytes]] = []
        self.install = (header("install", size=3), b"hi\n")
        nix = self.path("nix-2.34.4", {"bin/nix": b"#!/bin/sh\n", "share/doc": b"text\n" * 20000, "lib": "bin"})
        self.nix = nix
        self.cacert = self.path("nss-cacert-3.1", {"etc/ssl/certs/ca-bundle.crt": b"certificates\n"})

    def path(self, name: str, files: dict[str, bytes | str]) -> StorePath:
        """Add a store path: bytes are a file (executable in bin/), a str is a link."""
        tree = self.room / name
        for inner, content in files.items():
            place = tree / inner
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                place.symlink_to(content)
            else:
                place.write_bytes(content)
                place.chmod(0o755 if inner.startswith("bin/") else 0o644)
        hashed = nar.hash_path(tree)
        path = content_addressed(hashed.sha256, name)
        self.registrations.append(Registration(path, hashed.sha256, hashed.size))
        for one in [tree, *sorted(tree.rglob("*"))]:
            suffix = "" if one == tree else f"/{one.relative_to(tree)}"
            member = header(f"store/{path}{suffix}", mode=0o755 if one.stat().st_mode & 0o100 else 0o644)
            content = b""
            if one.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, str(one.readlink())
            elif one.is_dir():
                member.type = tarfile.DIRTYPE
            else:
                content = one.read_bytes()
                member.size = len(content)
            self.members.append((member, content))
        return path

    def add(self, name: str, content: bytes = b"", /, **fields: object) -> None:
        """Add any member, good or bad."""
        self.members.append((header(name, size=len(content), **fields), content))

    def reginfo(self) -> tuple[tarfile.TarInfo, bytes]:
        text = render(self.registrations).encode()
        return header(".reginfo", size=len(text), mode=0o644), text

    def bytes(self, *, reginfo: str = "first", format: int = tarfile.GNU_FORMAT) -> bytes:  # noqa: A002
        """The uncompressed archive, its .reginfo `first`, `last` or `none`."""
        members: Iterable[tuple[tarfile.TarInfo, bytes]] = {
            "first": [self.install, self.reginfo(), *self.members],
            "last": [self.install, *self.members, self.reginfo()],
            "none": [self.install, *self.members],
        }[reginfo]
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=format) as archive:
            for member, content in members:
                archive.addfile(member, io.BytesIO(content))
        return out.getvalue()


def compress(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".xz":
            return lzma.compress(data, preset=0)
        case ".zst":
            return zstandard.compress(data)
        case ".gz":
            return gzip.compress(data, mtime=1)
        case _:
            return data
