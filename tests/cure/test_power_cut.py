"""Whatever a power cut takes that was not synced: the old or the new is there, whole, and nothing before its cause."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from nixadmin.engine.receipt import Receipt
from nixadmin.host import Host
from tests.cure import standing
from tests.cure.disk import Disk
from tests.cure.journeys import JOURNEYS, Atlas
from tests.standin import needs_root

pytestmark = [needs_root, pytest.mark.ring(3)]

_RECEIPTS = ("var/lib/nixadmin/receipt.json", "var/lib/nixadmin/public.json")
_ACCOUNTS = ("etc/passwd", "etc/shadow", "etc/gshadow", "etc/group")


@pytest.mark.parametrize("name", JOURNEYS)
def test_every_change_is_on_the_disk_before_the_next(name: str, atlas: Atlas, figures: Counter[str]) -> None:
    journey = JOURNEYS[name]
    root = atlas.fresh_copy(journey.start, f"cut-{os.getpid()}")
    disk = Disk(root)

    def act(host: Host) -> Disk:
        journey.act(atlas.nix)(host)
        disk.end()
        disk._real.clear()
        return disk

    def prepare() -> None:
        atlas.link_instead()
        disk.begin()

    done = standing.in_process(root, act, prepare)
    assert isinstance(done, Disk)
    assert done.faults == []
    assert done.synced > 10
    for receipt in _RECEIPTS:
        for version in done.versions.get(receipt, []):
            Receipt.model_validate_json(version)
    for accounts in _ACCOUNTS:
        # One rewriting, so that there is the old one, and the new one, and nothing between.
        versions = done.versions.get(accounts, [])
        assert len(versions) <= 1
        assert not versions or versions[0] == (root / accounts).read_bytes()
    figures["syncs watched"] += done.synced
    figures["versions of files that a power cut may leave"] += sum(map(len, done.versions.values()))
