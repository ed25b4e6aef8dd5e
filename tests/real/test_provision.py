"""From a fresh host to sandboxed builds by ordinary users, and back again."""

from __future__ import annotations

import json
import random
import subprocess
import time

import pytest

from tests.real import hosts
from tests.real.bundles import BUNDLE
from tests.real.conftest import MakeMachine
from tests.real.container import Container
from tests.real.host import Binds, Host
from tests.real.machine import Machine
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
    assert (seen.returncode, seen.stderr) == (0, "")
    assert_untouched(before, host)


# What a Nix makes of itself at its first use, in directories that were there before nixadmin came.
OWN_STATE = {r"/nix/var/nix/(gc-socket|gc\.lock|gcroots/auto)(/.*)?": "made by the adopted Nix for itself"}


def test_debians_own_setup_is_adopted(machine_factory: MakeMachine) -> None:
    host = machine_factory("systemd")
    packages = "bash-static nix-bin nix-setup-systemd"
    host.sh(f"DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends {packages}")
    host.sh("usermod -aG nix-users alice")
    configure(host, nix="existing")
    before = host.snapshot(PACKAGE_STATE | CACHES | OWN_STATE)
    theirs = host.sh("cat /etc/nix/nix.conf")
    users = {host.host.user(f"nixbld{number}").uid for number in range(1, 11)}
    assert "sandbox = false" in theirs and not users & set(POOL)

    provision(host)
    assert host.sh("cat /etc/nix/nix.conf").startswith(theirs)
    socket = host.host.file("/nix/var/nix/daemon-socket")
    assert (socket.mode, socket.user, socket.group) == (0o770, "root", "nix-users")
    assert not host.path("/etc/systemd/system/nix-daemon.service").exists()
    assert users < {host.host.user(name).uid for name in host.host.group("nixbld").members}
    assert_isolated(host, build(host), users | set(POOL))
    refused = host.run("nix-store --query --hash /nix/store/nothing", user="bob", check=False)
    assert refused.returncode != 0 and "ermission denied" in refused.stderr
    assert_settled(host)
    host.reboot()
    assert_isolated(host, build(host), users | set(POOL))
    assert_settled(host)

    host.sh("nixadmin uninstall --yes --purge-store")
    changed = difference(before, host.snapshot(PACKAGE_STATE | CACHES | OWN_STATE))
    assert not changed, "\n".join(changed)
    assert host.host.service("nix-daemon.socket").is_running
    assert host.host.service("nix-daemon").is_enabled


def test_an_administrators_nix_conf_stays_in_force(machine_factory: MakeMachine, bundle: Binds) -> None:
    host = machine_factory("systemd", binds=bundle)
    theirs = "# ours, since 2019\ncores = 2\nextra-sandbox-paths = /opt/debian\nkeep-outputs = true"
    host.sh("mkdir -m 0755 /etc/nix")
    host.run(["tee", "/etc/nix/nix.conf"], input=theirs)
    host.sh("chmod 0640 /etc/nix/nix.conf; chgrp alice /etc/nix/nix.conf")
    configure(host, nix=BUNDLE)
    before = state(host)
    provision(host)
    assert host.path("/etc/nix/nix.conf").read_text().startswith(theirs)
    said = host.sh("nix --extra-experimental-features nix-command show-config", user="alice")
    assert "\ncores = 2\n" in said and "\nkeep-outputs = true\n" in said and "\nsandbox = true\n" in said
    seen = build(host)
    assert seen.opt == "/opt/debian" and seen.uid in POOL and seen.libraries == ""
    assert_settled(host)
    host.sh("nixadmin uninstall --yes --purge-store")
    assert_gone(before, host)


def test_a_pool_that_is_there_already(container: Container) -> None:
    """Leftovers of a distribution keep their ids; what is missing comes beside them."""
    container.sh(
        "groupadd -g 982 nixbld; groupadd -g 30000 taken; useradd -u 30005 -M someone;"
        "for n in 1 2 3; do useradd -r -u 98$n -g nixbld -G nixbld -d /var/empty -s /usr/sbin/nologin nixbld$n; done"
    )
    before = state(container)
    planned = container.run("nixadmin plan --nix distro", check=False)
    assert "group nixbld is there with gid 982" in planned.stdout
    assert "nixbld1 … nixbld3 are there, and keep their uids" in planned.stdout
    provision(container, "--nix", "distro", "--substituters", "", "--build-users", "12", "--no-probe")
    pool = container.host.group("nixbld")
    assert pool.gid == 982 and len(pool.members) == 12
    uids = {container.host.user(name).uid for name in pool.members}
    assert len(uids) == 12 and {981, 982, 983} < uids and 30005 not in uids
    assert container.host.file("/nix/store").gid == 982
    container.sh("setsid nix-daemon < /dev/null > /dev/null 2>&1 &")
    container.run("until test -S /nix/var/nix/daemon-socket/socket; do sleep 0.02; done", timeout=20)
    seen = build(container)
    assert seen.uid in uids and seen.libraries == ""
    container.sh("pkill -x nix-daemon")
    container.sh("nixadmin uninstall --yes --purge-store")
    assert_gone(before, container)


def test_ids_that_are_taken(container: Container) -> None:
    container.sh("groupadd -g 30000 taken; useradd -u 30005 -M someone")
    planned = container.run("nixadmin plan --nix distro", check=False)
    notes = [line for line in planned.stdout.splitlines() if "30000" in line and "taken" in line]
    assert notes, planned.stdout
    provision(container, "--nix", "distro", "--no-probe")
    pool = container.host.group("nixbld")
    uids = {container.host.user(name).uid for name in pool.members}
    assert pool.gid != 30000 and len(uids) == 32 and 30005 not in uids
    assert container.host.group("taken").gid == 30000


def test_a_person_in_the_pool(container: Container) -> None:
    container.sh("groupadd -g 30000 nixbld; usermod -aG nixbld alice")
    before = state(container)
    refused = container.run("nixadmin provision --yes --nix distro", check=False)
    assert refused.returncode == 1 and refused.stdout == ""
    lines = refused.stderr.splitlines()
    assert len(lines) == 2 and "alice in group nixbld is no build user" in lines[0]
    assert lines[1].strip() == "gpasswd --delete alice nixbld"
    assert_untouched(before, container)
    container.sh(lines[1])
    provision(container, "--nix", "distro", "--no-probe")


def test_umask_changes_nothing(bundle: Binds) -> None:
    found = []
    for umask in ("022", "077"):
        with hosts.container(binds=bundle) as host:
            configure(host, nix=BUNDLE)
            host.sh(f"umask {umask}; nixadmin provision --yes --no-probe")
            found.append(state(host))
    # The same but for what tells the time, of which the mode counts.
    assert [line for line in difference(*found) if not line.endswith("bytes)") and ": content" not in line] == []
    assert oct(found[1]["/nix/var/nix/db/db.sqlite"].mode) == oct(found[0]["/nix/var/nix/db/db.sqlite"].mode)


@pytest.mark.parametrize("round_", range(2))
def test_killed_at_any_moment(init: str, round_: int, machine_factory: MakeMachine, bundle: Binds) -> None:
    """SIGKILL; the next run completes it, and an uninstall gives all of it back."""
    chance = random.Random(f"{init} {round_}")
    host = machine_factory(init, binds=bundle)
    configure(host, nix=BUNDLE)
    before = state(host)
    began = time.monotonic()
    provision(host, "--no-probe")
    whole = time.monotonic() - began
    host.sh("nixadmin uninstall --yes --purge-store")
    assert_gone(before, host)
    for _ in range(3):
        moment = chance.uniform(0.2, whole)
        host.run(f"timeout -s KILL {moment:.3f} nixadmin provision --yes --no-probe", check=False)
        if chance.random() < 0.3:
            host.crash()
            host.start()
        said = host.run("nixadmin provision --yes", check=False)
        assert said.returncode == 0, f"killed after {moment:.3f} s: {said.stderr}"
        assert_isolated(host, build(host))
        assert host.sh("nix-store --verify --check-contents", user="root") == ""
        host.sh("nixadmin verify")
        host.sh("nixadmin uninstall --yes --purge-store")
        changed = difference(before, state(host))
        assert not changed, f"killed after {moment:.3f} s:\n" + "\n".join(changed)


def test_a_host_without_ordinary_users(machine_factory: MakeMachine, bundle: Binds) -> None:
    host = machine_factory("systemd", binds=bundle)
    host.sh("userdel -r alice; userdel -r bob")
    configure(host, nix=BUNDLE)
    before = state(host)
    said = provision(host).stdout
    assert "✓ build: " in said and "✓ build user: uid 30" in said
    assert host.sh("awk -F: '$3 >= 1000 && $3 < 60000 && $1 !~ /^nixbld/ { print $1 }' /etc/passwd") == ""
    assert host.run("pgrep -u 1000,1001,65533", check=False).stdout == ""
    host.sh("nixadmin uninstall --yes --purge-store")
    assert_gone(before, host)


# Nothing in the sandbox can sleep but the shell itself, when it reads from a pipe that stays silent.
SLOW_BUILD = """\
derivation {
  name = "slow";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "coproc { read; }; read -t 4 -u \\${COPROC[0]}; echo survived > $out" ];
}
"""
SECRET = "hunter2hunter2hunter2"


def test_changed_settings(machine: Machine, init: str) -> None:
    """They reach the running daemon, and no build is lost; what is secret stays so."""
    host = machine
    provision(host, "--nix", "distro", "--substituters", "", "--channel", "none")
    build(host)
    first = daemon(host, init)
    host.run(["su", "-", "alice", "-c", "cat > /tmp/slow.nix"], input=SLOW_BUILD)
    host.sh("nix-build --no-out-link /tmp/slow.nix > /tmp/slow.out 2>&1 &", user="alice")
    host.run("until pgrep -u nixbld1 > /dev/null; do sleep 0.02; done", timeout=20)
    changed = provision(host, "--no-probe", "--setting", "extra-sandbox-paths=/opt/debian").stdout
    assert "service nix-daemon" in changed
    assert build(host).opt == "/opt/debian"  # only the daemon decides what is shown
    assert daemon(host, init) != first
    host.run("while pgrep -x nix-build > /dev/null; do sleep 0.05; done", timeout=20)
    assert host.sh("cat /tmp/slow.out; cat $(tail -n 1 /tmp/slow.out)").endswith("-slow\nsurvived")

    second = daemon(host, init)
    host.run(["tee", "/root/token"], input=f"github.com={SECRET}\n")
    host.sh("chmod 0600 /root/token")
    secret = ("--secret-setting", "access-tokens=@/root/token")
    said = [
        host.run(["nixadmin", "plan", "--verbose", *secret], check=False),
        host.run(["nixadmin", "plan", "--json", *secret], check=False),
        provision(host, "--no-probe", "--json", *secret),
        host.run(["nixadmin", "show", "--json"]),
        host.run(["nixadmin", "show"]),
        host.run(["nixadmin", "verify", "--json"], check=False),
        host.run(["nixadmin", "plan", "--json"], user="alice", check=False),
    ]
    assert [one.returncode for one in said[:3]] == [3, 3, 0]
    assert [one.args for one in said if SECRET in one.stdout + one.stderr] == []
    holders = host.sh(f"grep -rlsF {SECRET} /etc /var /nix /home /usr/local /run /tmp || true").split()
    assert holders and all(
        (host.host.file(path).mode & 0o077, host.host.file(path).user) == (0, "root") for path in holders
    ), holders
    assert "/etc/nix/nixadmin-secret.conf" in holders
    assert f"access-tokens = github.com={SECRET}" in host.sh(
        "nix --extra-experimental-features nix-command show-config"
    )
    theirs = host.run("nix --extra-experimental-features nix-command show-config", user="alice")
    assert SECRET not in theirs.stdout + theirs.stderr and "sandbox = true" in theirs.stdout
    build(host)
    assert daemon(host, init) != second
    assert_settled(host)


def daemon(host: Host, init: str) -> str:
    """The process that waits for clients, by init's own account."""
    asked = {"systemd": "systemctl show --value -p MainPID nix-daemon", "sysvinit": "cat /run/nix-daemon.pid"}
    return host.sh(asked[init])
