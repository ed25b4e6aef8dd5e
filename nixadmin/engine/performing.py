"""From a plan to the host as declared: write it down, do it, look again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from nixadmin.engine.change import Change
from nixadmin.engine.planning import Goal, Plan, consider
from nixadmin.engine.receipt import Receipt
from nixadmin.engine.resource import Resource
from nixadmin.errors import ConflictError, NixadminError, NotConvergedError
from nixadmin.host import Host

# Told of each change before it is made: its place, counted from 0, how many there are, and the change.
Tell = Callable[[int, int, Change], None]


@dataclass(frozen=True, slots=True)
class Left:
    """Something that an undoing has left on the host, and why."""

    subject: Resource
    reason: NixadminError


def perform(
    plan: Plan,
    receipt: Receipt,
    host: Host,
    *,
    tell: Tell = lambda _place, _of, _change: None,
    take_over: bool = False,
    keep_going: bool = False,
) -> list[Left]:
    """Make the host as the plan says and the receipt true, one change at a time.

    With `keep_going` (undoing) a failure does not stop the rest: what could not be undone is returned. What is
    somebody else's by now is forgotten; what merely failed stays in the receipt for the next run.

    Raises NotConvergedError when a step lied, NixadminError when one failed, ConflictError for a plan with
    conflicts, before anything is done.
    """
    left = [Left(conflict.goal.subject, conflict.error) for conflict in plan.conflicts]
    if plan.conflicts and not keep_going:
        raise plan.conflicts[0].error
    _tidy(plan, receipt, host)
    written = receipt.model_copy(deep=True)
    receipt.follow(plan.declared)
    for conflict in plan.conflicts:
        receipt.forget(conflict.goal.subject.id)
    for goal in plan.settled:
        _settle(goal, receipt, host)
    for change in plan.changes:
        if not change.undoing:
            receipt.begin(change.before, change.subject, datetime.now(UTC))
    if (receipt.entries, receipt.wishes) != (written.entries, written.wishes) or not receipt.entries:
        receipt.save(host)
    try:
        for place, change in enumerate(plan.changes):
            tell(place, len(plan.changes), change)
            try:
                _make(change, receipt, host, take_over=take_over, first=change.subject.id not in written.entries)
            except NixadminError as error:
                if not keep_going:
                    raise
                left.append(Left(change.subject, error))
                if isinstance(error, ConflictError):
                    receipt.forget(change.subject.id)
    finally:
        if plan.changes:
            receipt.save(host)
    # What could not be removed by itself may have gone with the directory that held it.
    return [one for one in left if one.subject.observe(host) is not None]


def _tidy(plan: Plan, receipt: Receipt, host: Host) -> None:
    """Clear away what a run that was killed may have left half-made."""
    for entry in receipt.entries.values():
        if not entry.done:
            entry.after.tidy(host)
    for goal in (*plan.settled, *(Goal(change.subject, change.after, change.undoing) for change in plan.changes)):
        if goal.undoing:
            goal.subject.tidy(host)


def _make(planned: Change, receipt: Receipt, host: Host, *, take_over: bool, first: bool) -> None:
    goal = Goal(planned.subject, planned.after, planned.undoing)
    # Looked at again: an earlier change (a package, say) may have made or altered this one too.
    change = consider(goal, receipt, host, take_over=take_over)
    # In a later run than the first, what appears may be nixadmin's own: what the receipt says of before stays.
    if first and not change.undoing and change.before != planned.before:
        receipt.forget(change.subject.id)
        receipt.begin(change.before, change.subject, datetime.now(UTC))
        receipt.save(host)
    for step in change.steps():
        step.perform(host)
    now = change.subject.observe(host)
    if now != change.after:
        still = Change(change.subject, now, change.after)
        raise NotConvergedError(
            f"{change.subject.id} is still not as declared",
            "; ".join(still.differences()) or ("it is not there" if now is None else "it is still there"),
        )
    _settle(goal, receipt, host)


def _settle(goal: Goal, receipt: Receipt, host: Host) -> None:
    """Let the receipt say what the host now holds."""
    if goal.undoing:
        receipt.forget(goal.subject.id)
    elif goal.subject.id in receipt.entries:
        receipt.begin(None, goal.subject.remembered(host), datetime.now(UTC))
        receipt.finish(goal.subject.id)
