"""Ring 4: fixtures with fresh hosts. Fixtures of another scope can be made with `tests.real.hosts`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.real import bundles, hosts
from tests.real.container import Container
from tests.real.host import Binds
from tests.real.machine import Machine

NEEDED = ("apt-get", "mmdebstrap", "nix", "nsenter", "patchelf", "systemd-nspawn", "unshare")


@pytest.hookimpl(tryfirst=True)  # before the rings are read from the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.ring(4))
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip("real hosts need root"))
            elif missing:
                item.add_marker(pytest.mark.skip(f"not installed: {', '.join(missing)}"))


class MakeMachine(Protocol):
    """`tests.real.hosts.machine`, but started, and gone after the test."""

    def __call__(
        self, init: str, *, nixadmin: bool = True, packages: bool = True, binds: Binds | None = None
    ) -> Machine: ...


@pytest.fixture
def machine_factory() -> Iterator[MakeMachine]:
    with ExitStack() as stack:

        def make(init: str, *, nixadmin: bool = True, packages: bool = True, binds: Binds | None = None) -> Machine:
            return stack.enter_context(hosts.machine(init, nixadmin=nixadmin, packages=packages, binds=binds))

        yield make


@pytest.fixture(params=hosts.INITS)
def init(request: pytest.FixtureRequest) -> str:
    """Every init that nixadmin supports, one after the other."""
    return str(request.param)


@pytest.fixture
def machine(init: str, machine_factory: MakeMachine) -> Machine:
    """A booted fresh host, with `nixadmin` in its PATH and packages to install; once for each init."""
    return machine_factory(init)


@pytest.fixture
def container() -> Iterator[Container]:
    """A fresh host without an init, with `nixadmin` in its PATH and packages to install."""
    with hosts.container() as host:
        yield host


@pytest.fixture(scope="session")
def bundle() -> Binds:
    """What shows a host the bundle of Nix, at `bundles.BUNDLE`."""
    return {bundles.BUNDLE_DIR: bundles.bundle()}
