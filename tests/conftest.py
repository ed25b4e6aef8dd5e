"""For all rings: no test passes by being skipped, and the summary says how many ran in each ring."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator

import pytest

RINGS = {1: "pure", 2: "stand-in root", 3: "cure", 4: "real hosts"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ring(n): 1 pure (default), 2 stand-in root, 3 cure, 4 real hosts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("ring")
        item.user_properties.append(("ring", marker.args[0] if marker else 1))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With NIXADMIN_NO_SKIPS=1, a skipped test or module has failed (an expected failure has not)."""
    if os.environ.get("NIXADMIN_NO_SKIPS") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nNIXADMIN_NO_SKIPS=1: a skipped test counts as failed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: Counter[int] = Counter()
    ran: Counter[int] = Counter()
    for outcome in ("passed", "failed", "error", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(outcome, []):
            ring = dict(getattr(report, "user_properties", ())).get("ring")
            if ring is not None and report.when == "call":
                ran[ring] += 1
                seconds[ring] += report.duration
    terminalreporter.section("tests run in each ring")
    for number, name in RINGS.items():
        terminalreporter.line(f"ring {number}  {name:14} {ran[number]:5}  {seconds[number]:7.1f} s")
    figures: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                for name, value in report.user_properties:
                    if name == "figure":
                        figures[value[0]] += value[1]
    if figures:
        terminalreporter.section("broken and stopped")
        for what, count in sorted(figures.items()):
            terminalreporter.line(f"{count:7}  {what}")
