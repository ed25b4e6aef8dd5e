"""plan, provision, verify and uninstall as readings of one list, on a stand-in root."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nixadmin.engine import receipt as receipts
from nixadmin.engine.performing import Left, perform
from nixadmin.engine.planning import plan
from nixadmin.engine.receipt import Receipt
from nixadmin.engine.resource import Resource
from nixadmin.engine.step import MakeDirectory, Write
from nixadmin.errors import ConflictError, NixadminError, NotConvergedError
from nixadmin.host import Host
from nixadmin.resources import Block, Directory, File
from tests.standin import make, needs_root, snapshot

pytestmark = [needs_root, pytest.mark.ring(2)]

CONF = Path("/etc/nix/nix.conf")
SCRIPT = Path("/etc/profile.d/nixadmin.sh")
ALL: list[Resource] = [
    Directory(path=Path("/nix"), data=True),
    Directory(path=Path("/nix/store"), mode=0o1775, group="daemon", data=True),
    Directory(path=CONF.parent),
    Block(path=CONF, content="sandbox = true\n"),
    File(path=SCRIPT, content="PATH=/nix\n"),
]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make(tmp_path / "host")


def provision(host: Host, declared: Sequence[Resource] = ALL, *, take_over: bool = False) -> int:
    """Returns how many changes it made."""
    receipt = Receipt.load(host)
    wanted = plan(declared, receipt, host, take_over=take_over)
    perform(wanted, receipt, host, take_over=take_over)
    return len(wanted.changes)


def uninstall(host: Host, *, purge: bool = True) -> list[Left]:
    receipt = Receipt.load(host)
    return perform(plan([], receipt, host, purge=purge), receipt, host, keep_going=True)


def test_provision_twice_then_uninstall(host: Host) -> None:
    before = snapshot(host.root)
    assert provision(host) == len(ALL)
    provisioned = {path: path.lstat().st_mtime_ns for path in host.root.rglob("*")}
    assert provision(host) == 0
    assert {path: path.lstat().st_mtime_ns for path in host.root.rglob("*")} == provisioned
    assert uninstall(host) == []
    assert snapshot(host.root) == before


@pytest.mark.parametrize("text", ["cores = 4\n", "", "cores = 4", "cores = 4\r\n"])
def test_what_was_there_before_is_kept_and_comes_back(host: Host, text: str) -> None:
    host.at(CONF.parent).mkdir(mode=0o700)
    host.at(CONF).write_bytes(text.encode())
    host.at(CONF).chmod(0o640)
    host.at(SCRIPT).write_text("theirs\n")
    before = snapshot(host.root)
    stamp = host.at(SCRIPT).stat().st_mtime_ns
    provision(host)
    assert host.at(CONF).read_bytes().startswith(text.encode())
    provision(host, [*ALL[:4], File(path=SCRIPT, content="PATH=/newer\n")])
    assert uninstall(host) == []
    assert snapshot(host.root) == before
    assert host.at(SCRIPT).stat().st_mtime_ns == stamp


def test_a_person_s_edit_is_a_conflict_and_stays(host: Host) -> None:
    provision(host)
    host.at(SCRIPT).write_text("edited\n")
    with pytest.raises(ConflictError, match="was edited"):
        provision(host)
    [left] = uninstall(host)
    assert left.subject.id == f"file {SCRIPT}"
    assert host.at(SCRIPT).read_text() == "edited\n"
    assert not host.at(Path("/nix")).exists()
    assert Receipt.load(host).entries == {}
    assert uninstall(host) == []


def test_take_over_replaces_an_edit(host: Host) -> None:
    provision(host)
    host.at(SCRIPT).write_text("edited\n")
    assert provision(host, take_over=True) == 1
    assert host.at(SCRIPT).read_text() == "PATH=/nix\n"


def test_settings_that_others_added_outlive_ours(host: Host) -> None:
    provision(host)
    text = host.at(CONF).read_text()
    host.at(CONF).write_text("cores = 4\n" + text)
    assert provision(host) == 0
    lefts = uninstall(host)
    assert [left.subject.id for left in lefts] == [f"block {CONF}", f"directory {CONF.parent}"]
    assert host.at(CONF).read_text() == "cores = 4\n"


def test_the_store_stays_unless_it_is_purged(host: Host) -> None:
    provision(host)
    (host.root / "nix/store/precious").write_text("work")
    assert uninstall(host, purge=False) == []
    assert (host.root / "nix/store/precious").read_text() == "work"
    assert not host.at(CONF).exists()
    assert list(Receipt.load(host).entries) == ["directory /nix", "directory /nix/store"]
    assert provision(host) == 3
    assert uninstall(host) == []
    assert not host.at(Path("/nix")).exists()


def test_drift_is_named_with_old_and_new(host: Host) -> None:
    provision(host)
    (host.root / "nix/store").chmod(0o777)
    [change] = plan(ALL, Receipt.load(host), host).changes
    assert change.differences() == ("mode 0777 → 1775",)
    assert provision(host) == 1


def test_what_is_declared_no_more_goes_back(host: Host) -> None:
    before = host.at(SCRIPT).exists()
    provision(host)
    provision(host, ALL[:-1])
    assert host.at(SCRIPT).exists() == before
    assert f"file {SCRIPT}" not in Receipt.load(host).entries


def test_conflicts_come_before_the_first_step(host: Host) -> None:
    host.at(SCRIPT).mkdir()
    before = snapshot(host.root)
    with pytest.raises(ConflictError, match="is a directory, not a file"):
        provision(host)
    assert snapshot(host.root) == before


def test_a_step_that_lies_is_noticed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MakeDirectory, "perform", lambda *_: None)
    with pytest.raises(NotConvergedError, match="directory /nix is still not as declared"):
        provision(host)


def test_killed_anywhere_it_converges_and_comes_off(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(host.root)
    provision(host)
    whole = snapshot(host.root)
    uninstall(host)
    real = {kind: kind.perform for kind in (MakeDirectory, Write)}
    for fatal in range(4):
        count = 0

        def dies(step: MakeDirectory | Write, host: Host, *, fatal: int = fatal) -> None:
            nonlocal count
            if count == fatal:
                raise KeyboardInterrupt
            count += 1
            real[type(step)](step, host)  # type: ignore[arg-type]

        for kind in real:
            monkeypatch.setattr(kind, "perform", dies)
        with pytest.raises(KeyboardInterrupt):
            provision(host)
        monkeypatch.undo()
        provision(host)
        assert _without_dates(snapshot(host.root)) == _without_dates(whole)
        assert uninstall(host) == []
        assert snapshot(host.root) == before


def _without_dates(tree: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {name: value for name, value in tree.items() if not name.startswith("var/lib/nixadmin/")}


def test_the_receipt_is_written_before_the_first_step(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def looks(_step: MakeDirectory, host: Host) -> None:
        entries = Receipt.load(host).entries
        assert set(entries) == {resource.id for resource in ALL}
        assert not any(entry.done for entry in entries.values())
        raise KeyboardInterrupt

    monkeypatch.setattr(MakeDirectory, "perform", looks)
    with pytest.raises(KeyboardInterrupt):
        provision(host)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 1, "entries": {"x": {}}}', "is damaged"),
        ('{"version": 1, "entries": {"x": {"before": null, "after": {"kind": "spaceship"}}}}', "is damaged"),
        ('{"version": 99, "entries": {}}', "newer nixadmin"),
    ],
)
def test_a_receipt_that_cannot_be_read_stops_everything(host: Host, text: str, said: str) -> None:
    path = host.at(receipts.PATH)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(NixadminError, match=said):
        provision(host)
    assert path.read_text() == text


def test_the_receipt_is_for_root_alone(host: Host) -> None:
    provision(host)
    path = host.at(receipts.PATH)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert json.loads(path.read_text())["version"] == receipts.VERSION


def test_everybody_may_read_the_receipt_without_its_secrets(host: Host) -> None:
    secret = File(path=Path("/etc/secret.conf"), content="hush\n", mode=0o600)
    receipt = Receipt.load(host)
    receipt.wishes = {"secret-setting": {"access-tokens": "hush"}, "gid": 5}
    perform(plan([*ALL, secret], receipt, host), receipt, host)
    public = host.at(receipts.PUBLIC)
    assert public.stat().st_mode & 0o777 == 0o644
    assert "hush" not in public.read_text() and "hush" in host.at(receipts.PATH).read_text()
    assert set(json.loads(public.read_text())["entries"]) == set(Receipt.load(host).entries)
    uninstall(host)
    assert not public.parent.exists()


def test_modes_do_not_depend_on_the_umask(host: Host) -> None:
    import os

    old = os.umask(0o077)
    try:
        provision(host)
    finally:
        os.umask(old)
    assert (host.root / "nix").stat().st_mode & 0o7777 == 0o755
    assert (host.root / "nix/store").stat().st_mode & 0o7777 == 0o1775
    assert host.at(SCRIPT).stat().st_mode & 0o7777 == 0o644
