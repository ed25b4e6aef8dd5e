"""What keeps a host from sandboxing, each one really made, in a room of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nixadmin.host import Host
from nixadmin.sandbox.obstacles import obstacles
from tests import room as rooms
from tests.room import Room

pytestmark = [pytest.mark.ring(4), pytest.mark.skipif(not rooms.is_possible(), reason="needs root")]

LOOK = """
import json
from nixadmin.host import Host
from nixadmin.sandbox.obstacles import obstacles
print(json.dumps([[obstacle.what, obstacle.remedy] for obstacle in obstacles(Host())]))
"""
# seccomp(2): unshare is refused, as by the filters of containers. (load the number; is it unshare?; EPERM; allow)
FILTER = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 272}.get(__import__("os").uname().machine, 97)
code = b"".join(struct.pack("HBBI", *each) for each in (
    (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)))
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program) == 0, ctypes.get_errno()
"""
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
# A user namespace has limits of its own, and so do all that are made in it.
IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with rooms.enter(tmp_path_factory.mktemp("room")) as room:
        yield room


def limits(**values: int) -> tuple[str, ...]:
    """Run what follows in a user namespace with these limits."""
    settings = "; ".join(f"echo {value} >/proc/sys/user/max_{name}_namespaces" for name, value in values.items())
    return (*IN_A_NAMESPACE, "sh", "-ec", f'{settings}; exec "$0" "$@"')


def test_none(room: Room) -> None:
    assert room.python(LOOK) == []


@pytest.mark.parametrize("name", ["mnt", "pid", "net", "ipc", "uts"])
def test_a_limit_of_nought(room: Room, name: str) -> None:
    ((what, remedy),) = room.python(LOOK, *limits(**{name: 0}))
    assert what == f"user.max_{name}_namespaces is 0"
    assert f"sysctl -w user.max_{name}_namespaces=" in remedy


def test_no_user_namespaces_are_no_obstacle_to_root(room: Room) -> None:
    assert room.python(LOOK, *limits(user=0)) == []


def test_neither_user_namespaces_nor_privilege(room: Room) -> None:
    found = dict(room.python(LOOK, *limits(user=0), *WITHOUT_PRIVILEGE))
    assert any("CAP_SYS_ADMIN" in what for what in found)
    assert "sysctl -w user.max_user_namespaces" in found["user.max_user_namespaces is 0"]


def test_a_masked_proc(room: Room) -> None:
    room.run("mount", "--bind", "/dev/null", "/proc/kallsyms")
    try:
        ((what, remedy),) = room.python(LOOK)
        assert "/proc/kallsyms" in what and "user.max_user_namespaces=0" in remedy
    finally:
        room.run("umount", "/proc/kallsyms")


def test_a_seccomp_filter(room: Room) -> None:
    found = dict(room.python(f"{FILTER}\n{LOOK}"))
    assert any("seccomp" in what for what in found)
    assert any("Operation not permitted" in what for what in found)


def test_a_stand_in_root_has_none(tmp_path: Path) -> None:
    assert obstacles(Host(tmp_path)) == ()
