"""Ring 3: the whole installation, broken in every way and stopped everywhere."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cure import standing
from tests.cure.journeys import Atlas


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    """Where hosts stand: in memory, if programs may run from there. Nothing here is told by the speed of a disk."""
    memory = Path("/dev/shm")
    free = os.statvfs(memory) if memory.is_dir() else None
    usable = free and not free.f_flag & os.ST_NOEXEC and free.f_bavail * free.f_frsize > 2**30
    place = Path(tempfile.mkdtemp(prefix="nixadmin-cure-", dir=memory if usable else None))
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def nix() -> str:
    """The tarball to provision from."""
    return str(standing.bundle())


@pytest.fixture(scope="session")
def atlas(workshop: Path, nix: str) -> Atlas:
    return Atlas(workshop, nix)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What a test has counted; all of it is summed up at the end of the run."""
    counted: Counter[str] = Counter()
    yield counted
    request.node.user_properties += [("figure", item) for item in counted.items()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sums: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                for name, value in report.user_properties:
                    if name == "figure":
                        sums[value[0]] += value[1]
    if sums:
        terminalreporter.section("broken and stopped")
        for what, count in sorted(sums.items()):
            terminalreporter.line(f"{count:7}  {what}")
