"""The probe, with a real daemon in a room of its own; and what a broken host makes of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.processes import Account
from nixadmin.host.session import run_session
from nixadmin.sandbox.finding import plain
from nixadmin.sandbox.probe import probe
from nixadmin.sandbox.witness import Sighting
from tests import room as rooms
from tests.room import Room

needs_root = pytest.mark.skipif(not rooms.is_possible(), reason="needs root")
real = pytest.mark.ring(4)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with rooms.enter(tmp_path_factory.mktemp("room")) as room:
        room.configure()
        probed(room)  # so that the store has its database, and all that follows leaves nothing new
        yield room


def probed(room: Room, timeout: float = 20, people: str = "[]") -> dict[str, dict[str, Any]]:
    """The findings, by their names."""
    found = room.python(f"""
import json
from dataclasses import asdict
from pathlib import Path
from nixadmin.host import Host
from nixadmin.host.accounts import User
from nixadmin.sandbox.probe import probe
from nixadmin.sandbox.shell import find_shell
host = Host()
found = probe(host, Path("/usr/bin"), {{30001, 30002}}, {people}, find_shell(host), {timeout})
print(json.dumps([asdict(finding) for finding in found]))
""")
    assert "traces" not in [finding["name"] for finding in found], found
    return {finding["name"]: finding for finding in found}


def wrong(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: f"{finding['saw']} → {finding['remedy']}" for name, finding in found.items() if not finding["ok"]}


@real
@needs_root
def test_a_sound_host(room: Room) -> None:
    room.configure()
    before = room.listing()
    found = probed(room)
    assert set(found) == {"build", "sandbox", "build user", "network", "shell"}
    assert not wrong(found)
    assert found["build user"]["saw"] in ("uid 30001 (nixbld1)", "uid 30002 (nixbld2)")
    assert found["network"]["saw"] == "only its own loopback"
    assert found["shell"]["saw"].endswith("static")
    assert found["build"]["saw"].startswith("uid ")  # nobody was there, and nobody was made
    assert room.listing() == before


@real
@needs_root
def test_a_user_who_has_an_account_and_logs_in(room: Room) -> None:
    room.configure()
    room.run("sh", "-c", "echo 'alice:x:1234:1234::/home/alice:/bin/bash' >>/etc/passwd")
    # The login script is what brings nix-build, and it runs under the user's name in a home that is not hers.
    room.run("sh", "-c", "echo '[ \"$USER\" = alice ]; PATH=/opt/nix:$PATH' >/etc/profile.d/nixadmin.sh")
    room.run("sh", "-c", "mkdir /opt/nix && ln -s /usr/bin/nix-build /opt/nix/nix-build")
    try:
        found = probed(room, people='[User("alice", 1234, 1234, "", "/home/alice", "/bin/bash")]')
        assert not wrong(found)
        assert found["build"]["saw"].startswith("alice built")
    finally:
        room.run("rm", "/etc/profile.d/nixadmin.sh")
    assert "/nix/var/nix/profiles/per-user/alice" not in room.listing()


@real
@needs_root
@pytest.mark.parametrize(
    ("settings", "name", "words"),
    [
        ({"sandbox": "false"}, "sandbox", "/etc/shadow"),
        ({"sandbox": "false"}, "network", "the listening port"),
        ({"sandbox-paths": "/bin/sh=/bin/busybox"}, "shell", "no bash, static"),
        ({"sandbox-paths": "/bin/sh=/bin/bash"}, "build", "needs what is not there (executing '/bin/sh'"),
        ({"sandbox-paths": "/bin/sh=/bin/bash /lib=/lib /lib64=/lib64 /usr/lib=/usr/lib"}, "shell", "libc.so"),
        ({"sandbox-paths": "/bin/sh=/nowhere"}, "build", "not on the host (getting attributes of path"),
        ({"sandbox-paths": ""}, "build", "/bin/sh is not in the sandbox"),
        ({"build-users-group": ""}, "build user", "uid 0 (root)"),
        ({"build-users-group": "nobodies"}, "build", "there is no group of build users"),
        ({"allowed-users": "alice"}, "build", "turned uid"),
    ],
)
def test_a_wrong_configuration(room: Room, settings: dict[str, str], name: str, words: str) -> None:
    before = room.listing()
    room.configure(**settings)
    found = wrong(probed(room))
    assert words in found[name]
    assert "→ " in found[name] and not found[name].endswith("→ ")
    assert room.listing() == before


@real
@needs_root
def test_a_pool_without_members(room: Room) -> None:
    room.run("sed", "-i.full", "s/^nixbld:.*/nixbld:x:30000:/", "/etc/group")
    try:
        room.configure()
        assert "has no members" in wrong(probed(room))["build"]
    finally:
        room.run("mv", "/etc/group.full", "/etc/group")


@real
@needs_root
def test_a_socket_for_some_only(room: Room) -> None:
    room.configure()
    try:
        room.run("chmod", "0700", "/nix/var/nix/daemon-socket")
        assert "may not reach the daemon's socket" in wrong(probed(room))["build"]
        room.run("sh", "-c", "chgrp 4321 /nix/var/nix/daemon-socket && chmod 0770 /nix/var/nix/daemon-socket")
        assert not wrong(probed(room))  # a nobody of that group is let in
    finally:
        room.run("sh", "-c", "chgrp 0 /nix/var/nix/daemon-socket && chmod 0755 /nix/var/nix/daemon-socket")


@real
@needs_root
def test_a_masked_proc_names_the_mask_and_the_way_out(room: Room) -> None:
    room.run("mount", "--bind", "/dev/null", "/proc/kallsyms")
    try:
        room.configure()
        said = wrong(probed(room))["build"]
        assert "parts of /proc are masked (/proc/kallsyms)" in said
        assert "user.max_user_namespaces=0" in said
    finally:
        room.run("umount", "/proc/kallsyms")


@real
@needs_root
def test_a_daemon_that_hangs_or_is_gone(room: Room) -> None:
    room.configure()
    before = room.listing()
    room.signal(signal.SIGSTOP)
    begun = time.monotonic()
    assert "no end within 1 s" in wrong(probed(room, timeout=1))["build"]
    assert time.monotonic() - begun < 5
    room.signal(signal.SIGCONT)
    room.stop()
    assert "nobody answers" in wrong(probed(room, timeout=0.5))["build"]
    room.run("rm", "/nix/var/nix/daemon-socket/socket")
    assert "socket is not there" in wrong(probed(room, timeout=0.5))["build"]
    room.configure()
    assert room.listing() == before


@real
@needs_root
def test_what_a_hostile_user_says_is_not_believed(room: Room) -> None:
    """A nix-build of the user's own names a file of its own, speaks to the terminal, and flees."""
    room.configure()
    room.run(
        "sh",
        "-c",
        r"""
mkdir -p /opt/evil
cat >/opt/evil/nix-build <<'EVIL'
#!/bin/sh
printf '\033[2J\007/etc/shadow\n'
mkdir -p "$HOME/a" && ln -s /etc "$HOME/a/link" && ln -s /etc/passwd "$HOME/passwd"
setsid sleep 300 &
EVIL
chmod 755 /opt/evil/nix-build
echo 'PATH=/opt/evil:$PATH' >/etc/profile.d/nixadmin.sh
""",
    )
    before = room.listing()
    begun = time.monotonic()
    try:
        said = wrong(probed(room))["build"]
    finally:
        room.run("rm", "/etc/profile.d/nixadmin.sh")
    assert time.monotonic() - begun < 5
    assert "another output than was asked for" in said
    assert said.isprintable()
    assert room.listing() == before
    assert room.run("stat", "-c", "%U", "/etc/passwd").stdout == "root\n"


def test_a_stand_in_root_has_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(NixadminError, match="stand-in"):
        probe(Host(tmp_path), Path("/usr/bin"), {30001})


def test_a_sighting_that_breaks_off() -> None:
    whole = "pid 1\ncwd /build\nbash 5.2\nuid 1000\nmap 1000 30001 1\nmapped /bin/sh\npaths 1\nend\n"
    seen = Sighting.read(whole)
    assert seen.uid_outside(((0, 0, 2**32 - 1),)) == 30001
    for end in range(len(whole) - 1):
        with pytest.raises(NixadminError):
            Sighting.read(whole[:end])


def test_without_a_user_namespace_the_uid_is_what_it_seems() -> None:
    container = ((0, 100000, 65536),)
    seen = Sighting.read("pid 1\ncwd /build\nbash \nuid 30001\nmap 0 100000 65536\npaths 1\nend\n")
    assert seen.uid_outside(container) == 30001


def test_plain_is_one_line_without_control_characters() -> None:
    assert plain("\x1b[31mred\x1b[0m\nand\r\x07 blue\u202e") == "[31mred [0m and blue"
    assert len(plain("x" * 1000)) == 300


def session(command: str, timeout: float = 10, limit: int = 2**18) -> Any:  # noqa: ANN401
    account = Account(os.geteuid(), os.getegid())
    env = {"PATH": "/usr/bin:/bin"}
    return run_session(
        ["/bin/sh", "-c", command], account=account, env=env, cwd=Path("/"), timeout=timeout, limit=limit
    )


@needs_root
def test_a_session_is_bounded_in_time_and_in_words() -> None:
    assert session("sleep 30", timeout=0.2).code is None
    assert session("kill -9 $$").code == -9
    assert len(session("head -c 5000000 /dev/zero", limit=1000).out) == 1000
    assert session("yes & yes >&2", timeout=0.3).code is None
    assert session("exit 7").code == 7
    assert session("printf '\\377'").out == "�"


@needs_root
def test_a_session_leaves_no_process(tmp_path: Path) -> None:
    mark = tmp_path / "late"
    begun = time.monotonic()
    session(f"(sleep 1; touch {mark}) & exit 0")
    assert time.monotonic() - begun < 0.9
    time.sleep(1.2)
    assert not mark.exists()


@needs_root
def test_a_session_sees_only_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    said = session("env").out.splitlines()
    assert not [line for line in said if line.startswith("SECRET")]
    with contextlib.suppress(ValueError):
        json.loads(said[0])
