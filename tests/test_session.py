"""What is asked with somebody else's rights, and of somebody who does not answer."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from nixadmin.host import session
from nixadmin.host.processes import Account
from nixadmin.host.session import as_account
from tests.standin import needs_root

pytestmark = [needs_root, pytest.mark.ring(2)]
SOMEBODY = Account(54321, 54321)


def test_it_has_the_rights_of_the_account_and_no_others() -> None:
    def ask() -> Sequence[str]:
        return [*map(str, os.getresuid()), *map(str, os.getresgid()), str(os.getgroups())]

    assert as_account(SOMEBODY, ask) == (*["54321"] * 6, "[]")
    assert os.geteuid() == 0


def test_what_the_account_may_not_see_it_does_not_see(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    assert as_account(SOMEBODY, lambda: os.listdir(tmp_path / "private")) == ()


def test_names_are_handed_over_as_they_are() -> None:
    names = ["-rf", "$(id)", "a\nb", os.fsdecode(b"\xff")]
    assert list(as_account(SOMEBODY, lambda: names)) == names


def test_one_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PATIENCE", 0.2)
    begun = time.monotonic()

    def sleep() -> Sequence[str]:
        time.sleep(60)
        return ["late"]

    assert as_account(SOMEBODY, sleep) == ()
    assert time.monotonic() - begun < 5
