"""What can befall an installation: for every resource, every way to break it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from typing_extensions import override

from nixadmin.engine.resource import Resource
from nixadmin.resources import Block, Copy, Directory, File, Pool, Profile, Service, StorePaths

Break = Callable[[Path], object]  # of the tree that stands in for the host


@dataclass(frozen=True, slots=True)
class Damage:
    """A way to break a resource.

    `edit` says that it looks like a person's work: a conflict, until nixadmin is told to take over. `refused` is
    what nixadmin says of what it must not mend by itself. `takes` matches the names of what was there before nixadmin
    came and the damage itself took: nobody can give that back.
    """

    what: str
    subject: str
    do: Break
    edit: bool = False
    refused: str = ""
    takes: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


def damages(installation: list[Resource]) -> Iterator[Damage]:
    """Every damage to every resource of an installation."""
    paths = {resource.path for resource in installation if isinstance(resource, File)}
    for resource in installation:
        match resource:
            case Pool():
                yield from _to_pool(resource)
            case Directory():
                yield from _to_directory(resource)
            case Block():
                yield from _to_block(resource)
            case Copy() | File():
                yield from _to_file(resource)
            case StorePaths():
                yield from _to_store(resource)
            case Profile():
                yield from _to_profile(resource)
            case Service():
                yield from _to_service(resource, paths)
            case _:
                raise NotImplementedError(f"no damage is known to {resource.id}")


def _at(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def remove(path: Path) -> None:
    """Remove whatever is at `path`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _remove_at(path: Path, root: Path) -> None:
    remove(_at(root, path))


def _without_lines(root: Path, pattern: str, *names: str) -> None:
    for name in names:
        path = root / "etc" / name
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not re.match(pattern, line)))


def _changed(root: Path, pattern: str, replacement: str, *names: str) -> None:
    for name in names:
        path = root / "etc" / name
        text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
        assert count, f"nothing to change in {name}"
        path.write_text(text)


def _to_pool(pool: Pool) -> Iterator[Damage]:
    everybody = f"{pool.group}[0-9]+:"
    accounts = ("passwd", "shadow")
    groups = ("group", "gshadow")

    def damage(what: str, do: Break, refused: str = "") -> Damage:
        # Of accounts that were there before, the receipt knows what builds need, and not the line in shadow.
        return Damage(what, pool.id, do, refused=refused, takes="etc/(passwd|shadow|group|gshadow)")

    yield damage("all users deleted", lambda root: _without_lines(root, everybody, *accounts))
    yield damage("some users deleted", lambda root: _without_lines(root, f"{pool.group}[3-7]:", *accounts))
    yield damage("the first user deleted", lambda root: _without_lines(root, f"{pool.group}1:", *accounts))
    yield damage("the last user deleted", lambda root: _without_lines(root, f"{pool.users[-1].name}:", *accounts))
    yield damage("the group deleted", lambda root: _without_lines(root, f"{pool.group}:", *groups))

    def all_gone(root: Path) -> None:
        _without_lines(root, everybody, *accounts)
        _without_lines(root, f"{pool.group}:", *groups)

    yield damage("users and group deleted", all_gone)
    yield damage("no members", lambda root: _changed(root, f"^({pool.group}:.*:)[^:]*$", r"\1", "group"))
    yield damage("a member removed", lambda root: _changed(root, rf"\b{pool.group}2,", "", "group"))
    yield damage("a ghost for a member", lambda root: _changed(root, rf"\b{pool.group}2,", "nobody-at-all,", "group"))
    yield damage("a shell", lambda root: _changed(root, f"^({pool.group}2:.*:)[^:]*$", r"\1/bin/bash", "passwd"))
    yield damage(
        "another home", lambda root: _changed(root, f"^({pool.group}2:.*:)[^:]*(:[^:]*)$", r"\1/home/alice\2", "passwd")
    )
    yield damage(
        "another primary group",
        lambda root: _changed(root, f"^({pool.group}2:x:[0-9]+:)[0-9]+", r"\g<1>1000", "passwd"),
    )
    yield damage("a password", lambda root: _changed(root, f"^({pool.group}2:)[^:]*", r"\1$y$j9T$secret", "shadow"))
    yield damage(
        "a stranger for a member",
        lambda root: _changed(root, f"^({pool.group}:.*)$", r"\1,alice", "group"),
        "alice in group nixbld is no build user",
    )
    yield damage(
        "another's uid",
        lambda root: _changed(root, r"^(bob:x:)[0-9]+", rf"\g<1>{pool.users[4].uid}", "passwd"),
        "shares uid",
    )


def _to_directory(directory: Directory) -> Iterator[Damage]:
    path = directory.path

    def damage(what: str, do: Break, refused: str = "") -> Damage:
        return Damage(what, directory.id, do, refused=refused)

    yield damage("gone", lambda root: remove(_at(root, path)))
    yield damage("mode changed", lambda root: _at(root, path).chmod(0o777))
    yield damage("owner changed", lambda root: os.chown(_at(root, path), 4711, -1))
    yield damage("group changed", lambda root: os.chown(_at(root, path), -1, 4711))

    def replace_by_file(root: Path) -> None:
        remove(_at(root, path))
        _at(root, path).write_text("a file\n")

    def replace_by_link(root: Path) -> None:
        remove(_at(root, path))
        _at(root, path).symlink_to("/tmp")

    yield damage("a file in its place", replace_by_file, f"{path} is a file, not a directory")
    yield damage("a link in its place", replace_by_link, f"{path} is a link")


def _to_file(file: File | Copy) -> Iterator[Damage]:
    path = file.path

    def damage(what: str, do: Break, *, edit: bool = False, refused: str = "") -> Damage:
        return Damage(what, file.id, do, edit, refused, takes=str(path)[1:])

    yield damage("gone", lambda root: remove(_at(root, path)))
    yield replace(
        damage("its directory gone", lambda root: remove(_at(root, path).parent)), takes=f"{str(path.parent)[1:]}(/.*)?"
    )
    yield damage("emptied", lambda root: _rewrite(_at(root, path), b""), edit=True)
    yield damage(
        "edited", lambda root: _rewrite(_at(root, path), _at(root, path).read_bytes() + b"# mine\n"), edit=True
    )
    yield damage("replaced", lambda root: _rewrite(_at(root, path), b"#!/bin/sh\necho mine\n"), edit=True)
    yield damage("mode changed", lambda root: _at(root, path).chmod(0o666))
    yield damage("owner changed", lambda root: os.chown(_at(root, path), 1001, 1001))

    def replace_by_directory(root: Path) -> None:
        remove(_at(root, path))
        _at(root, path).mkdir()

    def replace_by_link(root: Path) -> None:
        remove(_at(root, path))
        _at(root, path).symlink_to("/etc/passwd")

    yield damage("a directory in its place", replace_by_directory, refused=f"{path} is a directory, not a file")
    yield damage("a link in its place", replace_by_link, refused=f"{path} is a link, not a file")


def _rewrite(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode & 0o7777)


def _to_block(block: Block) -> Iterator[Damage]:
    path = block.path

    def damage(what: str, do: Break, *, edit: bool = False, refused: str = "") -> Damage:
        return Damage(what, block.id, do, edit, refused, takes=str(path)[1:])

    def changed(pattern: str, replacement: str) -> Break:
        def do(root: Path) -> None:
            text, count = re.subn(pattern, replacement, _at(root, path).read_text(), flags=re.MULTILINE)
            assert count, f"nothing to change in {path}"
            _at(root, path).write_text(text)

        return do

    yield damage("the file gone", lambda root: remove(_at(root, path)))
    yield damage("the file emptied", lambda root: _at(root, path).write_text(""))
    yield replace(
        damage("its directory gone", lambda root: remove(_at(root, path).parent)), takes=f"{str(path.parent)[1:]}(/.*)?"
    )
    yield damage("the block gone", changed(r"# nixadmin: begin(.|\n)*", ""))
    yield damage("a line of the block edited", changed("^sandbox = true", "sandbox = false"), edit=True)
    yield damage("a line of the block gone", changed("^sandbox = true\n", ""), edit=True)
    yield damage("no text", lambda root: _at(root, path).write_bytes(b"\xff\xfe"), refused="is no line of nix.conf")

    def replace_by_directory(root: Path) -> None:
        remove(_at(root, path))
        _at(root, path).mkdir()

    yield damage("a directory in its place", replace_by_directory, refused=f"{path} is a directory, not a file")


def _to_store(brought: StorePaths) -> Iterator[Damage]:
    database = Path("/nix/var/nix/db")

    def damage(what: str, do: Break) -> Damage:
        return Damage(what, brought.id, do)

    def all_paths_gone(root: Path) -> None:
        for path in brought.paths:
            remove(_at(root, path))

    for path in brought.paths:
        yield damage(f"{path.name[33:]} gone", partial(_remove_at, path))
    yield damage("all paths gone", all_paths_gone)
    yield damage("all of the store gone", lambda root: remove(root / "nix/store"))
    yield damage("all of /nix gone", lambda root: remove(root / "nix"))
    yield damage("the database gone", lambda root: remove(_at(root, database)))
    yield damage("the database's file gone", lambda root: remove(_at(root, database / "db.sqlite")))
    yield damage("Nix itself gone", lambda root: remove(_at(root, brought.programs)))


def _to_profile(profile: Profile) -> Iterator[Damage]:
    def damage(what: str, do: Break) -> Damage:
        return Damage(what, profile.id, do)

    def generation_gone(root: Path) -> None:
        for path in _at(root, profile.path.parent).glob(f"{profile.path.name}-*-link"):
            path.unlink()

    def environment_gone(root: Path) -> None:
        for path in (root / "nix/store").glob("*-user-environment"):
            remove(path)

    yield damage("gone", lambda root: remove(_at(root, profile.path)))
    yield damage("its generation gone", generation_gone)
    yield damage("its environment gone from the store", environment_gone)


def _to_service(service: Service, ours: set[Path]) -> Iterator[Damage]:
    socket = Path(f"/etc/systemd/system/{service.name}.socket")

    def damage(what: str, do: Break, refused: str = "") -> Damage:
        return Damage(what, service.id, do, refused=refused)

    def disable(root: Path) -> None:
        [link] = (path for path in (root / "etc/systemd/system").glob("*.wants/*") if path.name == socket.name)
        link.unlink()

    def mask(root: Path) -> None:
        _at(root, socket).unlink(missing_ok=True)
        _at(root, socket).symlink_to("/dev/null")

    yield damage("disabled", disable)
    # systemctl does not mask what lies in /etc; who did it by hand has moved our file away.
    yield damage("masked", mask, f"{socket} is a link, not a file" if socket in ours else "")
