"""A copied program as a resource."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Step
from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host import Host
from nixadmin.resources.copy import Copy

SHELL = Path("/lib/sandbox/bash")
SOURCE = Path("/usr/bin/bash-static")

pytestmark = pytest.mark.ring(2)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for directory in ("usr/bin", "lib/sandbox", "etc"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    (tmp_path / "usr/bin/bash-static").write_bytes(b"\x00\xffshell")
    return Host(tmp_path)


def declared(content: bytes = b"\x00\xffshell", mode: int = 0o755) -> Copy:
    owner = {} if os.geteuid() == 0 else {"owner": str(os.geteuid()), "group": str(os.getegid())}
    return Copy(path=SHELL, source=SOURCE, sha256=hashlib.sha256(content).hexdigest(), mode=mode, **owner)


def perform(steps: object, host: Host) -> list[str]:
    done = []
    for step in steps:  # type: ignore[attr-defined]
        assert isinstance(step, Step)
        step.perform(host)
        done.append(str(step))
    return done


def test_there_and_back(host: Host) -> None:
    copy = declared()
    assert copy.observe(host) is None
    said = perform(copy.create(), host)
    assert said[0].startswith(f"copy {SOURCE} to {SHELL}")
    assert copy.observe(host) == copy
    assert os.listdir(host.at(SHELL.parent)) == ["bash"]
    perform(copy.create(), host)  # twice does no harm
    assert copy.observe(host) == copy
    perform(copy.remove(), host)
    assert copy.observe(host) is None


def test_the_umask_changes_nothing(host: Host) -> None:
    before = os.umask(0o077)
    try:
        perform(declared().create(), host)
    finally:
        os.umask(before)
    assert declared().observe(host) == declared()


def test_only_the_mode_is_mended_where_only_it_is_wrong(host: Host) -> None:
    perform(declared().create(), host)
    host.at(SHELL).chmod(0o600)
    inode = host.at(SHELL).stat().st_ino
    seen = declared().observe(host)
    assert seen is not None
    assert list(declared().differences(seen)) == ["mode 0600 → 0755"]
    assert not seen.edited(declared())
    perform(declared().alter(seen), host)
    assert declared().observe(host) == declared()
    assert host.at(SHELL).stat().st_ino == inode


def test_other_content_is_somebodys_edit(host: Host) -> None:
    perform(declared().create(), host)
    host.at(SHELL).write_bytes(b"something else")
    seen = declared().observe(host)
    assert seen is not None and seen.edited(declared())
    assert "content" in list(declared().differences(seen))
    perform(declared().alter(seen), host)
    assert declared().observe(host) == declared()


def test_a_source_that_has_changed_is_not_copied(host: Host) -> None:
    perform(declared().create(), host)
    host.at(SOURCE).write_bytes(b"evil")
    with pytest.raises(NixadminError, match="not what it was"):
        perform(declared().create(), host)
    assert host.at(SHELL).read_bytes() == b"\x00\xffshell"
    host.at(SOURCE).unlink()
    with pytest.raises(NixadminError, match="cannot read"):
        perform(declared().create(), host)


def test_a_source_that_is_a_link_is_not_followed(host: Host) -> None:
    host.at(SOURCE).rename(host.at(Path("/usr/bin/real")))
    host.at(SOURCE).symlink_to("real")
    with pytest.raises(NixadminError):
        perform(declared().create(), host)


@pytest.mark.parametrize("what", ["directory", "link", "fifo"])
def test_what_stands_in_its_place_is_a_conflict(host: Host, what: str) -> None:
    place = host.at(SHELL)
    match what:
        case "directory":
            place.mkdir()
        case "link":
            place.symlink_to("/etc/passwd")
        case _:
            os.mkfifo(place)
    with pytest.raises(ConflictError, match=f"is a {what if what != 'fifo' else 'other'}"):
        declared().observe(host)


def promised() -> Copy:
    return declared().model_copy(update={"sha256": None})


def test_a_source_that_is_yet_to_come(host: Host) -> None:
    host.at(SOURCE).write_bytes(Path("/bin/bash-static").read_bytes())
    perform(promised().create(), host)
    assert promised().observe(host) == promised()
    known = declared(Path("/bin/bash-static").read_bytes())
    assert known.observe(host) == known  # the next run knows what it is, and has nothing to do
    host.at(SOURCE).write_bytes(b"a newer one")
    seen = promised().observe(host)
    assert seen is not None and seen != promised() and not seen.edited(promised())


def test_a_source_that_came_and_is_not_static(host: Host) -> None:
    host.at(SOURCE).write_bytes(Path("/bin/bash").read_bytes())
    with pytest.raises(NixadminError, match="not static"):
        perform(promised().create(), host)
    assert not host.at(SHELL).exists()


def test_a_receipt_keeps_it() -> None:
    for copy in (declared(), promised()):
        data = copy.model_dump_json()
        assert Resource.kinds["copy"].model_validate_json(data) == copy
