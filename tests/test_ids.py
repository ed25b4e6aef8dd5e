"""Names and ids for the build users: free ones, the same ones again, and a reason for each."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixadmin.errors import ConflictError, NixadminError, UsageError
from nixadmin.host.accounts import Accounts
from nixadmin.provision.ids import MOST, Wish, check, choose
from nixadmin.resources.pool import Pool


def host(
    root: Path, users: Iterable[str] = (), groups: Iterable[str] = (), defs: str = "", subuid: str = ""
) -> Accounts:
    """A host with root, alice, and these lines of passwd (name:uid:gid:home:shell) and group (name:gid:members)."""
    etc = root / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    passwd = ["root:x:0:0::/root:/bin/sh", "alice:x:1000:1000::/home/alice:/bin/bash"]
    for line in users:
        name, uid, gid, home, shell = line.split(":")
        passwd.append(f"{name}:x:{uid}:{gid}::{home}:{shell}")
    group = ["root:x:0:", "alice:x:1000:"]
    for line in groups:
        name, gid, members = line.split(":")
        group.append(f"{name}:x:{gid}:{members}")
    (etc / "passwd").write_text("\n".join(passwd) + "\n")
    (etc / "group").write_text("\n".join(group) + "\n")
    (etc / "login.defs").write_text(defs)
    (etc / "subuid").write_text(subuid)
    return Accounts(root)


def uids(pool: Pool) -> list[int]:
    return [user.uid for user in pool.users]


# Wishes


@pytest.mark.parametrize("count", [0, -1, MOST + 1, 5000])
def test_how_many(count: int) -> None:
    with pytest.raises(UsageError, match=f"a pool of {count} build users cannot be") as error:
        check(Wish(count=count))
    assert error.value.hint is not None
    assert "as many as max-jobs" in error.value.hint


def test_more_jobs_than_users_can_be() -> None:
    with pytest.raises(UsageError, match="max-jobs = 5000 is more than"):
        check(Wish(max_jobs=5000))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a:b",
        "a\nb",
        "nixbld\n",
        "-rf",
        "0",
        "1nix",
        "nïx",
        "a b",
        "$(reboot)",
        "a/b",
        "a,b",
        ".",
        "x" * 30,
        "+",
        "a\0",
    ],
)
def test_names_that_would_break_a_line_or_a_command(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name the group"):
        check(Wish(group=name))


@given(st.text(max_size=40))
def test_a_name_that_passes_fits_into_its_line(name: str) -> None:
    try:
        check(Wish(group=name))
    except UsageError:
        return
    assert not set(name) & set(":,\n\0/ ")
    assert name[0] not in "-+.0123456789"
    assert len(f"{name}{MOST}") <= 32


@pytest.mark.parametrize("number", [0, -5, 2**32 - 1, 2**31 - 2])
def test_ids_that_cannot_be(number: int) -> None:
    with pytest.raises(UsageError, match="cannot be given"):
        check(Wish(gid=number))
    with pytest.raises(UsageError, match="cannot be given"):
        check(Wish(first_uid=number))


# A fresh host


def test_as_wished(tmp_path: Path) -> None:
    choice = choose(host(tmp_path), Wish())
    assert choice.notes == ()
    assert choice.pool.gid == 30000
    assert uids(choice.pool) == list(range(30001, 30033))


def test_never_fewer_than_max_jobs(tmp_path: Path) -> None:
    choice = choose(host(tmp_path), Wish(max_jobs=48))
    assert len(choice.pool.users) == 48
    assert choice.notes == ("max-jobs is 48, so there are 48 build users instead of 32",)


# Somebody else's ids


def test_a_gid_of_somebody_elses(tmp_path: Path) -> None:
    choice = choose(host(tmp_path, groups=["docker:30000:"]), Wish())
    assert choice.pool.gid == 300
    assert uids(choice.pool) == list(range(301, 333))
    assert choice.notes == (
        "gid 30000 belongs to group docker; 300 is free and was chosen",
        "301 … 332 for nixbld1 … nixbld32 are free and were chosen",
    )


def test_a_gid_that_is_only_a_primary_group(tmp_path: Path) -> None:
    choice = choose(host(tmp_path, users=["ftp:2000:30000:/srv:/bin/false"]), Wish())
    assert choice.notes[0] == "gid 30000 belongs to user ftp, as primary group; 300 is free and was chosen"


def test_a_uid_of_somebody_elses(tmp_path: Path) -> None:
    choice = choose(host(tmp_path, users=["carol:30005:30005:/home/carol:/bin/bash"]), Wish())
    assert (choice.pool.gid, uids(choice.pool)) == (300, list(range(301, 333)))
    assert choice.notes == (
        "gid 300 was chosen, so that it stands beside the uids",
        "uid 30005 belongs to user carol; 301 … 332 for nixbld1 … nixbld32 are free and were chosen",
    )


def test_a_handed_out_range(tmp_path: Path) -> None:
    choice = choose(host(tmp_path, subuid="alice:30010:100\n"), Wish())
    assert choice.notes[1].startswith("uid 30010 belongs to a range of /etc/subuid or /etc/subgid; 301 …")


def test_a_first_uid_that_runs_over_the_gid(tmp_path: Path) -> None:
    """A gid may be a uid's number too, unless that number has to be free in both: here it stays as wished."""
    choice = choose(host(tmp_path), Wish(gid=30005, first_uid=30001))
    assert choice.pool.gid == 30005
    assert uids(choice.pool) == list(range(30001, 30033))


def test_where_the_system_is_full(tmp_path: Path) -> None:
    users = [f"daemon{uid}:{uid}:{uid}:/:/bin/false" for uid in range(302, 1000, 30)]
    choice = choose(host(tmp_path, users, ["docker:30000:"]), Wish())
    assert choice.pool.gid == 30100, "among people's ids"
    choice = choose(host(tmp_path, users, ["docker:30000:"], defs="UID_MAX 30120\n"), Wish())
    assert choice.pool.gid == 29900, "where what follows ends too soon"


def test_where_everything_is_full(tmp_path: Path) -> None:
    with pytest.raises(NixadminError, match="no 33 contiguous ids are free"):
        choose(host(tmp_path, groups=["docker:30000:"], defs="UID_MIN 200\nUID_MAX 210\nSYS_UID_MAX 199\n"), Wish())


# What is there


def builders(numbers: Iterable[int], first: int = 980, gid: int = 982) -> list[str]:
    return [f"nixbld{n}:{first - place}:{gid}:/var/empty:/usr/sbin/nologin" for place, n in enumerate(numbers)]


def test_a_group_of_the_distribution(tmp_path: Path) -> None:
    members = ",".join(f"nixbld{n}" for n in range(1, 11))
    accounts = host(tmp_path, builders(range(1, 11)), [f"nixbld:982:{members}"])
    choice = choose(accounts, Wish())
    assert choice.pool.gid == 982
    assert uids(choice.pool) == [*range(980, 970, -1), *range(30011, 30033)]
    assert choice.notes == (
        "group nixbld is there with gid 982, and keeps it",
        "nixbld1 … nixbld10 are there, and keep their uids",
    )
    assert len(choose(accounts, Wish(count=4)).pool.users) == 10
    assert choose(accounts, Wish(count=4)).notes[-1] == "that is 10 build users where 4 were asked for: all stay"


@pytest.mark.parametrize(
    "names", [[f"nixbld0{n}" for n in range(1, 9)], [f"nixbld{n}" for n in range(4)], ["nixbuilder1", "build_two"]]
)
def test_names_of_other_distributions(tmp_path: Path, names: list[str]) -> None:
    users = [f"{name}:{970 - n}:982:/var/empty:/sbin/nologin" for n, name in enumerate(names)]
    pool = choose(host(tmp_path, users, [f"nixbld:982:{','.join(names)}"]), Wish()).pool
    assert len(pool.users) == 32
    assert set(names) <= {user.name for user in pool.users}
    assert pool.members[: len(names)] == tuple(names)


def test_users_outside_their_group_come_back(tmp_path: Path) -> None:
    pool = choose(host(tmp_path, builders([1, 2, 3]), ["nixbld:982:nixbld2"]), Wish(count=3)).pool
    assert pool.members == ("nixbld2", "nixbld1", "nixbld3")
    pool = choose(host(tmp_path, builders([1, 2, 3], first=30003, gid=30000)), Wish(count=3)).pool
    assert (pool.gid, uids(pool)) == (30000, [30003, 30002, 30001]), "a group that is lost, too"


def test_a_member_without_account_goes(tmp_path: Path) -> None:
    choice = choose(host(tmp_path, builders([1]), ["nixbld:982:ghost,nixbld1,nixbld77"]), Wish(count=1))
    assert choice.pool.members == ("nixbld1",)
    assert choice.notes[-1] == ("ghost, nixbld77 in group nixbld: no such account, so Nix would not build; taken out")


def test_what_must_be_right_is_set_right(tmp_path: Path) -> None:
    accounts = host(tmp_path, ["nixbld1:980:100:/home/nixbld1:/bin/bash"], ["nixbld:982:nixbld1"])
    (user,) = choose(accounts, Wish(count=1)).pool.users
    assert (user.gid, user.shell, user.locked) == (982, "/bin/false", True)
    assert (user.uid, user.home, user.comment) == (980, "/home/nixbld1", "")


# Conflicts


def test_people_in_the_group(tmp_path: Path) -> None:
    accounts = host(tmp_path, ["bob:1001:982:/home/bob:/bin/sh"], ["nixbld:982:alice,nixbld1,bob"])
    with pytest.raises(ConflictError, match="alice, bob in group nixbld are no build users") as conflict:
        choose(accounts, Wish())
    assert conflict.value.hint == "gpasswd --delete alice nixbld && gpasswd --delete bob nixbld"


def test_a_service_in_the_group_is_a_stranger_too(tmp_path: Path) -> None:
    accounts = host(tmp_path, ["www-data:33:33:/var/www:/usr/sbin/nologin"], ["nixbld:982:www-data"])
    with pytest.raises(ConflictError, match="www-data in group nixbld is no build user"):
        choose(accounts, Wish())


def test_a_stranger_with_a_name_for_shells(tmp_path: Path) -> None:
    accounts = host(tmp_path, ["$(reboot):1001:1001:/:/bin/sh"], ["nixbld:982:$(reboot)"])
    with pytest.raises(ConflictError) as conflict:
        choose(accounts, Wish())
    assert conflict.value.hint == "gpasswd --delete '$(reboot)' nixbld"


@pytest.mark.parametrize(("uid", "owner"), [(0, "root"), (1000, "alice")])
def test_a_build_user_with_anothers_uid(tmp_path: Path, uid: int, owner: str) -> None:
    accounts = host(tmp_path, [f"nixbld1:{uid}:982:/var/empty:/sbin/nologin"], ["nixbld:982:nixbld1"])
    with pytest.raises(ConflictError, match=f"nixbld1 shares uid {uid} with {owner}"):
        choose(accounts, Wish())


def test_a_group_with_roots_gid(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="gid 0, which is root's"):
        choose(host(tmp_path, groups=["nixbld:0:"]), Wish())


# Again


def apply(root: Path, pool: Pool, others: Iterable[str] = (), groups: Iterable[str] = ()) -> Accounts:
    users = [f"{user.name}:{user.uid}:{user.gid}:{user.home}:{user.shell}" for user in pool.users]
    return host(root, [*others, *users], [*groups, f"{pool.group}:{pool.gid}:{','.join(pool.members)}"])


def test_who_is_lost_comes_back_as_who_it_was(tmp_path: Path) -> None:
    groups = ["docker:30000:"]
    known = choose(host(tmp_path, groups=groups), Wish()).pool
    left = known.model_copy(update={"users": known.users[:5], "members": known.members[:5]})
    assert choose(apply(tmp_path, left, groups=groups), Wish(), known).pool == known
    assert choose(host(tmp_path, groups=groups), Wish(), known).pool == known, "all of it lost"
    freed = choose(host(tmp_path), Wish(), known)
    assert freed.pool == known, "though what was wished for at first is free by now"
    assert freed.notes == ()


def test_fewer_are_asked_for(tmp_path: Path) -> None:
    known = choose(host(tmp_path), Wish()).pool
    accounts = apply(tmp_path, known)
    assert [user.name for user in choose(accounts, Wish(count=2), known).pool.users] == ["nixbld1", "nixbld2"]
    assert len(choose(accounts, Wish(count=2)).pool.users) == 32, "without a receipt they may be anybody's"
    original = known.model_copy(update={"users": known.users[:10]})
    assert len(choose(accounts, Wish(count=2), known, original).pool.users) == 10


ENTRIES = st.lists(st.integers(290, 30100), max_size=12, unique=True)


@settings(max_examples=80, deadline=None)
@given(users=ENTRIES, groups=ENTRIES, count=st.integers(1, 40), own=st.integers(0, 8), ranges=ENTRIES)
def test_free_and_the_same_again(
    tmp_path_factory: pytest.TempPathFactory,
    users: list[int],
    groups: list[int],
    count: int,
    own: int,
    ranges: list[int],
) -> None:
    root = tmp_path_factory.mktemp("host")
    others = [f"user{uid}:{uid}:{uid}:/:/bin/false" for uid in users]
    lines = [f"group{gid}:{gid}:" for gid in groups]
    subuid = "".join(f"alice:{start}:5\n" for start in ranges)
    mine = [f"nixbld{n}:{40000 + n}:45000:/var/empty:/sbin/nologin" for n in range(1, own + 1)]
    there = [*lines, f"nixbld:45000:{','.join(line.split(':')[0] for line in mine)}"] if own else lines
    choice = choose(host(root, [*others, *mine], there, subuid=subuid), Wish(count=count))
    pool = choice.pool
    assert len(pool.users) == max(count, own)
    assert len({user.name for user in pool.users}) == len(set(uids(pool))) == len(pool.users)
    fresh = set(uids(pool)[own:])
    assert not fresh & {0, 1000, *users}
    assert not fresh & {number for start in ranges for number in range(start, start + 5)}
    assert own or pool.gid not in {0, 1000, *groups, *users}
    assert set(pool.members) == {user.name for user in pool.users}
    original = pool.model_copy(update={"users": pool.users[:own]}) if own else None
    again = choose(apply(root, pool, others, lines), Wish(count=count), pool, original)
    assert [(user.name, user.uid) for user in again.pool.users] == [(user.name, user.uid) for user in pool.users]
    assert again.pool.gid == pool.gid
    assert again.notes == ()
