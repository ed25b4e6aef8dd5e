"""The pool of build users: made, adopted, damaged, mended and taken back, on stand-in roots."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nixadmin.engine.receipt import Entry
from nixadmin.engine.resource import Resource
from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host import Host
from nixadmin.provision.ids import Choice, Wish, choose
from nixadmin.resources.pool import BuildUser, Pool, SetPool, in_order, named
from tests.standin import make, needs_root, snapshot
from tests.test_accounts import kill_everywhere

pytestmark = [needs_root, pytest.mark.ring(2)]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make(tmp_path / "host")


def become(host: Host, subject: Pool, goal: Pool | None) -> None:
    """What the engine does with one resource."""
    before = subject.observe(host)
    if before == goal:
        return
    if goal is None:
        assert before is not None
        steps = before.remove()
    else:
        steps = goal.create() if before is None else goal.alter(before)
    for step in steps:
        step.perform(host)
    assert subject.observe(host) == goal


class Receipt:
    """What was there first and what was made last."""

    def __init__(self) -> None:
        self.known: Pool | None = None
        self.original: Pool | None = None

    def provision(self, host: Host, wish: Wish | None = None) -> Choice:
        choice = choose(host.accounts, wish or Wish(), self.known, self.original)
        if self.known is None:
            self.original = choice.pool.observe(host)
        self.known = choice.pool
        become(host, choice.pool, choice.pool)
        again = choose(host.accounts, wish or Wish(), self.known, self.original)
        assert again.pool == choice.pool, "the second run finds the same"
        return choice

    def uninstall(self, host: Host) -> None:
        assert self.known is not None
        become(host, self.known, self.original)


def tool(host: Host, *words: str | int) -> None:
    """Run a tool of shadow's inside the root."""
    name, *rest = map(str, words)
    subprocess.run([name, "--root", host.root, *rest], check=True, capture_output=True)


def edit(host: Host, name: str, old: str, new: str) -> None:
    path = host.root / "etc" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_made_and_taken_back(host: Host) -> None:
    (host.root / "etc/subuid").write_text("alice:100000:65536\n")
    before = snapshot(host.root)
    receipt = Receipt()
    pool = receipt.provision(host).pool
    assert receipt.original is None
    assert (pool.gid, len(pool.users)) == (30000, 32)
    assert pool.members == tuple(f"nixbld{number}" for number in range(1, 33))
    assert pool.users[-1] == BuildUser(
        name="nixbld32", uid=30032, gid=30000, comment="Nix build user 32", shell="/usr/sbin/nologin"
    )
    after = snapshot(host.root)
    assert {name for name in after if before.get(name) != after[name]} == {
        f"etc/{name}" for name in ("passwd", "group", "shadow", "gshadow")
    }, "no home, no mail, no subordinate ids, no lock left"
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_the_tools_of_the_host_agree(host: Host) -> None:
    Receipt().provision(host)
    tool(host, "grpck", "-r")
    checked = subprocess.run(["pwck", "-r", "--root", host.root], capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stdout.splitlines() if "nixbld" in line]
    assert all("directory '/var/empty' does not exist" in line for line in complaints), complaints
    tool(host, "userdel", "nixbld7")
    tool(host, "usermod", "--lock", "nixbld8")
    shadow = (host.root / "etc/shadow").read_text()
    assert "nixbld7:" not in shadow
    assert "nixbld8:!" in shadow


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\n+::::::\n", "\n# end", "\n+::::::"])
def test_odd_files_come_back_byte_for_byte(host: Host, ending: str) -> None:
    for name in ("passwd", "shadow", "group"):
        path = host.root / "etc" / name
        path.write_bytes(b"# caf\xe9\n\n:::\nbroken\n" + path.read_bytes().rstrip(b"\n") + ending.encode())
    before = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host)
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_without_shadow(host: Host) -> None:
    for name in ("shadow", "gshadow"):
        (host.root / "etc" / name).unlink()
    before = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host)
    assert "nixbld1:!:30001" in (host.root / "etc/passwd").read_text()
    receipt.uninstall(host)
    assert snapshot(host.root) == before


# Half a pool, and its cure

ALL = [f"nixbld{number}" for number in range(1, 33)]
# Each a list of tools to run; `edit` stands for what no tool would do.
DAMAGES: dict[str, list[tuple[str, ...]]] = {
    "some users deleted": [("userdel", name) for name in ("nixbld3", "nixbld17", "nixbld32")],
    "all users deleted": [("userdel", name) for name in ALL],
    "group deleted": [("groupdel", "--force", "nixbld")],
    "group and users deleted": [*(("userdel", name) for name in ALL), ("groupdel", "nixbld")],
    "members taken out": [("groupmod", "-U", "nixbld1,nixbld2", "nixbld")],
    "no members": [("edit", "group", ",".join(ALL), "")],
    "another primary group": [("usermod", "-g", "daemon", "nixbld4")],
    "a login shell": [("usermod", "-s", "/bin/bash", "nixbld5")],
    "another home": [("usermod", "-d", "/home/alice", "nixbld6")],
    "another comment": [("usermod", "-c", "Bob", "nixbld6")],
    "a password": [("usermod", "-p", "$6$salt$hash", "nixbld7")],
    "no password": [("edit", "shadow", "nixbld8:!:", "nixbld8::")],
    "a member that is no user": [("edit", "group", "nixbld9,", "nixbld9,ghost,")],
    "a member listed twice": [("edit", "group", "nixbld9,", "nixbld9,nixbld9,")],
    "no shadow line": [("edit", "shadow", "nixbld8:!:", "nobody-at-all:!:")],
}


def damage(host: Host, name: str) -> None:
    for command in DAMAGES[name]:
        if command[0] == "edit":
            edit(host, *command[1:])
        else:
            tool(host, *command)
    for backup in host.root.glob("etc/*-"):
        backup.unlink()


@pytest.mark.parametrize("name", [name for name in DAMAGES if name != "no shadow line"])
def test_damage_is_seen_told_and_mended(host: Host, name: str) -> None:
    before = snapshot(host.root)
    receipt = Receipt()
    declared = receipt.provision(host).pool
    damage(host, name)
    observed = declared.observe(host)
    assert observed != declared
    if observed is not None:
        assert list(declared.differences(observed))
    assert receipt.provision(host).pool.users == declared.users, "who is gone comes back as who it was"
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_no_shadow_line_is_no_damage(host: Host) -> None:
    """Nobody can log in as such a user; only pwck(8) minds."""
    declared = Receipt().provision(host).pool
    damage(host, "no shadow line")
    assert declared.observe(host) == declared


def test_an_uninstall_of_half_a_pool(host: Host) -> None:
    before = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host)
    for name in ("some users deleted", "group deleted", "a login shell"):
        damage(host, name)
    receipt.uninstall(host)
    assert snapshot(host.root) == before


# What was there before


def debian(host: Host) -> None:
    """As Debian's nix-setup-systemd makes them: ten users, all ids as they come."""
    tool(host, "groupadd", "--system", "--gid", 982, "nixbld")
    for number in range(1, 11):
        tool(
            host, "useradd", "--system", "--uid", 981 - number, "--gid", "nixbld", "--groups", "nixbld",
            "--no-create-home",
            "--home-dir", "/var/empty", "--shell", "/usr/sbin/nologin", "--comment", f"Nix build user {number}",
            f"nixbld{number}",
        )  # fmt: skip
    for backup in host.root.glob("etc/*-"):
        backup.unlink()


def test_debians_ten_are_adopted_as_they_are(host: Host) -> None:
    debian(host)
    before = snapshot(host.root)
    choice = choose(host.accounts, Wish(count=10))
    assert choice.pool.observe(host) == choice.pool, "nothing to do"
    receipt = Receipt()
    pool = receipt.provision(host).pool
    assert pool.gid == 982
    assert [user.uid for user in pool.users] == [*range(980, 970, -1), *range(30011, 30033)]
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_what_had_to_be_changed_in_theirs_is_changed_back(host: Host) -> None:
    debian(host)
    tool(host, "usermod", "-s", "/bin/bash", "-p", "$6$salt$hash", "nixbld2")
    tool(host, "usermod", "-g", "daemon", "nixbld3")
    edit(host, "shadow", "nixbld4:!:", "nixbld4::")
    edit(host, "group", "nixbld:x:982:nixbld1,nixbld2,", "nixbld:x:982:nixbld2,ghost,nixbld1,")
    edit(host, "group", ",nixbld10", "")
    edit(host, "gshadow", ",nixbld10", "")
    for backup in host.root.glob("etc/*-"):
        backup.unlink()
    before = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host)
    assert host.accounts.locked("nixbld2") is True
    assert "nixbld2:!$6$salt$hash:" in (host.root / "etc/shadow").read_text()
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_a_comment_of_theirs_in_no_known_encoding(host: Host) -> None:
    debian(host)
    passwd = host.root / "etc/passwd"
    passwd.write_bytes(
        passwd.read_bytes().replace(b"Nix build user 3:/var/empty:/usr/sbin/nologin", b"\xff\xfe:/\xe9:/bin/sh")
    )
    before = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host)
    assert b"\xff\xfe:/\xe9:/usr/sbin/nologin" in passwd.read_bytes()
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_users_of_a_lost_group(host: Host) -> None:
    debian(host)
    edit(host, "group", next(x for x in (host.root / "etc/group").read_text().splitlines(True) if "nixbld" in x), "")
    edit(
        host, "gshadow", next(x for x in (host.root / "etc/gshadow").read_text().splitlines(True) if "nixbld" in x), ""
    )
    before = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host)
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_who_joins_later_stays_in_a_group_that_stays(host: Host) -> None:
    debian(host)
    receipt = Receipt()
    receipt.provision(host)
    edit(host, "group", "nixbld:x:982:nixbld1,", "nixbld:x:982:nixbld1,alice,")
    receipt.uninstall(host)
    group = host.accounts.group("nixbld")
    assert group is not None
    assert group.members == ("nixbld1", "alice", *(f"nixbld{number}" for number in range(2, 11)))


def test_a_pool_shrinks_to_what_was_there(host: Host) -> None:
    debian(host)
    before = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host, Wish(count=40))
    assert len(receipt.provision(host, Wish(count=20)).pool.users) == 20
    assert len(receipt.provision(host, Wish(count=4)).pool.users) == 10
    assert snapshot(host.root) == before
    receipt.provision(host, Wish(count=12))
    receipt.uninstall(host)
    assert snapshot(host.root) == before


def test_other_groups_forget_who_is_gone(host: Host) -> None:
    receipt = Receipt()
    before = snapshot(host.root)
    receipt.provision(host)
    tool(host, "usermod", "-aG", "daemon,alice", "nixbld1")
    receipt.uninstall(host)
    for backup in host.root.glob("etc/*-"):
        backup.unlink()
    assert snapshot(host.root) == before


# What must not be


def test_an_id_is_not_changed(host: Host) -> None:
    receipt = Receipt()
    declared = receipt.provision(host).pool
    edit(host, "passwd", "nixbld3:x:30003:", "nixbld3:x:31003:")
    observed = declared.observe(host)
    assert observed is not None
    with pytest.raises(ConflictError, match=r"nixbld3 has uid 31003 instead of 30003") as conflict:
        list(declared.alter(observed))
    assert conflict.value.hint is not None
    assert "usermod -u 30003 nixbld3" in conflict.value.hint
    with pytest.raises(ConflictError, match="gid 7 instead of 30000"):
        list(declared.alter(declared.model_copy(update={"gid": 7})))


def test_the_primary_group_of_another_stays(host: Host) -> None:
    receipt = Receipt()
    receipt.provision(host)
    tool(host, "usermod", "-g", "nixbld", "bob")
    before = snapshot(host.root)
    with pytest.raises(NixadminError, match=r"nixbld is the primary group of bob") as refused:
        receipt.uninstall(host)
    assert refused.value.hint == "usermod -g OTHER_GROUP bob"
    assert snapshot(host.root) == before, "nothing half-done"


def test_who_came_meanwhile_is_not_run_over(host: Host) -> None:
    pool = choose(host.accounts, Wish()).pool
    tool(host, "useradd", "-M", "-N", "-g", "daemon", "-u", 30005, "mallory")
    before = snapshot(host.root)
    with pytest.raises(NixadminError, match=r"user mallory .* has come meanwhile"):
        SetPool(None, pool).perform(host)
    tool(host, "userdel", "mallory")
    tool(host, "groupadd", "-g", 30000, "docker")
    with pytest.raises(NixadminError, match="group docker:x:30000 has come meanwhile"):
        SetPool(None, pool).perform(host)
    tool(host, "groupdel", "docker")
    assert {name for name in before if snapshot(host.root).get(name) != before[name]} <= {"etc/passwd", "etc/shadow"}


def test_twice_does_no_harm(host: Host) -> None:
    before = snapshot(host.root)
    pool = choose(host.accounts, Wish()).pool
    for change in (SetPool(None, pool), SetPool(pool, None)):
        change.perform(host)
        once = snapshot(host.root)
        change.perform(host)
        assert snapshot(host.root) == once
    assert once == before


# Killed


@pytest.mark.parametrize("adopted", [False, True])
def test_killed_anywhere_the_next_run_goes_on(tmp_path: Path, adopted: bool) -> None:
    host = make(tmp_path / "host")
    if adopted:
        debian(host)
    origin = snapshot(host.root)
    undisturbed = Receipt()
    pool = undisturbed.provision(host, Wish(count=12)).pool
    done = snapshot(host.root)
    undisturbed.uninstall(host)
    assert snapshot(host.root) == origin

    def provision() -> None:
        become(host, pool, pool)

    def uninstall() -> None:
        become(host, pool, undisturbed.original)

    def tidy() -> dict[str, tuple[object, ...]]:
        # What a kill after the last rename leaves: locks of the dead, which the next who locks takes away.
        return {name: what for name, what in snapshot(host.root).items() if not name.endswith("lock")}

    def after_provision(_stop: int) -> None:
        receipt = Receipt()
        receipt.known, receipt.original = pool, undisturbed.original
        assert receipt.provision(host, Wish(count=12)).pool == pool
        assert tidy() == done
        uninstall()
        assert tidy() == origin

    def after_uninstall(_stop: int) -> None:
        uninstall()
        assert tidy() == origin
        provision()
        assert tidy() == done

    assert kill_everywhere(provision, after_provision) > 100
    assert kill_everywhere(uninstall, after_uninstall) > 100


# Properties

USERS = st.lists(
    st.tuples(
        st.sampled_from(["nixbld1", "nixbld2", "nixbld5", "nixbld33", "nixbld01", "builder"]),
        st.booleans(),  # a member
        st.sampled_from(["/usr/sbin/nologin", "/bin/false"]),
        st.sampled_from(["/var/empty", "/nonexistent"]),
        st.sampled_from(["!", "*", "$6$salt$hash", ""]),
    ),
    unique_by=lambda user: user[0],
)
ORDER = st.randoms(use_true_random=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(users=USERS, group=st.booleans(), count=st.integers(1, 8), later=st.integers(1, 8), order=ORDER, data=st.data())
def test_whatever_was_there_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    users: list[tuple[str, bool, str, str, str]],
    group: bool,
    count: int,
    later: int,
    order: object,
    data: st.DataObject,
) -> None:
    host = make(tmp_path_factory.mktemp("host"))
    etc = host.root / "etc"
    lines = (etc / "passwd").read_text().splitlines()
    for place, (name, _member, shell, home, password) in enumerate(users):
        lines.append(f"{name}:x:{900 + place}:982:theirs:{home}:{shell}")
        with (etc / "shadow").open("a") as shadow:
            shadow.write(f"{name}:{password}:19000::::::\n")
    order.shuffle(lines)  # type: ignore[attr-defined]
    (etc / "passwd").write_text("\n".join(lines) + "\n")
    if group:
        # Whoever has no name of a build user is one by being a member.
        members = ",".join(name for name, member, *_ in users if member or not name.startswith("nixbld"))
        hidden = data.draw(st.sampled_from([members, ""]))
        with (etc / "group").open("a") as file:
            file.write(f"nixbld:x:982:{members}\n")
        with (etc / "gshadow").open("a") as file:
            file.write(f"nixbld:!::{hidden}\n")
    origin = snapshot(host.root)
    receipt = Receipt()
    receipt.provision(host, Wish(count=count))
    assert receipt.known is not None
    victims = data.draw(st.lists(st.sampled_from([user.name for user in receipt.known.users]), unique=True))
    theirs = {user.name for user in receipt.original.users} if receipt.original else set()
    for name in victims:
        if name in theirs:
            tool(host, "usermod", "-s", "/bin/bash", name)
        else:
            tool(host, "userdel", name)
    receipt.provision(host, Wish(count=later))
    for backup in etc.glob("*-"):
        backup.unlink()
    receipt.uninstall(host)
    assert snapshot(host.root) == origin


@given(st.lists(st.from_regex(r"[a-z]{1,3}(0|[1-9][0-9]{0,2})?", fullmatch=True), unique=True, max_size=12))
def test_names_in_few_words_hide_nobody(names: list[str]) -> None:
    told = named(names).split(", ")
    assert sum(2 if " … " in part else 1 for part in told) <= max(len(names), 1)
    for part in told:
        assert all(name in names for name in part.split(" … ") if name)


# The real root: in a mount namespace of its own, with an /etc of its own


INSIDE = """
import os, subprocess, sys, time
from pathlib import Path
from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host import Host
from nixadmin.provision.ids import Wish, choose
from tests.test_pool import become

host = Host(Path("/"))
os.makedirs("/run/userdb", exist_ok=True)
Path("/run/userdb/ldap.user").write_text('{"userName": "ldap", "uid": 30003, "gid": 30003}')
Path("/run/userdb/30003.user").symlink_to("ldap.user")
found = host.accounts.user("ldap")
assert found and found.uid == 30003, found
assert "ldap" not in {user.name for user in host.accounts.users()}
assert host.uid("ldap") == 30003
choice = choose(host.accounts, Wish())
assert choice.notes[-1].startswith("uid 30003 belongs to user ldap; "), choice.notes
Path("/run/userdb/ldap.user").unlink()
pool = choose(host.accounts, Wish()).pool
become(host, pool, pool)
ids = subprocess.run(["id", "nixbld7"], capture_output=True, text=True).stdout
assert ids == "uid=30007(nixbld7) gid=30000(nixbld) groups=30000(nixbld)\\n", ids
said = subprocess.run(["getent", "group", "nixbld"], capture_output=True, text=True).stdout
assert said.startswith("nixbld:x:30000:nixbld1,") and said.endswith(",nixbld32\\n"), said
busy = subprocess.Popen(["sleep", "60"], user=30007, group=30000, extra_groups=[])
try:
    become(host, pool, None)
    raise AssertionError("removed under a running process")
except NixadminError as error:
    assert f"sleep (pid {busy.pid}) as nixbld7" in str(error), error
    assert str(busy.pid) in (error.hint or "")
assert pool.observe(host) == pool
busy.kill()
busy.wait()
# The lock of lckpwdf(3), as the C library has it: while it is held, we wait.
holder = subprocess.Popen(
    [sys.executable, "-c", "import ctypes, time; ctypes.CDLL(None).lckpwdf(); print(flush=True); time.sleep(1)"],
    stdout=subprocess.PIPE,
)
holder.stdout.readline()
begun = time.monotonic()
become(host, pool, None)
assert time.monotonic() - begun > 0.4
holder.wait()
print("all is well")
"""


def test_on_a_real_root_with_nss_and_processes(tmp_path: Path) -> None:
    host = make(tmp_path / "host")
    (host.root / "etc/nsswitch.conf").write_text("passwd: files systemd\ngroup: files systemd\n")
    before = snapshot(host.root)
    script = tmp_path / "inside.py"
    script.write_text(textwrap.dedent(INSIDE))
    repository = Path(__file__).parent.parent
    setup = f"mount --bind {host.root}/etc /etc && mount -t tmpfs none /run && exec {sys.executable} {script}"
    inside = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", setup],
        capture_output=True, text=True, check=False, cwd=repository,
        env=os.environ | {"PYTHONPATH": f"{repository}:{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    assert inside.stdout == "all is well\n", inside.stderr
    assert snapshot(host.root) == before


# For people and for the receipt


def test_what_people_read() -> None:
    user = BuildUser(name="nixbld1", uid=30001, gid=30000, comment="", shell="/sbin/nologin")
    users = in_order(user.model_copy(update={"name": f"nixbld{n}", "uid": 30000 + n}) for n in (10, 9, 1, 2, 3))
    assert [found.name for found in users] == ["nixbld1", "nixbld2", "nixbld3", "nixbld9", "nixbld10"]
    pool = Pool(group="nixbld", gid=30000, users=users, members=tuple(found.name for found in users))
    assert str(SetPool(None, pool)) == (
        "add group nixbld (30000) and its members nixbld1 … nixbld3 (30001 … 30003), nixbld9, nixbld10 (30009 … 30010)"
    )
    assert str(SetPool(pool, None)) == "remove group nixbld and users nixbld1 … nixbld3, nixbld9, nixbld10"
    damaged = (users[0].model_copy(update={"shell": "/bin/sh"}), users[1].model_copy(update={"shell": "/bin/sh"}))
    half = pool.model_copy(update={"users": damaged, "members": ("nixbld2", "ghost")})
    assert list(pool.differences(half)) == [
        "more users: nixbld3, nixbld9, nixbld10",
        "nixbld1, nixbld2: shell /bin/sh → /sbin/nologin",
        "more members: nixbld1, nixbld3, nixbld9, nixbld10",
        "fewer members: ghost",
    ]


def test_the_receipt_gives_it_back(host: Host) -> None:
    pool = choose(host.accounts, Wish()).pool
    text = Entry.model_validate({"before": None, "after": pool, "since": "2026-01-01T00:00:00Z"}).model_dump_json()
    assert Entry.model_validate_json(text).after == pool
    assert Resource.kinds["pool"] is Pool
