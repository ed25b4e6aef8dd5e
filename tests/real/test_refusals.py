"""Bad input of every kind: refused in two lines, with nothing changed."""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real import hosts
from tests.real.bundles import BUNDLE, BUNDLE_DIR
from tests.real.container import Container
from tests.real.host import Binds
from tests.real.snapshot import Snapshot, difference

FAILED, USAGE = 1, 2
RECEIPT = "/var/lib/nixadmin/receipt.json"
TARBALLS = "/opt/tarballs"


class Witness:
    """A fresh host that nothing may change: what it was is compared after every refusal."""

    def __init__(self, host: Container) -> None:
        self.host = host
        self._before: Snapshot = host.snapshot()

    def expect(self) -> None:
        """What the test itself has done to the host is as it should be."""
        self._before = self.host.snapshot()

    def refuses(
        self, words: str, code: int, message: str, hint: str = "", *, user: str | None = None, whole: bool = True
    ) -> None:
        """`nixadmin WORDS` ends with `code` and two lines, which match; no file was touched."""
        said = self.host.run(f"nixadmin {words}", user=user, check=False)
        lines = said.stderr.splitlines()
        assert "Traceback" not in said.stderr
        assert said.returncode == code, said.stderr
        assert said.stdout == ""
        assert len(lines) == 2, said.stderr
        assert re.match(f"nixadmin: .*{message}", lines[0]), said.stderr
        assert re.match(rf"  \S.*{hint}", lines[1]), said.stderr
        if whole:
            self.is_untouched()

    def is_untouched(self) -> None:
        now = self.host.snapshot()
        assert difference(self._before, now, times=True) == []
        self._before = now


@pytest.fixture(scope="module")
def witness(bundle: Binds, tarballs: Path) -> Iterator[Witness]:
    with hosts.container(binds={**bundle, TARBALLS: tarballs}) as host:
        yield Witness(host)


@pytest.fixture
def fresh(bundle: Binds) -> Iterator[Witness]:
    """One of its own, for a test that has to change the host first."""
    with hosts.container(binds=bundle) as host:
        yield Witness(host)


LINE_BREAK = "holds a newline or another control character"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--setting no-such-setting=1", "'no-such-setting' is not a setting of Nix"),
        ("--setting sandbox=maybe", "sandbox = 'maybe' is refused by Nix 2"),
        ("--setting always-allow-substitutes=true", "is not known to have the setting"),
        ("--setting novalue", "--setting: `novalue` is not NAME=VALUE"),
        ("--setting 'cores=1 # build-users-group ='", "cannot be written in nix.conf"),
        ("--setting $'cores=1\nbuild-users-group ='", LINE_BREAK),
        ("--setting $'cores\nsandbox=false'", "is not a setting of Nix"),
        ("--secret-setting access-tokens=github.com=hunter2", "a secret on the command line"),
        ("--build-users 0", "--build-users: 0 must be at least 1"),
        ("--build-users 5000", "--build-users: 5000 must be at most"),
        ("--build-users -1", "--build-users: -1 must be at least 1"),
        ("--build-users many", "--build-users: many must be a whole number"),
        ("--max-jobs 5000", "max-jobs = 5000 is more than"),
        ("--gid 0", "--gid: 0 must be at least 1"),
        ("--first-uid 99999999999999999999", "--first-uid: "),
        ("--build-group a:b", "is not a name for an account"),
        ("--build-group $'a\nb'", "is not a name for an account"),
        ("--build-group root", "group root"),
        ("--proxy $'http://p\nExecStartPre=/bin/evil'", LINE_BREAK),
        ("--no-proxy $'a\nb'", LINE_BREAK),
        ("--builders-file $'/etc/m\nsandbox = false'", LINE_BREAK),
        ("--builders-file machines", "is not an absolute path"),
        ("--current-load /nix/../../etc", "is not an absolute path"),
        ("--ssl-cert-file $'/etc/c\nx'", LINE_BREAK),
        ("--trusted-users $'root\nsandbox = false'", LINE_BREAK),
        ("--channel $'https://c\nx'", LINE_BREAK),
        ("--nix $'/opt/a\nb'", LINE_BREAK),
        ("--sha256 0", "--sha256: 0 must be of the form"),
        ("--no-such-flag", "--no-such-flag"),
        ("--config /etc/no-such-file", "cannot read /etc/no-such-file"),
        ("--config /etc/hostname", "/etc/hostname is not TOML"),
    ],
)
def test_wishes_that_cannot_be(witness: Witness, words: str, message: str) -> None:
    argv = f"provision --yes --nix {BUNDLE} {words}"
    witness.refuses("$NOTHING" + " " + argv if False else argv.replace("$'", "$'"), USAGE, re.escape(message))
