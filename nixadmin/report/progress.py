"""What is being done, while it is being done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from nixadmin.engine.change import Change
from nixadmin.engine.performing import Tell
from nixadmin.host import Host, Progress
from nixadmin.report.paper import Paper, size, visible
from nixadmin.report.plan import STYLES
from nixadmin.report.wording import title

# Follows one long piece of work: what it does, how much is done, and of how much.
Bytes = Callable[[str, int, int], None]


@contextmanager
def followed(host: Host, stream: TextIO, *, quiet: bool = False) -> Iterator[Tell]:
    """Tell of every change, and of bytes that are unpacked: with bars on a terminal, else in lines."""
    paper = Paper(stream)
    untold = host.progress
    try:
        if quiet:
            yield lambda _place, _of, _change: None
        elif paper.is_terminal:
            with _bars(stream) as (tell, host.progress):
                yield tell
        else:
            host.progress = _in_lines(paper)
            yield lambda place, of, change: _line(paper, place, of, change)
    finally:
        host.progress = untold


def doing(change: Change) -> str:
    return f"{change.sign} {title(change.subject)}"


def _line(paper: Paper, place: int, of: int, change: Change) -> None:
    paper.say(f"[{place + 1:{len(str(of))}}/{of}] {doing(change)}", STYLES[change.sign])


def _in_lines(paper: Paper) -> Progress:
    begun: set[str] = set()

    def progress(what: str, _done: int, total: int) -> None:
        if what not in begun:
            begun.add(what)
            paper.say(f"{what} ({size(total)})")

    return progress


@contextmanager
def _bars(stream: TextIO) -> Iterator[tuple[Tell, Progress]]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    bars = Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]:>9}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(file=stream),
        transient=True,
    )
    rows: dict[str, TaskID] = {}

    def tell(place: int, of: int, change: Change) -> None:
        row = rows[""] if "" in rows else rows.setdefault("", bars.add_task("", amount=""))
        description = escape(visible(doing(change)))
        bars.update(row, completed=place, total=of, description=description, amount=f"{place}/{of}")

    def progress(what: str, done: int, total: int) -> None:
        if what not in rows:
            rows[what] = bars.add_task(escape(visible(what)), total=total, amount=size(0))
        bars.update(rows[what], completed=done, total=total, amount=f"{size(done)}/{size(total)}")
        if done >= total:
            bars.remove_task(rows.pop(what))

    with bars:
        yield tell, progress
