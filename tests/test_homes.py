"""What is taken out of people's homes when the store goes, and what never is."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nixadmin.host import Host
from nixadmin.provision.homes import find_traces, remove_traces
from nixadmin.templates import shell
from tests.standin import make, needs_root, snapshot

pytestmark = [needs_root, pytest.mark.ring(2)]
CHANNEL = "https://example.test/channel nixpkgs"
LOGIN = f'(set -C && echo {shell(CHANNEL)} >"$home/.nix-channels")'


@pytest.fixture
def host() -> Iterator[Host]:
    # Not below pytest's own directory, which its owner alone may enter: alice is to reach her home.
    with TemporaryDirectory(prefix="nixadmin-homes-") as directory:
        Path(directory).chmod(0o755)
        host = make(Path(directory) / "host")
        for name, uid in (("home/alice", 1000), ("home/bob", 1001), ("root", 0)):
            (host.root / name).chmod(0o700)
            _give(host.root / name, uid)
        yield host


def _give(path: Path, uid: int) -> None:
    os.lchown(path, uid, uid)


def link(path: Path, target: str, uid: int = 1000) -> None:
    path.symlink_to(target)
    _give(path, uid)


def made(path: Path, uid: int = 1000) -> Path:
    path.mkdir()
    _give(path, uid)
    return path


def found(host: Host) -> set[str]:
    return {str(trace) for trace in find_traces(host, LOGIN)}


def test_links_into_the_store_go(host: Host) -> None:
    before = snapshot(host.root)
    home = host.root / "home/alice"
    link(home / ".nix-profile", "/nix/var/nix/profiles/per-user/alice/profile")
    expressions = made(home / ".nix-defexpr")
    link(expressions / "channels_root", "/nix/var/nix/profiles/per-user/root/channels")
    (host.root / "root/.nix-channels").write_text(f"{CHANNEL}\n")
    assert found(host) == {"/home/alice/.nix-profile", "/home/alice/.nix-defexpr", "/root/.nix-channels"}
    remove_traces(host, tuple(find_traces(host, LOGIN)))
    assert snapshot(host.root) == before


def test_the_link_of_nix_since_2_14_goes(host: Host) -> None:
    home = host.root / "home/alice"
    link(home / ".nix-profile", "/home/alice/.local/state/nix/profiles/profile")
    assert found(host) == {"/home/alice/.nix-profile"}


def test_what_a_person_made_stays(host: Host) -> None:
    home = host.root / "home/alice"
    link(home / ".nix-profile", "/opt/nix")
    expressions = made(home / ".nix-defexpr")
    (expressions / "mine.nix").write_text("{ }")
    link(expressions / "channels_root", "/nix/var/nix/profiles/per-user/root/channels")
    (host.root / "root/.nix-channels").write_text("https://example.test/other nixpkgs\n")
    assert found(host) == set()


def test_links_that_were_planted_gain_nothing(host: Host) -> None:
    """Whatever alice links to, it is looked at, and removed, with her rights."""
    precious = made(host.root / "etc/precious", 0)
    link(precious / "link", "/nix/store/x", 0)
    home = host.root / "home/alice"
    link(home / ".local", str(host.root / "etc"))
    link(home / ".nix-defexpr", str(precious))
    assert found(host) == set()
    host.at(Path("/etc/state")).mkdir()
    host.at(Path("/etc/state/nix")).symlink_to("/nix/store/x")
    remove_traces(host, tuple(find_traces(host, LOGIN)))
    assert host.at(Path("/etc/state/nix")).is_symlink()
    assert (precious / "link").is_symlink()
