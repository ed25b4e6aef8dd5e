"""What a probe found."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nixadmin.report.paper import Line
from nixadmin.sandbox.finding import Finding


def lines(findings: Sequence[Finding]) -> Iterator[Line]:
    """Each finding in a line; what is wrong with what was expected and how to mend it."""
    if not findings:
        return
    yield Line("Proof by an ordinary user's build", "title")
    for finding in findings:
        if finding.ok:
            yield Line(f"  ✓ {finding.name}: {finding.saw}", "good")
        else:
            yield Line(f"  ✗ {complaint(finding)}", "bad")
            if finding.remedy:
                yield Line(f"    {finding.remedy}")


def complaint(finding: Finding) -> str:
    """What is wrong, in one phrase."""
    return f"{finding.name}: {finding.saw}; expected: {finding.expected}"


def data(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "name": finding.name,
            "ok": finding.ok,
            "saw": finding.saw,
            "expected": finding.expected,
            "remedy": finding.remedy,
        }
        for finding in findings
    ]
