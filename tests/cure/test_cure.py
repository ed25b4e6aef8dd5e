"""Whatever breaks, plan names it, provision mends it, and uninstall still gives the host back as it was."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nixadmin.config import Config
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.provision import carry_out, propose
from nixadmin.resources import Directory, StorePaths
from tests.cure import acts, standing
from tests.cure.damages import Damage, damages
from tests.cure.journeys import Atlas
from tests.standin import needs_root

pytestmark = [needs_root, pytest.mark.ring(3)]

_SHARES = 6


@dataclass(frozen=True, slots=True)
class Cured:
    """How a provision went: what its plan named, and what the plan after it did. `refused` is why it did not begin."""

    named: tuple[str, ...]
    after: tuple[str, ...] = ()
    refused: str = ""


def _cure(nix: str, *, take_over: bool = False) -> Callable[[Host], Cured]:
    def act(host: Host) -> Cured:
        config = Config(nix=nix)
        try:
            proposal = propose(host, config, take_over=take_over)
            named = tuple(change.subject.id for change in proposal.plan.changes)
            if problems := [*proposal.refusals, *(conflict.error for conflict in proposal.plan.conflicts)]:
                return Cured(named, refused="; ".join(map(str, problems)))
        except NixadminError as e:
            return Cured((), refused=str(e))
        carry_out(host, proposal, tell=acts.silent, take_over=take_over)
        wanted = propose(Host(host.root), config).plan
        after = [change.subject.id for change in wanted.changes] + [str(one.error) for one in wanted.conflicts]
        return Cured(named, tuple(after))

    return act


@pytest.mark.parametrize("share", range(_SHARES))
@pytest.mark.parametrize("origin", standing.ORIGINS)
def test_every_damage_is_cured(origin: str, share: int, atlas: Atlas, figures: Counter[str]) -> None:
    place = atlas.place(f"{origin}: provision")
    installation = [entry.after for entry in Receipt.load(Host(place)).entries.values()]
    if origin != "fresh":  # directories are the same there
        installation = [one for one in installation if not isinstance(one, Directory | StorePaths)]
    every = list(damages(installation))
    wrong = []
    for damage in every[share::_SHARES]:
        try:
            _breaks_and_is_cured(origin, damage, atlas, figures)
        except Exception as e:
            wrong.append(f"{damage}: {e}")
    assert not wrong, "\n\n".join(wrong)


def _breaks_and_is_cured(origin: str, damage: Damage, atlas: Atlas, figures: Counter[str]) -> None:
    name = f"{origin}: provision"
    root = atlas.fresh_copy(name, f"broken-{os.getpid()}")
    damage.do(root)
    broken = standing.look(root)
    figures["things broken"] += 1
    if damage.refused:
        found = _process(root, _cure(atlas.nix), atlas)
        assert damage.refused in found.refused
        assert standing.differences(standing.look(root), broken) == []
        figures["refused, with nothing changed"] += 1
        return
    if damage.edit:
        found = _process(root, _cure(atlas.nix), atlas)
        assert f"{damage.subject} was edited" in found.refused
        edited = broken[damage.subject.split("/", 1)[1]]
        assert standing.differences(standing.look(root), broken) == []
        figures["edits kept"] += 1
    found = _process(root, _cure(atlas.nix, take_over=damage.edit), atlas)
    assert not found.refused
    assert damage.subject in found.named
    if damage.edit:
        path = root / damage.subject.split("/", 1)[1]
        backup = path.with_name(f"{path.name}.nixadmin-backup")
        assert standing.look_at(backup, "")[:4] == edited[:4]  # but for attributes
        backup.unlink()  # as its owner may
        figures["edits taken over, with a backup"] += 1
    assert found.after == ()
    figures["cured"] += 1
    left = standing.in_process(root, acts.uninstall(purge=True))
    found_at_last, wanted = standing.look(root, times=True), atlas.looks[origin]
    if origin != "fresh" or damage.takes.endswith("(/.*)?"):
        taken = [name for name in wanted if re.fullmatch(damage.takes, name)]
        for name in taken:
            wanted = {one: value for one, value in wanted.items() if one != name}
            found_at_last.pop(name, None)
        assert taken or left == []
    else:
        assert left == []
    assert standing.differences(found_at_last, wanted) == []
    figures["given back as it was"] += 1


def _process(root: Path, act: Callable[[Host], Cured], atlas: Atlas) -> Cured:
    found = standing.in_process(root, act, atlas.link_instead)
    assert isinstance(found, Cured)
    return found
