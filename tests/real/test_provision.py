"""From a fresh host to sandboxed builds by ordinary users, and back again."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.real.bundles import BUNDLE
from tests.real.conftest import MakeMachine
from tests.real.host import Binds, Host
from tests.real.nix import POOL, assert_isolated, assert_own_profile, build, build_by_ssh
from tests.real.snapshot import PACKAGE_STATE, Snapshot, difference

SOURCES = {"bundle": BUNDLE, "distro": "distro"}
# Nobody answers in a host without a network, and Nix asks for four seconds.
OFFLINE = 'substituters = []\nchannel = "none"\n'
# What people's own programs keep in their homes.
CACHES = {r"/(root|home/[a-z]+)/\.cache": "caches of the people who use Nix"}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    """Where Nix comes from: one after the other."""
    return SOURCES[request.param]


def configure(host: Host, **wishes: str) -> None:
    """Write /etc/nixadmin.toml, as an administrator would before the first run."""
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in wishes.items())
    host.run(["tee", "/etc/nixadmin.toml"], input=lines + OFFLINE)


def state(host: Host) -> Snapshot:
    return host.snapshot(PACKAGE_STATE | CACHES)


def provision(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    return host.run(["nixadmin", "provision", "--yes", *words])


def assert_untouched(before: Snapshot, host: Host) -> None:
    """Not a file was written since, not even with what it held."""
    changed = difference(before, state(host), times=True)
    assert not changed, "\n".join(changed)


def assert_gone(before: Snapshot, host: Host) -> None:
    """The host is what it was: every path, mode, owner and content."""
    changed = difference(before, state(host))
    assert not changed, "\n".join(changed)


def test_life_of_an_installation(init: str, source: str, machine_factory: MakeMachine, bundle: Binds) -> None:
    host = machine_factory(init, binds=bundle)
    configure(host, nix=source)
    before = state(host)

    planned = host.run("nixadmin plan", user="alice", check=False)
    assert (planned.returncode, planned.stderr) == (3, "")
    assert "nixbld1 … nixbld32" in planned.stdout
    assert_untouched(before, host)

    said = provision(host).stdout
    assert "✓ sandbox" in said and "✓ build user: uid 30" in said
    assert_works(host)
    assert_settled(host)

    host.reboot()
    assert_works(host)
    assert_settled(host)

    kept = build(host).path
    assert host.run("nixadmin uninstall --yes", check=False).returncode == 0
    assert not host.path("/etc/nix").exists() and host.path(kept).exists()
    assert host.host.group("nixbld").exists is False
    provision(host)
    assert host.path(kept).exists()
    assert host.sh(f"nix-store --check-validity {kept}; nix-store --verify", user="root") == ""
    assert host.sh("greeting", user="alice") == "greetings"
    assert_isolated(host, build(host))
    assert_settled(host)

    removed = host.run("nixadmin uninstall --yes --purge-store", check=False)
    assert (removed.returncode, removed.stdout.split("\n")[0][:11]) == (0, "Uninstalled")
    assert_gone(before, host)
    assert host.run("pgrep -a nix", check=False).stdout == ""


def assert_works(host: Host) -> None:
    """alice builds in a sandbox by way of the daemon, over a login shell and ssh, and has a profile of her own."""
    assert host.host.file("/nix/store").mode == 0o1775
    assert host.host.file("/nix/store").group == "nixbld"
    pool = host.host.group("nixbld")
    assert pool.gid == 30000 and len(pool.members) == 32
    assert host.host.user("nixbld32").uid == 30032
    assert host.host.file("/nix/var/nix/daemon-socket/socket").is_socket
    assert host.sh("timeout 5 bash -c 'exec 3<> /dev/tcp/127.0.0.1/22'") == ""  # so that a build could reach it
    assert_isolated(host, build(host, "alice"))
    assert_isolated(host, build(host, "bob"))
    assert_isolated(host, build_by_ssh(host))
    assert_own_profile(host)


def assert_settled(host: Host) -> None:
    """Everybody says so, and a second run touches nothing."""
    before = state(host)
    again = provision(host)
    assert again.stdout.startswith("Nothing to change")
    assert_untouched(before, host)
    assert host.host.run("nixadmin verify").rc == 0
    assert json.loads(host.sh("nixadmin verify --json"))["as_declared"] is True
    seen = host.run("nixadmin plan", user="alice", check=False)
    assert seen.returncode in (0, 3) and "Traceback" not in seen.stderr
    assert_untouched(before, host)


def test_debians_own_setup_is_adopted(machine_factory: MakeMachine) -> None:
    host = machine_factory("systemd")
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends bash-static nix-bin nix-setup-systemd")
    host.sh("adduser --quiet alice nix-users 2> /dev/null || usermod -aG nix-users alice")
    configure(host, nix="existing")
    before = state(host)
    theirs = host.sh("cat /etc/nix/nix.conf")
    users = {host.host.user(f"nixbld{number}").uid for number in range(1, 11)}
    assert "sandbox = false" in theirs and not users & set(POOL)

    provision(host, "--setting", "extra-sandbox-paths=")
    assert host.sh("cat /etc/nix/nix.conf").startswith(theirs)
    assert host.host.file("/nix/var/nix/daemon-socket").mode == 0o770
    assert host.host.file("/nix/var/nix/daemon-socket").group == "nix-users"
    assert not host.path("/etc/systemd/system/nix-daemon.service").exists()
    assert_isolated(host, build(host), users | set(POOL))
    refused = host.run("nix-store --query --hash /nix/store/nothing", user="bob", check=False)
    assert refused.returncode != 0 and "ermission denied" in refused.stderr
    assert host.run("nixadmin verify", check=False).returncode == 0

    host.sh("nixadmin uninstall --yes --purge-store")
    assert_gone(before, host)
    assert host.host.service("nix-daemon.socket").is_running
