"""Fresh hosts ready for nixadmin: one call, whatever the scope of the fixture that makes it."""

from __future__ import annotations

from tests.real.container import Container
from tests.real.host import Binds
from tests.real.machine import Machine
from tests.real.payload import payload
from tests.real.rootfs import PACKAGES_DIR, PAYLOAD_DIR, rootfs

INITS = ("systemd", "sysvinit")


def machine(init: str, *, nixadmin: bool = True, packages: bool = True, binds: Binds | None = None) -> Machine:
    """A Debian 12 that boots with `init` on entry of the context; see `_binds` for what it finds there."""
    root = rootfs(f"debian12-{init}")
    return Machine(root.tree, _binds(init, nixadmin, packages, binds))


def container(
    init: str = "systemd", *, nixadmin: bool = True, packages: bool = True, binds: Binds | None = None
) -> Container:
    """The same tree as `machine`'s, without any process of its own."""
    root = rootfs(f"debian12-{init}")
    return Container(root.tree, _binds(init, nixadmin, packages, binds))


def _binds(init: str, nixadmin: bool, packages: bool, binds: Binds | None) -> Binds:
    """`nixadmin` in the PATH, packages for `apt-get install` without a network, and the test's own."""
    found = dict(binds or {})
    if nixadmin:
        found[PAYLOAD_DIR] = payload()
    if packages:
        found[PACKAGES_DIR] = rootfs(f"debian12-{init}").packages
    return found
