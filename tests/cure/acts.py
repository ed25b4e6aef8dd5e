"""What the tests let nixadmin do: the verbs as the command line has them, with nobody to ask."""

from __future__ import annotations

from collections.abc import Callable

from nixadmin.config import Config
from nixadmin.engine.change import Change
from nixadmin.engine.performing import Left
from nixadmin.host import Host
from nixadmin.provision import carry_out, carry_out_uninstall, propose, propose_uninstall

Tell = Callable[[int, int, Change], None]


def silent(_place: int, _of: int, _change: Change) -> None:
    """Tell nobody."""


def plan(config: Config, *, take_over: bool = False) -> Callable[[Host], list[tuple[str, str, str]]]:
    """Sign, id and differences of each change; of each conflict `!`, id and message."""

    def act(host: Host) -> list[tuple[str, str, str]]:
        wanted = propose(host, config, take_over=take_over).plan
        changes = [(one.sign, one.subject.id, "; ".join(one.differences())) for one in wanted.changes]
        return changes + [("!", one.goal.subject.id, str(one.error)) for one in wanted.conflicts]

    return act


def provision(config: Config, tell: Tell = silent, *, take_over: bool = False) -> Callable[[Host], int]:
    """How many changes it took."""

    def act(host: Host) -> int:
        proposal = propose(host, config, take_over=take_over)
        carry_out(host, proposal, tell=tell, take_over=take_over)
        return len(proposal.plan.changes)

    return act


def uninstall(*, purge: bool, tell: Tell = silent) -> Callable[[Host], list[str]]:
    """What was left, and why."""

    def act(host: Host) -> list[str]:
        left: list[Left] = carry_out_uninstall(host, propose_uninstall(host, purge=purge), tell=tell)
        return [f"{one.subject.id}: {one.reason}" for one in left]

    return act
