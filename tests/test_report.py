"""What people and programs read: values in, lines out."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nixadmin.engine.change import Change
from nixadmin.engine.performing import Left
from nixadmin.engine.planning import Conflict, Goal, Plan
from nixadmin.engine.receipt import Receipt
from nixadmin.engine.resource import Resource
from nixadmin.errors import ConflictError, NixadminError
from nixadmin.report import data, findings, owned, plan, summary
from nixadmin.report.groups import HEADINGS, OTHER, heading
from nixadmin.report.paper import Line, Paper, columns, counted, size, visible
from nixadmin.resources import Block, Copy, Directory, File, Packages, Pool, Profile, Service, StorePaths
from nixadmin.resources.pool import BuildUser
from nixadmin.sandbox.finding import Finding

SECRET = "ghp_verysecret"

DIRECTORY = Directory(path=Path("/nix/store"), mode=0o1775, group="nixbld")
CONF = File(path=Path("/etc/nix/nix.conf"), content="a = 1\nb = 2\n")
TOKEN = File(path=Path("/etc/nix/secret.conf"), content=f"access-tokens = {SECRET}\n", mode=0o600)
SERVICE = Service(name="nix-daemon", init="systemd")
PACKAGES = Packages(manager="apt", wanted=("nix-bin",), installed=("nix-bin",))
POOL = Pool(
    group="nixbld",
    gid=30000,
    users=tuple(
        BuildUser(name=f"nixbld{n}", uid=30000 + n, gid=30000, comment="", shell="/bin/false") for n in (1, 2, 3)
    ),
    members=("nixbld1", "nixbld2", "nixbld3"),
)
STORE = StorePaths(
    origin="/tmp/nix.tar.xz",
    file=Path("/tmp/nix.tar.xz"),
    sha256=None,
    stamp="",
    version="2.34.4",
    programs=Path("/nix/store/x/bin"),
    paths=(Path("/nix/store/x"),),
    profile=(),
)
PROFILE = Profile(
    path=Path("/nix/var/nix/profiles/default"),
    programs=Path("/usr/bin"),
    packages=(Path(f"/nix/store/{'0' * 32}-nix-2.34.4"),),
)
COPY = Copy(path=Path("/usr/local/lib/nixadmin/bash"), source=Path("/bin/bash-static"), sha256="0" * 64)
BLOCK = Block(path=Path("/etc/nix/nix.conf"), content="cores = 0\n")
EVERY_KIND: tuple[Resource, ...] = (
    *(DIRECTORY, CONF, TOKEN, SERVICE, PACKAGES, POOL, STORE, PROFILE, COPY, BLOCK),
    *(Directory(path=Path("/srv/x")), File(path=Path("/etc/profile.d/nixadmin.sh"), content="")),
)


def new(resource: Resource) -> Change:
    return Change(resource, None, resource)


def a_plan(*changes: Change, conflicts: tuple[Conflict, ...] = (), kept: tuple[Resource, ...] = ()) -> Plan:
    return Plan(tuple(change.subject for change in changes), changes, conflicts, (), kept)


def text(lines: object) -> str:
    return "\n".join(line.text for line in lines)  # type: ignore[attr-defined]


def test_a_plan_of_every_kind_names_each_and_counts() -> None:
    said = text(plan.lines(a_plan(*map(new, EVERY_KIND)), ["nix 2.8 is there"]))
    for words in (
        "+ /nix/store/  root:nixbld 1775",
        "+ /etc/nix/nix.conf  root:root 0644, 2 lines",
        "+ /etc/nix/secret.conf  root:root 0600, private",
        "+ /etc/nix/nix.conf (nixadmin's block)  1 line",
        "+ service nix-daemon  started at boot (systemd) and now",
        "+ packages of apt  nix-bin",
        "+ group nixbld and its build users  gid 30000, nixbld1 … nixbld3, uid 30001…30003",
        "+ Nix 2.34.4 in the store  1 path from /tmp/nix.tar.xz",
        "+ /nix/var/nix/profiles/default  nix-2.34.4",
        "+ /usr/local/lib/nixadmin/bash  root:root 0755, a copy of /bin/bash-static",
        "Good to know\n  · nix 2.8 is there",
        "Plan: 12 to add, 0 to change, 0 to remove.",
    ):
        assert words in said
    places = [said.index(f"{name}\n") for name in HEADINGS if f"{name}\n" in said]
    assert places == sorted(places) and len(places) == len(HEADINGS)


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (POOL, "Accounts"),
        (PACKAGES, "Packages"),
        (STORE, "Store"),
        (DIRECTORY, "Store"),
        (CONF, "Configuration"),
        (COPY, "Sandbox"),
        (SERVICE, "Daemon"),
        (File(path=Path("/etc/default/nix-daemon"), content=""), "Daemon"),
        (File(path=Path("/etc/profile.d/nixadmin.sh"), content=""), "Login"),
        (Directory(path=Path("/nixos")), OTHER),
    ],
)
def test_headings(resource: Resource, name: str) -> None:
    assert heading(resource) == name


def test_a_changed_file_shows_its_diff_and_its_mode() -> None:
    before = CONF.model_copy(update={"content": "a = 1\nb = 3\n", "mode": 0o666})
    said = text(plan.one(Change(CONF, before, CONF)))
    assert said.splitlines()[0] == "  ~ /etc/nix/nix.conf  content, mode 0666 → 0644"
    assert "      -b = 3\n      +b = 2" in said and "       a = 1" in said


def test_a_new_file_shows_its_content_only_when_asked() -> None:
    assert "b = 2" not in text(plan.one(new(CONF)))
    assert "+b = 2" in text(plan.one(new(CONF), verbose=True))


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_private_file_is_never_shown(mode: int) -> None:
    """Neither what it holds nor what it held, and also where only one of both is private."""
    other = TOKEN.model_copy(update={"content": "access-tokens = other\n", "mode": mode})
    for change in (
        *(new(TOKEN), Change(TOKEN, TOKEN, None), Change(TOKEN, other, TOKEN), Change(TOKEN, TOKEN, other)),
    ):
        told = text(plan.lines(a_plan(change), verbose=True)) + text(plan.explained([change]))
        assert SECRET not in told + json.dumps(data.of_plan(a_plan(change)))
    receipt = Receipt()
    receipt.begin(TOKEN, CONF, datetime.now(UTC))
    receipt.begin(CONF, TOKEN, datetime.now(UTC))
    assert SECRET not in text(owned.lines(receipt)) + json.dumps(data.of_receipt(receipt))


def test_many_alike_directories_are_one_line_and_verbose_lists_them() -> None:
    many = [Directory(path=Path(f"/nix/var/{n}")) for n in range(25)]
    said = text(plan.changes(map(new, [Directory(path=Path("/nix/var")), DIRECTORY, *many])))
    assert "  + 26 directories: /nix/var and below  root:root 0755" in said
    assert "  + /nix/store/  root:nixbld 1775" in said
    said = text(plan.changes(map(new, many), verbose=True))
    assert said.count("root:root 0755") == 25


def test_peoples_own_directories_are_one_line() -> None:
    names = ("alice", "bob", "carol", "dave")
    own = [Directory(path=Path(f"/nix/var/nix/profiles/per-user/{name}"), owner=name, group=name) for name in names]
    said = text(plan.changes(map(new, own)))
    assert "  + 4 directories under /nix/var/nix/profiles/per-user  each its user's 0755" in said


def test_directories_that_change_are_each_shown() -> None:
    wrong = [Directory(path=Path(f"/nix/var/{n}"), mode=0o777) for n in range(9)]
    said = text(plan.changes(Change(d, d, d.model_copy(update={"mode": 0o755})) for d in wrong))
    assert said.count("mode 0777 → 0755") == 9


def test_undoing_says_what_comes_back() -> None:
    before = CONF.model_copy(update={"mode": 0o600})
    assert "(as it was before nixadmin)" in text(plan.one(Change(CONF, CONF, before, undoing=True)))


def test_conflicts_are_two_lines_and_counted() -> None:
    conflict = Conflict(Goal(CONF, CONF), ConflictError("it was edited", "keep your edit elsewhere"))
    said = text(plan.lines(a_plan(conflicts=(conflict,))))
    assert "  ! it was edited\n    keep your edit elsewhere" in said
    assert "Plan: 0 to add, 0 to change, 0 to remove, 1 conflict." in said


def test_what_is_kept_is_told_by_its_top() -> None:
    kept = [Directory(path=Path(path), data=True) for path in ("/nix/var/nix", "/nix/var", "/nix", "/srv/data")]
    said = text(plan.kept(kept))
    assert "    /nix/ with 2 more below it\n    /srv/data/" in said
    assert len(said.splitlines()) == 3


def test_explaining_lists_the_steps() -> None:
    assert "make /nix/store/ (root:nixbld 1775)" in text(plan.explained([new(DIRECTORY)]))


def test_the_keys_of_a_plan_for_programs() -> None:
    conflict = Conflict(Goal(CONF, CONF), ConflictError("it was edited", "keep it"))
    refusal = NixadminError("you are not root", None)
    told = data.of_plan(a_plan(*map(new, EVERY_KIND), conflicts=(conflict,), kept=(DIRECTORY,)), ["a note"], [refusal])
    assert told.keys() == {"as_declared", "totals", "changes", "conflicts", "kept", "notes", "refusals"}
    assert told["totals"] == {"add": 12, "change": 0, "remove": 0, "conflicts": 1}
    assert told["as_declared"] is False
    assert told["changes"][0].keys() == {
        *("action", "id", "kind", "key", "group", "undoing", "differences", "before", "after"),
    }
    assert told["changes"][0]["after"]["mode"] == "1775"
    assert told["conflicts"] == [{"id": CONF.id, "message": "it was edited", "hint": "keep it"}]
    assert told["refusals"] == [{"message": "you are not root", "hint": None}]
    out = io.StringIO()
    data.write(out, told)
    assert json.loads(out.getvalue()) == told


def test_owned_tells_what_was_before() -> None:
    receipt = Receipt()
    assert "owns nothing" in text(owned.lines(receipt))
    for before, after in (
        (None, POOL),
        (CONF, CONF),
        (DIRECTORY.model_copy(update={"mode": 0o755}), DIRECTORY),
    ):
        receipt.begin(before, after, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
        receipt.finish(after.id)
    receipt.begin(None, SERVICE, datetime.now(UTC))
    said = text(owned.lines(receipt))
    assert "nothing" in said and "the same" in said and "another: mode 0755 → 1775" in said
    assert "being changed" in said and "4 entries" in said and "2026-01-0" in said


def test_the_end_of_an_uninstall_says_what_stays_and_why() -> None:
    changes = a_plan(Change(CONF, CONF, None, undoing=True), Change(SERVICE, SERVICE, None, undoing=True))
    left = [Left(CONF, ConflictError("it was edited after nixadmin made it", "remove it yourself"))]
    said = text(summary.of_uninstall(changes, left))
    assert "1 change taken back" in said
    assert "/etc/nix/nix.conf: it was edited after nixadmin made it\n    remove it yourself" in said
    assert "owns nothing" in text(summary.of_uninstall(a_plan(), []))


def test_what_the_probe_found() -> None:
    good = Finding("uid", True, "30001", "a uid of the pool")
    bad = Finding("sandbox", False, "no mount namespace", "a mount namespace", "sysctl kernel.x=1")
    said = text(findings.lines([good, bad]))
    assert "  ✓ uid: 30001\n" in said
    assert "  ✗ sandbox: no mount namespace; expected: a mount namespace\n    sysctl kernel.x=1" in said
    failure = summary.failure([good, bad])
    assert failure and failure.hint == "sysctl kernel.x=1" and summary.failure([good]) is None
    assert findings.data([bad])[0].keys() == {"name", "ok", "saw", "expected", "remedy"}
    done = text(summary.of_provision(a_plan(new(POOL), new(DIRECTORY)), ["gid 5 was taken"], [good], channel=True))
    for words in ("2 changes made", "nixbld1 … nixbld3", "1 directory", "gid 5 was taken", "✓ uid", "nix-channel"):
        assert words in done
    assert "Next" not in text(summary.of_provision(a_plan(new(POOL)), [], [bad], channel=True))
    assert "nix-channel" not in text(summary.of_provision(a_plan(new(POOL)), [], [], channel=False))


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("plain → text", "plain → text"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb", "a\\r\\nb"),
        ("a\u202eb\x9bc", "a\\u202eb\\x9bc"),
        ("a\udcffb", "a\\udcffb"),
        ("a\tb", "a\tb"),
    ],
)
def test_nothing_reaches_the_terminal_as_a_command(raw: str, seen: str) -> None:
    assert visible(raw) == seen
    out = io.StringIO()
    Paper(out).write([Line(raw), *columns([(raw, raw)])])
    assert not set(out.getvalue()) & set("\x1b\r\u202e\x9b")


def test_plain_text_for_what_holds_no_unicode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", "backslashreplace")
    Paper(stream).say("mode 0777 → 0755 … é", "change")
    stream.flush()
    assert raw.getvalue() == b"mode 0777 -> 0755 ... \\xe9\n"


def test_numbers_for_people() -> None:
    assert [counted(1, "entry"), counted(2, "entry"), counted(0, "path")] == ["1 entry", "2 entries", "0 paths"]
    assert [size(5), size(2048), size(3 << 20), size(5 << 30)] == ["5 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]
