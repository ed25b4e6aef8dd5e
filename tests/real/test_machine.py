"""The test-bed itself: what the other tests of this ring take for granted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.real import hosts
from tests.real.container import Container
from tests.real.host import CommandError, Host
from tests.real.machine import Machine
from tests.real.snapshot import PACKAGE_STATE, difference

BUILD = """
derivation {
  name = "probe";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo $BASH_VERSION > $out; echo $UID >> $out; echo /* >> $out" ];
}
"""
NIX_CONF = """
sandbox = true
sandbox-fallback = false
sandbox-paths = /bin/sh=/bin/bash-static
build-users-group = nixbld
substituters =
"""


def test_it_boots_its_own_init(machine: Machine, init: str) -> None:
    assert machine.sh("cat /proc/1/comm") == {"systemd": "systemd", "sysvinit": "init"}[init]
    assert machine.host.service("ssh").is_running
    if init == "systemd":
        assert machine.sh("systemctl is-system-running") == "running"


def test_a_boot_and_a_login_change_nothing(init: str) -> None:
    host = hosts.machine(init)
    before = host.snapshot()
    with host:
        host.sh("true", user="alice")
        host.sh("true", user="root")
        assert difference(before, host.snapshot(), times=True) == []


def test_users_get_a_login_shell(machine: Machine) -> None:
    assert machine.sh("id -un; pwd; echo $0; umask", user="alice") == "alice\n/home/alice\n-bash\n0022"
    assert machine.sh(["printf", "%s", "a b; c"], user="bob") == "a b; c"
    assert machine.host.user("alice").uid == 1000
    assert machine.host_as("alice").file("/home/alice").user == "alice"
    assert machine.host_as("alice").run("touch /etc/x").rc != 0


def test_a_failed_command_says_what_it_said(container: Container) -> None:
    with pytest.raises(CommandError, match=r"(?s)exit code 3.*too late"):
        container.run("echo too late >&2; exit 3")
    assert container.run("exit 3", check=False).returncode == 3


def test_it_is_fresh_and_has_no_way_out(machine: Machine) -> None:
    assert machine.run("command -v nix-store nix-daemon bash-static || test -e /nix", check=False).returncode == 1
    assert machine.sh("ls /sys/class/net") == "lo"
    assert machine.host.file("/usr/local/bin/nixadmin").exists


def test_the_difference_names_every_kind_of_change(container: Container) -> None:
    before = container.snapshot()
    assert difference(before, container.snapshot(), times=True) == []
    container.sh(
        "chmod 0600 /etc/fstab; echo x >> /etc/hosts; echo new > /etc/added; rm /etc/issue;"
        " chown alice /etc/motd; ln -sf elsewhere /etc/os-release;"
        " rm /etc/host.conf; mkdir /etc/host.conf; touch /etc/profile;"
        " cp -p /etc/bash.bashrc /x; mv /x /etc/bash.bashrc; python3 -c 'import os;"
        ' os.setxattr("/etc/debian_version", "user.x", b"1")\''
    )
    assert [line.split(" (")[0] for line in difference(before, container.snapshot())] == [
        "+ /etc/added",
        "~ /etc/debian_version: extended attributes {} → {'user.x': b'1'}",
        "~ /etc/fstab: mode 0644 → 0600",
        "~ /etc/host.conf: file → directory",
        "~ /etc/hosts: content",
        "- /etc/issue",
        "~ /etc/motd: owner 0:0 → 1000:0",
        "~ /etc/os-release: target ../usr/lib/os-release → elsewhere",
    ]
    assert any(
        line.startswith("~ /etc/profile: mtime") for line in difference(before, container.snapshot(), times=True)
    )


def test_a_reboot_keeps_the_tree_and_changes_nothing_else(machine: Machine) -> None:
    before = machine.snapshot()
    machine.sh("echo kept > /etc/kept; echo gone > /run/gone; echo gone > /tmp/gone")
    boot = machine.leader
    machine.reboot()
    assert machine.leader != boot
    assert machine.sh("cat /etc/kept; ls -d /run/gone /tmp/gone || true") == "kept"
    assert difference(before, machine.snapshot(), times=True) == ["+ /etc/kept (file 0644 0:0)"]
    machine.crash()
    machine.start()
    assert machine.sh("cat /etc/kept") == "kept"


def test_a_sandboxed_build_by_an_ordinary_user(machine: Machine) -> None:
    build_in_sandbox(machine)


def test_a_sandboxed_build_without_an_init(container: Container) -> None:
    build_in_sandbox(container)


def build_in_sandbox(host: Host) -> None:
    """Debian's Nix set up by hand: if this fails, no nixadmin can succeed on such a host."""
    before, packages = host.snapshot(PACKAGE_STATE), installed(host)
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends nix-bin bash-static")
    host.sh("groupadd -g 30000 nixbld; useradd -u 30001 -g nixbld -G nixbld -d /var/empty -M nixbld1")
    host.sh("mkdir -p /nix/store /etc/nix; chgrp nixbld /nix/store; chmod 1775 /nix/store")
    host.run(["tee", "/etc/nix/nix.conf"], input=NIX_CONF)
    host.sh("setsid nix-daemon < /dev/null > /run/nix-daemon.log 2>&1 &")
    host.run("until test -S /nix/var/nix/daemon-socket/socket; do sleep 0.02; done", timeout=20)
    host.run(["tee", "/home/alice/probe.nix"], input=BUILD)
    said = host.sh("cat $(NIX_REMOTE=daemon nix-build --no-out-link probe.nix)", user="alice").splitlines()
    assert said[0].startswith("5.")  # only bash sets BASH_VERSION
    assert said[1] == "30001" or said[1] == "1000"  # what the sandbox shows is the sandbox's choice
    assert said[2] == "/bin /build /dev /etc /nix /proc /tmp"
    assert host.sh("stat -c %u /nix/store/*-probe") == "0"
    host.sh("kill $(pidof nix-daemon); rm -r /nix /home/alice/* /etc/nix/nix.conf; userdel nixbld1")
    host.run("groupdel nixbld", check=False)  # userdel may have taken it along
    host.sh(["apt-get", "purge", "-qq", *sorted(installed(host) - packages)])
    host.run(
        "rm -rf /home/alice/.cache /home/alice/.nix-defexpr /home/alice/.nix-profile; rmdir /etc/nix",
        check=False,
    )
    assert difference(before, host.snapshot(PACKAGE_STATE)) == []


def installed(host: Host) -> set[str]:
    return set(host.sh("dpkg-query --show --showformat '${Package} '").split())


def leftovers(name: str) -> list[str]:
    """Mounts of any host, and processes and control groups of the host `name`, as the machine sees them."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "nixadmin/root" in line]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{name}")]
    found = subprocess.run(["pgrep", "--full", name], capture_output=True, text=True, check=False)
    return mounts + groups + found.stdout.split()


def test_closing_leaves_nothing(init: str) -> None:
    with hosts.machine(init) as machine:
        machine.sh("setsid sleep 1000 < /dev/null > /dev/null 2>&1 &")
        keeper, leader = machine.tree.pid, machine.leader
        assert leftovers(machine.name)
    assert leftovers(machine.name) == []
    assert not Path(f"/proc/{keeper}").exists() and not Path(f"/proc/{leader}").exists()


def test_a_killed_test_run_leaves_no_mount_and_no_process() -> None:
    code = (
        "import time\nfrom tests.real import hosts\nwith hosts.machine('systemd') as m:\n"
        "    print(m.name, m.leader, flush=True)\n    time.sleep(1000)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as run:
        assert run.stdout is not None
        name, leader = run.stdout.readline().split()
        os.kill(run.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while Path(f"/proc/{leader}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    left = [line for line in leftovers(name) if not line.startswith("/sys/fs/cgroup")]  # empty groups stay
    assert left == []
