"""Killed anywhere, in any of its runs, nixadmin goes on from there when it is run again, and still comes off whole."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.cure import acts, standing
from tests.cure.dying import Death, Fate, deaths
from tests.cure.journeys import JOURNEYS, Atlas, Journey
from tests.cure.standing import Killed
from tests.standin import needs_root

pytestmark = [needs_root, pytest.mark.ring(3)]

_UNPACKING = "store-paths nix"
_SHARES = 4  # each journey in so many tests, so that they spread over the cores
_EVERY = 25  # of the hundreds of files of an unpacking


# The ways of the fresh host, and those where what was there before makes a difference.
@pytest.fixture(params=[name for name in JOURNEYS if name != "lived-in: fewer users"])
def journey(request: pytest.FixtureRequest) -> Journey:
    return JOURNEYS[request.param]


@pytest.mark.parametrize("share", range(_SHARES))
def test_killed_anywhere(journey: Journey, share: int, atlas: Atlas, figures: Counter[str]) -> None:
    atlas.place(journey.name)
    events = atlas.events[journey.name]
    places = deaths(events, every=_EVERY)
    if journey.name == "lived-in: provision":  # what follows would be the same as on the fresh host
        places = [one for one in places if not events[one.number].during.startswith(("directory /nix", _UNPACKING))]
    mine = places[len(places) * share // _SHARES : len(places) * (share + 1) // _SHARES]
    seen: list[standing.Tree] = []
    atlas.place("fresh: provision")
    for death in mine:
        event = events[death.number]
        try:
            _dies_and_recovers(journey, death, atlas, figures, seen)
        except Exception as e:
            e.add_note(f"{journey.name}: {death} of {event}")
            raise


def _dies_and_recovers(
    journey: Journey, death: Death, atlas: Atlas, figures: Counter[str], seen: list[standing.Tree]
) -> None:
    events = atlas.events[journey.name]
    unpacks = events[death.number].during == _UNPACKING
    prepare = None if unpacks else atlas.link_instead
    root = atlas.fresh_copy(journey.start, f"dying-{os.getpid()}")
    fate = Fate(death)
    if not unpacks:
        unpacking = sum(event.during == _UNPACKING for event in events[: death.number])
        fate = Fate(replace(death, number=death.number - unpacking), ignored=_UNPACKING)
    ended = standing.in_process(root, journey.act(atlas.nix, fate.tell), lambda: _prepare(prepare, fate))
    assert ended == Killed(signal.SIGKILL)
    figures["processes killed"] += 1
    state = standing.look(root)
    if seen and state == seen[-1] and death.how != "alone":
        return  # a call that changed nothing
    seen.append(state)
    figures["different states that a kill left"] += 1
    other = root.with_name(f"{root.name}-other")
    shutil.rmtree(other, ignore_errors=True)
    standing.copy(root, other)
    # The same again: it ends as if nothing had been.
    standing.in_process(root, journey.act(atlas.nix), prepare)
    end = journey.origin if journey.purge else journey.name
    assert standing.differences(standing.look(root, times=journey.purge), atlas.looks[end]) == []
    figures["trees compared"] += 1
    if not journey.purge:
        # Or away with it: the host is as it was.
        assert standing.in_process(other, acts.uninstall(purge=True)) == []
        assert standing.differences(standing.look(other, times=True), atlas.looks[journey.origin]) == []
        figures["trees compared"] += 1


def _prepare(prepare: Callable[[], None] | None, fate: Fate) -> None:
    if prepare:
        prepare()
    fate.begin()
