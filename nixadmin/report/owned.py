"""What nixadmin owns on a host."""

from collections.abc import Iterator

from nixadmin.engine.change import Change
from nixadmin.engine.receipt import Entry, Receipt
from nixadmin.report.groups import HEADINGS, heading
from nixadmin.report.paper import Line, columns, counted
from nixadmin.report.values import differences
from nixadmin.report.wording import title


def lines(receipt: Receipt) -> Iterator[Line]:
    """Every entry under its heading: what, since when, and what was there before."""
    if not receipt.entries:
        yield Line("nixadmin owns nothing on this host.")
        return
    rows = {name: [("", "SINCE", "BEFORE")] for name in HEADINGS}
    for entry in receipt.entries.values():
        since = entry.since.astimezone().strftime("%Y-%m-%d %H:%M")
        rows[heading(entry.after)].append((title(entry.after), since, _before(entry)))
    for name, members in rows.items():
        if len(members) > 1:
            head, *rest = columns([(name, *members[0][1:]), *((f"  {what}", *more) for what, *more in members[1:])], "")
            yield Line(head.text, "title")
            yield from rest
            yield Line()
    yield Line(f"{counted(len(receipt.entries), 'entry')}; `nixadmin uninstall` gives back what was before.")


def _before(entry: Entry) -> str:
    if not entry.done:
        return f"{_earlier(entry)} (being changed: run provision again)"
    return _earlier(entry)


def _earlier(entry: Entry) -> str:
    if entry.before is None:
        return "nothing"
    if entry.before == entry.after:
        return "the same"
    told = differences(Change(entry.after, entry.before, entry.after))
    return f"another: {', '.join(told)}" if told else "another"
