"""What a build sees in its sandbox."""

from collections.abc import Iterator, Sequence
from typing import Any

from nixadmin.report.paper import Line, columns
from nixadmin.sandbox.paths import SandboxPath, rows
from nixadmin.sandbox.shell import Shell


def lines(shell: Shell, paths: Sequence[SandboxPath]) -> Iterator[Line]:
    """Each path with what it is on the host and why it is there, and how the shell was chosen."""
    head, *rest = columns([("IN THE SANDBOX", "ON THE HOST", "WHY"), *rows(paths)], "")
    yield Line(head.text, "title")
    yield from rest
    yield Line()
    yield Line(f"The shell is {shell.source}: {shell.reason}.")
    if shell.warning:
        yield Line(f"Warning: {shell.warning}", "change")
    yield Line()


def data(shell: Shell, paths: Sequence[SandboxPath]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "shell": {
            "source": str(shell.source),
            "kind": shell.kind,
            "version": shell.version,
            "reason": shell.reason,
            "warning": shell.warning,
        },
        "paths": [
            {
                "target": str(path.target),
                "source": str(path.source),
                "reason": path.reason,
                "optional": path.optional,
            }
            for path in paths
        ],
    }
