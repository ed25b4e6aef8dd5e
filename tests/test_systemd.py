"""What systemd's adapter clears away after an `enable` that was killed."""

from pathlib import Path

import pytest

from nixadmin.host.init.systemd import Systemd
from tests.standin import make, needs_root

pytestmark = [needs_root, pytest.mark.ring(2)]


def test_only_directories_for_links_that_were_never_made_go(tmp_path: Path) -> None:
    host = make(tmp_path / "host")
    units = host.root / "etc/systemd/system"
    for name in ("sockets.target.wants", "multi-user.target.wants", "nix-daemon.service.d"):
        (units / name).mkdir()
    (units / "multi-user.target.wants/ssh.service").symlink_to("/lib/systemd/system/ssh.service")
    Systemd().tidy(host)
    assert sorted(path.name for path in units.iterdir()) == ["multi-user.target.wants", "nix-daemon.service.d"]
