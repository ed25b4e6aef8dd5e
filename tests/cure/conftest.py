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
    """What a test has counted; tests/conftest.py sums it up at the end of the run."""
    counted: Counter[str] = Counter()
    yield counted
    request.node.user_properties += [("figure", item) for item in counted.items()]
