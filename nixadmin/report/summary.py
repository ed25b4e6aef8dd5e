"""What a run has come to, and what to type next."""

from collections import Counter
from collections.abc import Iterator, Sequence

from nixadmin.engine.performing import Left
from nixadmin.engine.planning import Plan
from nixadmin.errors import NixadminError
from nixadmin.report import findings as probe
from nixadmin.report import plan as planned
from nixadmin.report.groups import HEADINGS, heading
from nixadmin.report.paper import Line, columns, counted
from nixadmin.report.wording import details, title
from nixadmin.resources import Directory, File
from nixadmin.sandbox.finding import Finding

# What to type next, and why.
NEXT = (
    ("log in again", "so that your shell finds Nix"),
    ("nixadmin verify", "says whether all this is still so"),
    ("nixadmin show", "lists what nixadmin owns here, and what was there before"),
    ("nixadmin uninstall", "takes it all back"),
)
CHANNEL = (
    ("sudo -i nix-channel --update", "fetches Nixpkgs for everyone"),
    ("nix-shell -p hello", "as any user: builds and runs something"),
)


def of_provision(plan: Plan, notes: Sequence[str], findings: Sequence[Finding], *, channel: bool) -> Iterator[Line]:
    """What is there now, what the probe saw, and what to type next; `channel` when root subscribes to one."""
    if plan.empty:
        yield Line(f"Nothing to change: all {len(plan.declared)} parts are as declared.", "good")
        return
    yield Line(f"Provisioned: {counted(len(plan.changes), 'change')} made.", "good")
    yield from columns(_there(plan))
    yield from planned.remarks(notes)
    yield from probe.lines(findings)
    if all(finding.ok for finding in findings):
        yield Line("Next", "title")
        yield from columns([NEXT[0], *(CHANNEL if channel else ()), *NEXT[1:]])


def _there(plan: Plan) -> Iterator[tuple[str, ...]]:
    """What is there now: what has a name of its own, and how many directories and files."""
    for name in HEADINGS:
        members = [resource for resource in plan.declared if heading(resource) == name]
        for resource in members:
            if not isinstance(resource, Directory | File):
                yield name, f"{title(resource)}  {details(resource)}".rstrip()
        number = Counter(type(resource) for resource in members)
        files = sum(count for kind, count in number.items() if issubclass(kind, File))
        counts = [counted(count, noun) for count, noun in ((number[Directory], "directory"), (files, "file")) if count]
        if counts:
            yield name, ", ".join(counts)


def failure(findings: Sequence[Finding]) -> NixadminError | None:
    """The first thing that the probe found wrong."""
    for finding in findings:
        if not finding.ok:
            return NixadminError(probe.complaint(finding), finding.remedy or None)
    return None


def of_uninstall(plan: Plan, left: Sequence[Left]) -> Iterator[Line]:
    """What was taken back, and what stays and why."""
    if plan.empty and not plan.kept:
        yield Line("Nothing to uninstall: nixadmin owns nothing on this host.", "good")
        return
    stays = {item.subject.id for item in left}
    done = sum(change.subject.id not in stays for change in plan.changes)
    yield Line(f"Uninstalled: {counted(done, 'change')} taken back.", "good")
    if plan.kept:
        yield from planned.kept(plan.kept)
    if left:
        yield Line("Left as it is", "title")
        for item in left:
            yield Line(f"  {title(item.subject)}: {item.reason}")
            if item.reason.hint:
                yield Line(f"    {item.reason.hint}")
