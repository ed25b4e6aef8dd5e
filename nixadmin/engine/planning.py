"""From a declaration to a plan. Nothing here changes the host."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from nixadmin.engine.change import Change
from nixadmin.engine.receipt import Entry, Receipt
from nixadmin.engine.resource import Resource
from nixadmin.errors import ConflictError
from nixadmin.host import Host


@dataclass(frozen=True, slots=True)
class Goal:
    """A subject and what it should become; `undoing` when that is what it was before nixadmin came."""

    subject: Resource
    after: Resource | None
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """A subject that cannot become its goal without treading on somebody's toes."""

    goal: Goal
    error: ConflictError


@dataclass(frozen=True, slots=True)
class Plan:
    """What it takes to bring the host to the declaration. An empty plan is a verified host."""

    declared: tuple[Resource, ...]
    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    settled: tuple[Goal, ...] = field(repr=False)
    kept: tuple[Resource, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.changes and not self.conflicts


def goals(declared: Sequence[Resource], receipt: Receipt) -> Iterator[Goal]:
    """Each subject and what it should become.

    First what is declared. Then what the receipt knows and nobody declares any more goes back to what it was,
    last first; but what was there before and follows others comes after those. Declaring nothing is therefore
    uninstalling.
    """
    for resource in declared:
        yield Goal(resource, resource)
    wanted = {resource.id for resource in declared}
    undone = [entry for entry in reversed(receipt.entries.values()) if entry.after.id not in wanted]
    for entry in sorted(undone, key=lambda entry: entry.before is not None and bool(entry.after.follows)):
        yield Goal(entry.after, entry.before, undoing=True)


def consider(goal: Goal, receipt: Receipt, host: Host, *, take_over: bool = False) -> Change:
    """Look at the host and say what one goal needs.

    Raises ConflictError when a person's work stands in the way and nobody said to take it over.
    """
    before = goal.subject.observe(host)
    edited = before not in (None, goal.after) and _is_edited(before, receipt.entries.get(goal.subject.id))
    if edited and not take_over:
        raise ConflictError(
            f"{goal.subject.id} was edited after nixadmin made it; it is left as it is",
            "keep your edit elsewhere, or let nixadmin replace it with --take-over (a backup is kept)",
        )
    return Change(goal.subject, before, goal.after, goal.undoing, takes_over=edited)


def _is_edited(found: Resource | None, entry: Entry | None) -> bool:
    """Whether what was found is neither what was there at first, nor anything that nixadmin has ever left there."""
    if found is None or entry is None:
        return False
    known = [one for one in (entry.before, entry.after, *entry.earlier) if one is not None]
    return found not in known and all(found.edited(one) for one in known)


def plan(
    declared: Sequence[Resource], receipt: Receipt, host: Host, *, purge: bool = True, take_over: bool = False
) -> Plan:
    """Every change that brings the host to the declaration; see `plan_goals`."""
    return plan_goals(goals(declared, receipt), receipt, host, purge=purge, take_over=take_over)


def plan_goals(
    wanted: Iterable[Goal], receipt: Receipt, host: Host, *, purge: bool = True, take_over: bool = False
) -> Plan:
    """Every change the goals need, with every conflict, before the first step is taken.

    Without `purge`, what holds people's data is not undone but kept.
    """
    wanted = tuple(wanted)
    changes: list[Change] = []
    conflicts: list[Conflict] = []
    settled: list[Goal] = []
    kept: list[Resource] = []
    touched: set[str] = set()
    for goal in wanted:
        if goal.undoing and goal.subject.holds_data and not purge:
            kept.append(goal.subject)
            continue
        try:
            change = consider(goal, receipt, host, take_over=take_over)
            if change.before is not None and goal.subject.follows & touched:
                change = replace(change, before=change.before.stale(host))
            change.steps()
        except ConflictError as conflict:
            conflicts.append(Conflict(goal, conflict))
            continue
        if change.needed:
            changes.append(change)
            touched.add(goal.subject.id)
        else:
            settled.append(goal)
    declared = tuple(goal.subject for goal in wanted if not goal.undoing)
    return Plan(declared, tuple(changes), tuple(conflicts), tuple(settled), tuple(kept))
