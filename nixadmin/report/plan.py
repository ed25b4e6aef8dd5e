"""A plan as an administrator reads it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import unified_diff
from os.path import commonpath

from nixadmin.engine.change import Change
from nixadmin.engine.planning import Plan
from nixadmin.engine.resource import Resource
from nixadmin.errors import NixadminError
from nixadmin.report.groups import HEADINGS, heading, path_of
from nixadmin.report.paper import Line, Style, counted
from nixadmin.report.values import differences, is_private
from nixadmin.report.wording import details, title

# So many directories that are alike become one line.
MANY = 4
STYLES: dict[str, Style] = {"+": "add", "~": "change", "-": "remove"}


def lines(plan: Plan, notes: Sequence[str] = (), *, verbose: bool = False) -> Iterator[Line]:
    """The whole plan: changes by heading, what stays, conflicts, what was chosen and why, and the totals."""
    yield from changes(plan.changes, verbose=verbose)
    if plan.kept:
        yield from kept(plan.kept)
        yield Line()
    if plan.conflicts:
        yield Line("In the way", "title")
        for conflict in plan.conflicts:
            yield from two_lines(conflict.error)
        yield Line()
    if notes:
        yield from remarks(notes)
        yield Line()
    yield Line(totals(plan))


def changes(those: Iterable[Change], *, verbose: bool = False) -> Iterator[Line]:
    """Changes under their headings."""
    groups: dict[str, list[Change]] = {name: [] for name in HEADINGS}
    for change in those:
        groups[heading(change.subject)].append(change)
    for name, members in groups.items():
        if members:
            yield Line(name, "title")
            for bunch in condensed(members) if not verbose else [[change] for change in members]:
                yield from one(bunch[0], verbose=verbose) if len(bunch) < MANY else [_many(bunch)]
            yield Line()


def one(change: Change, *, verbose: bool = False) -> Iterator[Line]:
    """One change: its line, and under it the diff of its file."""
    style = STYLES[change.sign]
    text = f"  {change.sign} {title(change.subject)}"
    if change.before is None and change.after is not None:
        told = details(change.after)
    else:
        told = ", ".join(differences(change))
    if change.undoing and change.after is not None:
        told += " (as it was before nixadmin)"
    yield Line(f"{text}  {told}".rstrip(), style)
    if verbose or change.sign == "~":
        yield from _diff(change)


def _diff(change: Change) -> Iterator[Line]:
    sides = (change.before, change.after)
    if any(side is not None and is_private(side) for side in sides):
        return
    old, new = ((getattr(side, "content", None) or "").splitlines() for side in sides)
    path = path_of(change.subject)
    for line in unified_diff(old, new, f"{path} (now)", f"{path} (then)", lineterm=""):
        style: Style = "add" if line.startswith("+") else "remove" if line.startswith("-") else "faint"
        yield Line(f"      {line}", style)


def condensed(members: Iterable[Change]) -> list[list[Change]]:
    """Changes in their order, with directories that are alike in one bunch at the place of the first.

    Bunches that are smaller than MANY are taken apart again.
    """
    bunches: dict[object, list[Change]] = {}
    for change in members:
        bunches.setdefault(_likeness(change), []).append(change)
    result: list[list[Change]] = []
    for bunch in bunches.values():
        result.extend([bunch] if len(bunch) >= MANY else [[change] for change in bunch])
    return result


def _likeness(change: Change) -> object:
    path = path_of(change.subject)
    if change.subject.kind != "directory" or path is None or change.sign == "~":
        return change.subject.id
    owner, group = getattr(change.subject, "owner", ""), getattr(change.subject, "group", "")
    if path.name == owner:  # a user's own directory, among those of the others
        return change.sign, getattr(change.subject, "mode", 0), "its user's"
    return change.sign, getattr(change.subject, "mode", 0), owner, group


def _many(bunch: Sequence[Change]) -> Line:
    first = bunch[0]
    paths = [path for change in bunch if (path := path_of(change.subject))]
    shared = commonpath(paths)
    owner, group = getattr(first.subject, "owner", ""), getattr(first.subject, "group", "")
    whose = "each its user's" if paths[0].name == owner else f"{owner}:{group}"
    place = f"{shared} and below" if any(str(path) == shared for path in paths) else f"under {shared}"
    text = (
        f"{counted(len(bunch), 'directory')}: {place}"
        if place.endswith("below")
        else (f"{counted(len(bunch), 'directory')} {place}")
    )
    return Line(f"  {first.sign} {text}  {whose} {getattr(first.subject, 'mode', 0):04o}", STYLES[first.sign])


def explained(those: Iterable[Change]) -> Iterator[Line]:
    """Each change with the steps that make it."""
    for change in those:
        yield from one(change)
        yield from (Line(f"      {step}", "faint") for step in change.steps())


def kept(resources: Sequence[Resource]) -> Iterator[Line]:
    """What stays because people's data lives in it: the topmost of each tree, and how much is below."""
    yield Line("Kept, because people's data is in it (--purge-store removes it)", "title")
    paths = [(path_of(resource), resource) for resource in resources]
    for path, resource in paths:
        others = [other for other, _ in paths if other is not None and other != path]
        if path is None or not any(path.is_relative_to(other) for other in others):
            below = sum(path is not None and other.is_relative_to(path) for other in others)
            yield Line(f"    {title(resource)}" + (f" with {below} more below it" if below else ""))


def remarks(notes: Sequence[str]) -> Iterator[Line]:
    """What was chosen and why, and what to beware of."""
    if notes:
        yield Line("Good to know", "title")
        yield from (Line(f"  · {note}") for note in notes)


def two_lines(error: NixadminError) -> Iterator[Line]:
    """What is, and what to do."""
    yield Line(f"  ! {error}", "bad")
    if error.hint:
        yield Line(f"    {error.hint}")


def count(plan: Plan) -> dict[str, int]:
    """How many changes of each sort."""
    signs = Counter(change.sign for change in plan.changes)
    return {"add": signs["+"], "change": signs["~"], "remove": signs["-"], "conflicts": len(plan.conflicts)}


def totals(plan: Plan) -> str:
    """`Plan: 12 to add, 1 to change, 0 to remove.`"""
    number = count(plan)
    text = f"Plan: {number['add']} to add, {number['change']} to change, {number['remove']} to remove"
    return f"{text}, {counted(number['conflicts'], 'conflict')}." if number["conflicts"] else f"{text}."
