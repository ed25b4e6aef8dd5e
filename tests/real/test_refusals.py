"""Bad input of every kind: refused in two lines, with nothing changed."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import hosts
from tests.real.bundles import BUNDLE, BUNDLE_DIR
from tests.real.container import Container
from tests.real.host import Binds
from tests.real.rootfs import PACKAGES_DIR
from tests.real.snapshot import Snapshot, difference

FAILED, USAGE = 1, 2
RECEIPT = "/var/lib/nixadmin/receipt.json"
TARBALLS = "/opt/tarballs"


class Witness:
    """A fresh host that nothing may change."""

    def __init__(self, host: Container) -> None:
        self.host = host
        self._before: Snapshot = host.snapshot()

    def expect(self) -> None:
        """What the test itself has done to the host is as it should be."""
        self._before = self.host.snapshot()

    def refuses(self, words: list[str], code: int, message: str, *, user: str | None = None) -> str:
        """`nixadmin WORDS` ends with `code` and two lines, of which the first says `message`.

        Returns the second line.
        """
        said = self.host.run(["nixadmin", *words], user=user, check=False)
        lines = said.stderr.splitlines()
        assert "Traceback" not in said.stderr, said.stderr
        assert said.returncode == code, said.stderr
        assert said.stdout == ""
        assert len(lines) == 2, said.stderr
        assert lines[0].startswith("nixadmin: ") and message in lines[0], said.stderr
        assert re.match(r"  \S", lines[1]), said.stderr
        return lines[1].strip()

    def is_untouched(self, *, times: bool = True) -> None:
        """Not a file was written; without `times`, all was put back as it was."""
        changed = difference(self._before, self.host.snapshot(), times=times)
        assert not changed, "\n".join(changed)


@pytest.fixture
def witness(bundle: Binds, tarballs: Path) -> Iterator[Witness]:
    with hosts.container(binds={**bundle, TARBALLS: tarballs}) as host:
        yield Witness(host)


PROVISION = ["provision", "--yes", "--quiet", "--nix", BUNDLE]
LINE_BREAK = "holds a newline or another control character"


WISHES = [
    (["--setting", "no-such-setting=1"], "'no-such-setting' is not a setting of Nix"),
    (["--setting", "sandbox=maybe"], "sandbox = 'maybe' is refused by Nix 2"),
    (["--setting", "always-allow-substitutes=true"], "is not known to have the setting"),
    (["--setting", "novalue"], "--setting: `novalue` is not NAME=VALUE"),
    (["--setting", "cores=1 # none"], "cannot be written in nix.conf"),
    (["--setting", "cores=1\nbuild-users-group ="], LINE_BREAK),
    (["--setting", "cores\nsandbox=false"], "is not a setting of Nix"),
    (["--secret-setting", "access-tokens=github.com=hunter2"], "a secret on the command line"),
    (["--build-users", "0"], "--build-users: 0 must be at least 1"),
    (["--build-users", "5000"], "--build-users: 5000 must be at most"),
    (["--build-users", "-1"], "--build-users"),
    (["--build-users", "many"], "--build-users: many must be a whole number"),
    (["--max-jobs", "5000"], "max-jobs = 5000 is more than"),
    (["--gid", "0"], "--gid: 0 must be at least 1"),
    (["--first-uid", "99999999999999999999"], "--first-uid: "),
    (["--build-group", "a:b"], "is not a name for an account"),
    (["--build-group", "a\nb"], "is not a name for an account"),
    (["--proxy", "http://p\nExecStartPre=/bin/evil"], LINE_BREAK),
    (["--no-proxy", "a\nb"], LINE_BREAK),
    (["--builders-file", "/etc/m\nsandbox = false"], LINE_BREAK),
    (["--builders-file", "machines"], "is not an absolute path"),
    (["--current-load", "/nix/../../etc"], "is not an absolute path"),
    (["--ssl-cert-file", "/etc/c\nx"], LINE_BREAK),
    (["--trusted-users", "root\nsandbox = false"], LINE_BREAK),
    (["--channel", "https://c\nx"], LINE_BREAK),
    (["--nix", "/opt/a\nb"], LINE_BREAK),
    (["--sha256", "0"], "--sha256: 0 must be of the form"),
    (["--no-such-flag"], "--no-such-flag"),
    (["--config", "/etc/no-such-file"], "cannot read /etc/no-such-file"),
    (["--config", "/etc/debian_version"], "/etc/debian_version is not TOML"),
]


def test_wishes_that_cannot_be(witness: Witness) -> None:
    for words, message in WISHES:
        witness.refuses([*PROVISION, *words], USAGE, message)
    witness.is_untouched()


def test_wishes_in_the_environment_and_in_a_file(witness: Witness) -> None:
    said = witness.host.run(["env", "NIXADMIN_PROXY=http://p\nx", "nixadmin", *PROVISION], check=False)
    assert (said.returncode, len(said.stderr.splitlines())) == (USAGE, 2) and "NIXADMIN_PROXY" in said.stderr
    witness.host.run(["tee", "/tmp/wishes.toml"], input='proxy = "http://p\\nExecStart=/bin/evil"\n')
    witness.refuses([*PROVISION, "--config", "/tmp/wishes.toml"], USAGE, LINE_BREAK)
    witness.host.run(["tee", "/tmp/wishes.toml"], input="no-such-key = 1\n")
    witness.refuses([*PROVISION, "--config", "/tmp/wishes.toml"], USAGE, "no-such-key")
    witness.host.run(["tee", "/tmp/wishes.toml"], input='[secret-setting]\naccess-tokens = "a=b"\n')
    witness.refuses([*PROVISION, "--config", "/tmp/wishes.toml"], USAGE, "can be read by others")
    witness.is_untouched()


def test_names_that_are_no_users(witness: Witness) -> None:
    for action in ("add", "remove"):
        for name in ("a:b", "a\nb", "../alice", "nobody-at-all", "-r", ""):
            said = witness.host.run(["nixadmin", "users", action, "--yes", "--", name], check=False)
            assert said.returncode in (FAILED, USAGE), name
            assert "Traceback" not in said.stderr and len(said.stderr.splitlines()) == 2, said.stderr
    witness.is_untouched()


NAME = "0" * 32 + "-nix-2.8.0"
TOP = "nix-2.8.0-x86_64-linux"


def _add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


def _begin(archive: tarfile.TarFile, system: str = "x86_64-linux") -> None:
    """What every good tarball begins with: the registration, and one store path."""
    top = f"nix-2.8.0-{system}"
    path = f"/nix/store/{NAME}"
    registration = f"{path}\n{'0' * 64}\n1000\n\n0\n"
    _add(archive, f"{top}/.reginfo", registration.encode())
    for directory in ("", "/bin"):
        _add(archive, f"{top}/store/{NAME}{directory}", type=tarfile.DIRTYPE, mode=0o555)
    for program in ("nix", "nix-store", "nix-env", "nix-daemon"):
        _add(archive, f"{top}/store/{NAME}/bin/{program}", b"#!/bin/sh\n", mode=0o555)


EVIL: dict[str, dict[str, object]] = {
    "dotdot": {"name": f"{TOP}/store/{NAME}/../../../../etc/evil", "data": b"x"},
    "absolute": {"name": "/etc/evil", "data": b"x"},
    "elsewhere": {"name": "etc/evil", "data": b"x"},
    "device": {"name": f"{TOP}/store/{NAME}/null", "type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
    "block-device": {"name": f"{TOP}/store/{NAME}/disk", "type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 0},
    "fifo": {"name": f"{TOP}/store/{NAME}/fifo", "type": tarfile.FIFOTYPE},
    "setuid": {"name": f"{TOP}/store/{NAME}/bin/su", "data": b"#!/bin/sh\n", "mode": 0o4555},
    "setgid": {"name": f"{TOP}/store/{NAME}/bin/wall", "data": b"#!/bin/sh\n", "mode": 0o2555},
    "hard-link-out": {"name": f"{TOP}/store/{NAME}/shadow", "type": tarfile.LNKTYPE, "linkname": "/etc/shadow"},
    "unregistered": {"name": f"{TOP}/store/{'1' * 32}-other", "data": b"x"},
    "twice": {"name": f"{TOP}/store/{NAME}/bin/nix", "data": b"y"},
    "newline": {"name": f"{TOP}/store/{NAME}/a\nb", "data": b"x"},
    "no-store-path": {"name": f"{TOP}/store/evil", "data": b"x"},
}


@pytest.fixture(scope="module")
def tarballs(bundle: Binds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tarballs")
    for name, member in EVIL.items():
        with tarfile.open(place / f"{name}.tar.xz", "w:xz", format=tarfile.GNU_FORMAT) as archive:
            _begin(archive)
            _add(archive, **member)  # type: ignore[arg-type]
    with tarfile.open(place / "behind-link.tar.xz", "w:xz") as archive:
        _begin(archive)
        _add(archive, f"{TOP}/store/{NAME}/lib", type=tarfile.SYMTYPE, linkname=f"/nix/store/{NAME}/../../../etc")
        _add(archive, f"{TOP}/store/{NAME}/lib/evil", b"x")
    with tarfile.open(place / "other-system.tar.xz", "w:xz") as archive:
        _begin(archive, "aarch64-linux")
    with tarfile.open(place / "no-registration.tar.xz", "w:xz") as archive:
        _add(archive, f"{TOP}/store/{NAME}", type=tarfile.DIRTYPE)
    with tarfile.open(place / "incomplete.tar.xz", "w:xz") as archive:
        _add(archive, f"{TOP}/.reginfo", f"/nix/store/{NAME}\n{'0' * 64}\n1000\n\n0\n".encode())
    whole = (bundle[BUNDLE_DIR] / "nix.tar.xz").read_bytes()
    (place / "half.tar.xz").write_bytes(whole[: len(whole) // 2])
    (place / "short.tar.xz").write_bytes(whole[:100])
    (place / "last-byte.tar.xz").write_bytes(whole[:-1])
    middle = len(whole) // 2
    (place / "flipped.tar.xz").write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    (place / "empty.tar.xz").write_bytes(b"")
    (place / "noise.tar.xz").write_bytes(random.Random(0).randbytes(100000))
    (place / "text.tar.zst").write_text("not a tarball\n")
    (place / "directory.tar.xz").mkdir()
    return place


OTHERS = (
    *("behind-link", "other-system", "no-registration", "incomplete"),
    *("half", "short", "last-byte", "flipped", "empty", "noise", "text", "directory", "not-there"),
)


@pytest.mark.parametrize("names", [list(EVIL), OTHERS], ids=["evil", "damaged"])
def test_tarballs_that_are_none(witness: Witness, names: list[str]) -> None:
    witness.host.sh(f"dpkg --install {PACKAGES_DIR}/bash-static_*.deb")  # they bring no shell
    witness.expect()
    for name in names:
        file = f"{TARBALLS}/{name}.tar.{'zst' if name == 'text' else 'xz'}"
        witness.refuses(["provision", "--yes", "--quiet", "--nix", file], FAILED, file)
        assert witness.host.sh("ls -d /nix /etc/nix /var/lib/nixadmin /etc/evil 2> /dev/null || true") == "", name
    witness.is_untouched(times=False)


def test_a_tarball_with_another_digest(witness: Witness) -> None:
    witness.refuses([*PROVISION, "--sha256", "0" * 64], FAILED, BUNDLE)
    witness.is_untouched(times=False)


def test_a_url_without_a_digest(witness: Witness) -> None:
    witness.refuses(["provision", "--yes", "--nix", "https://example.org/n.tar.xz"], USAGE, "nothing tells what")
    witness.is_untouched()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("noexec", "/nix is mounted noexec"),
        ("ro", "/nix is mounted read-only"),
        ("size=20m", "/nix has 20 MiB free, and"),
        ("nr_inodes=100", "/nix has 99 inodes free, and"),
    ],
)
def test_a_store_on_an_unfit_mount(witness: Witness, options: str, message: str) -> None:
    witness.host.sh(f"mkdir /nix; mount -t tmpfs -o mode=0755,{options} tmpfs /nix")
    witness.expect()
    hint = witness.refuses(PROVISION, FAILED, message)
    assert "/nix" in hint
    witness.is_untouched()
    assert witness.host.sh("ls -A /nix") == ""


def test_a_store_behind_a_link(witness: Witness) -> None:
    witness.host.sh("mkdir /srv/nix; ln -s /srv/nix /nix")
    witness.expect()
    witness.refuses(PROVISION, FAILED, "/nix is a link to /srv/nix")
    witness.is_untouched()


def test_not_root(witness: Witness) -> None:
    witness.refuses(PROVISION, FAILED, "you are not root", user="alice")
    witness.refuses(["uninstall", "--yes"], FAILED, "you are not root", user="alice")
    witness.refuses(["users", "add", "alice"], FAILED, "not root", user="alice")
    witness.is_untouched()


def test_another_nixadmin_at_work(witness: Witness) -> None:
    lock = "/run/nixadmin.lock"
    witness.host.sh(
        f"(flock -x 9; echo 4711 > {lock}; touch /run/held; exec sleep 60) 9> {lock} < /dev/null > /dev/null 2>&1 &"
    )
    witness.host.sh("until test -e /run/held; do sleep 0.02; done")
    for words in (PROVISION, ["uninstall", "--yes"]):
        assert witness.refuses(words, FAILED, "another nixadmin is at work on this host, as process 4711")
    assert witness.host.run(["nixadmin", "plan", "--nix", BUNDLE], user="alice", check=False).returncode == 3
    witness.host.sh(f"pkill -x sleep; rm {lock} /run/held")
    witness.is_untouched()


@pytest.mark.parametrize("mark", ["touch /etc/NIXOS", "rm /etc/os-release; echo ID=nixos > /etc/os-release"])
def test_nixos(witness: Witness, mark: str) -> None:
    witness.host.sh(mark)
    witness.expect()
    witness.refuses(PROVISION, FAILED, "this is NixOS")
    witness.is_untouched()


def test_selinux_enforcing(witness: Witness) -> None:
    witness.host.sh("mount -t tmpfs tmpfs /sys/fs; mkdir /sys/fs/selinux; echo 1 > /sys/fs/selinux/enforce")
    hint = witness.refuses(PROVISION, FAILED, "SELinux is enforcing")
    assert "label" in hint
    witness.is_untouched()
    witness.host.sh("echo 0 > /sys/fs/selinux/enforce")
    assert witness.host.run(["nixadmin", "plan", "--nix", BUNDLE], check=False).returncode == 3


RECEIPTS = [
    ("", "is damaged"),
    ("{", "is damaged"),
    ("[]", "is damaged"),
    ("{}", "is damaged"),
    ("null", "is damaged"),
    ('{"version": "x", "entries": {}}', "is damaged"),
    ('{"version": 1, "entries": {"file /x": {}}}', "is damaged"),
    ('{"version": 1, "entries": {"x": {"before": null, "after": {"kind": "x"}, "since": "2026-01-01"}}}', "is damaged"),
    (json.dumps({"version": 999, "entries": {}, "more": 1}), "was written by a newer nixadmin (receipt version 999)"),
]


VERBS = (PROVISION, ["uninstall", "--yes"], ["plan"], ["verify"], ["show"])


def test_receipts_that_cannot_be_read(witness: Witness) -> None:
    witness.host.sh("mkdir -m 0755 /var/lib/nixadmin")
    for text, message in RECEIPTS:
        witness.host.run(["tee", RECEIPT], input=text)
        witness.expect()
        for words in VERBS if text == "" else (["show"],):
            witness.refuses(words, FAILED, f"{RECEIPT} {message}")
        witness.is_untouched()


def test_a_receipt_of_another_kind(witness: Witness) -> None:
    witness.host.sh(f"mkdir -p {RECEIPT}")
    witness.expect()
    for words in (PROVISION, ["show"]):
        witness.refuses(words, FAILED, RECEIPT)
    witness.host.sh(f"rmdir {RECEIPT}; head -c 1000 /dev/urandom > {RECEIPT}")
    witness.expect()
    witness.refuses(PROVISION, FAILED, f"{RECEIPT} is damaged")
    witness.is_untouched()
