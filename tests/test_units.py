"""What init is given: units that systemd verifies, and an init script that starts and stops a real nix-daemon."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nixadmin.nix.version import parse
from nixadmin.templates import render

pytestmark = pytest.mark.ring(2)

DAEMON = "/usr/bin/nix-daemon"
VALUES = {
    "daemon": DAEMON,
    "store_dir": "/nix/store",
    "state_dir": "/nix/var/nix",
    "environment_file": "/etc/default/nix-daemon",
    "nofile": 1048576,
    "tasks": 1048576,
}
SYSTEM_UNITS = "/usr/lib/systemd/system"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    for name in ("nix-daemon.socket", "nix-daemon.service"):
        (tmp_path / name).write_text(render(f"{name}.j2", **VALUES))
    return tmp_path


def verify(units: Path, *names: str) -> str:
    """What systemd-analyze has to say against the units; empty if nothing."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:{SYSTEM_UNITS}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode or done.stderr else ""


def want(units: Path, target: str, unit: str) -> None:
    (units / f"{target}.wants").mkdir(exist_ok=True)
    (units / f"{target}.wants" / unit).symlink_to(f"../{unit}")


def test_systemd_finds_no_fault(units: Path) -> None:
    assert verify(units, "nix-daemon.socket", "nix-daemon.service") == ""


def test_systemd_would_find_one(units: Path) -> None:
    """That the test above can fail."""
    service = units / "nix-daemon.service"
    service.write_text(service.read_text().replace("KillMode=process", "KillMode=proces"))
    assert "kill mode" in verify(units, "nix-daemon.service")


def test_nix_may_come_over_the_network(units: Path) -> None:
    """A socket unit that everything waits for (Before=sockets.target) and that waits for the network is a cycle."""
    for target, unit, text in (
        ("network-online", "net.service", "[Unit]\nBefore=network-online.target\n[Service]\nExecStart=/bin/true\n"),
        ("remote-fs", "nix.mount", "[Unit]\nWants=network-online.target\nAfter=network-online.target\n"
            "[Mount]\nWhat=server:/nix\nWhere=/nix\nType=nfs4\nOptions=_netdev\n"),
    ):  # fmt: skip
        (units / unit).write_text(text)
        want(units, f"{target}.target", unit)
    for unit in ("nix-daemon.socket", "nix-daemon.service"):
        want(units, "multi-user.target", unit)
    assert verify(units, "multi-user.target") == ""
    socket = units / "nix-daemon.socket"
    socket.write_text(socket.read_text().replace("DefaultDependencies=no\n", ""))
    assert "ordering cycle" in verify(units, "multi-user.target")


@pytest.mark.parametrize("unit", ["nix-daemon.service", "nix-daemon@.service"])
def test_a_drop_in_for_the_unit_of_another(tmp_path: Path, unit: str) -> None:
    (tmp_path / unit).write_text(f"[Service]\nExecStart={DAEMON} --daemon\nTasksMax=9\n")
    drop_in = tmp_path / f"{unit}.d/nixadmin.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(render("nix-daemon.dropin.j2", **VALUES))
    assert verify(tmp_path, unit.replace("@", "@1")) == ""
    shown = drop_in.read_text()
    assert "EnvironmentFile=-/etc/default/nix-daemon\n" in shown and "LimitNOFILE=1048576\n" in shown


def scripts() -> dict[str, str]:
    return {"nix-daemon.init": render("nix-daemon.init.j2", **VALUES)} | {
        f"profile-{version}-{xdg}": render("profile.sh.j2", version=parse(version), channel="https://a b", xdg=xdg)
        for version in ("1.11.16", "2.3", "2.8.0", "2.34.4")
        for xdg in (False, True)
    }


@pytest.mark.parametrize("name", scripts())
def test_every_shell_reads_the_scripts(tmp_path: Path, name: str) -> None:
    script = tmp_path / "script"
    script.write_text(scripts()[name])
    subprocess.run(["shellcheck", "--shell=sh", "--enable=all", "--exclude=SC2250,SC2310,SC2312", script], check=True)
    for argv in (["dash"], ["bash", "--posix"], ["busybox", "ash"], ["zsh"]):
        subprocess.run([*argv, "-n", script], check=True)


@dataclass
class InitScript:
    """The init script of a daemon with a store of its own, below `root`."""

    root: Path
    shell: list[str]

    def __call__(self, *verbs: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.shell, self.root / "init", *verbs],
            # What a careless caller's shell may hold: a daemon that took this would be its own client.
            env={"PATH": "/usr/bin:/bin", "NIX_REMOTE": "daemon", "LD_PRELOAD": "", "CALLERS": "1"},
            capture_output=True,
            text=True,
            check=False,
            user=uid,
            timeout=60,
        )

    @property
    def pid(self) -> int:
        return int((self.root / "pid").read_text())

    @property
    def client(self) -> dict[str, str]:
        """The variables by which a client comes to this daemon."""
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "NIX_REMOTE": "daemon"} | self.variables

    @property
    def variables(self) -> dict[str, str]:
        places = {"STORE": "store", "STATE": "var", "LOG": "log", "CONF": "conf"}
        return {f"NIX_{name}_DIR": str(self.root / place) for name, place in places.items()}


@pytest.fixture(params=[["dash"], ["busybox", "ash"], ["bash", "--posix"]], ids=lambda argv: argv[0])
def init(request: pytest.FixtureRequest) -> Iterator[InitScript]:
    root = Path(tempfile.mkdtemp(prefix="nixadmin-init-"))
    root.chmod(0o755)
    init = InitScript(root, request.param)
    for name in ("store", "var/daemon-socket", "conf"):
        (root / name).mkdir(parents=True)
    (root / "conf/nix.conf").write_text("build-users-group =\nsandbox = false\nsubstitute = false\n")
    (root / "default").write_text(render("nix-daemon.default.j2", environment=init.variables))
    paths = {"pid_file": root / "pid", "environment_file": root / "default", "state_dir": root / "var"}
    (root / "init").write_text(render("nix-daemon.init.j2", **VALUES | {"nofile": 2000, "tasks": 3000} | paths))
    yield init
    init("stop")
    shutil.rmtree(root)


def test_a_daemon_from_start_to_stop(init: InitScript) -> None:
    assert init("status").returncode == 3
    started = init("start")
    assert started.returncode == 0 and f"started (pid {init.pid})" in started.stdout and not started.stderr
    pid = init.pid
    assert init("status").returncode == 0
    assert init("start").returncode == 0 and init.pid == pid
    ping = ["nix", "--extra-experimental-features", "nix-command", "store", "ping"]
    subprocess.run(ping, env=init.client, check=True, capture_output=True)
    stopped = init("stop")
    assert stopped.returncode == 0 and "stopped" in stopped.stdout
    assert not Path(f"/proc/{pid}").exists() and not (init.root / "pid").exists()
    assert init("stop").returncode == 0 and init("status").returncode == 3


def test_the_daemon_stands_alone(init: InitScript) -> None:
    """It has its own session, limits, and nothing of its caller's environment or files."""
    init("start")
    process = Path(f"/proc/{init.pid}")
    variables = dict(pair.split("=", 1) for pair in (process / "environ").read_text().split("\0") if pair)
    assert variables.keys() - init.variables.keys() <= {"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"}
    assert {name: variables[name] for name in init.variables} == init.variables
    limits = (process / "limits").read_text()
    assert "Max open files            2000                 2000" in limits
    assert "Max processes             3000                 3000" in limits
    assert (process / "oom_score_adj").read_text() == "250\n"
    status = (process / "status").read_text()
    assert "Umask:\t0022" in status
    stat = (process / "stat").read_text().rsplit(") ", 1)[1].split()
    assert int(stat[3]) != os.getsid(0) and stat[4] == "0"  # a session of its own, without a terminal
    assert os.readlink(process / "cwd") == "/"


def test_stopping_lets_builds_finish(init: InitScript) -> None:
    init("start")
    started = init.root / "started"
    expression = f"""derivation {{
        name = "slow"; system = builtins.currentSystem; builder = "/bin/sh";
        args = ["-c" ": >{started}; read x <{init.root}/go; echo done >$out"];
    }}"""
    os.mkfifo(init.root / "go")
    build = subprocess.Popen(
        ["nix-build", "--no-out-link", "-E", expression],
        env=init.client,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    old = init.pid
    assert init("restart").returncode == 0 and init.pid != old
    (init.root / "go").write_text("\n")
    said, err = build.communicate(timeout=20)
    assert build.returncode == 0, err
    assert Path(said.strip()).read_text() == "done\n"


def test_a_daemon_that_died(init: InitScript) -> None:
    init("start")
    os.kill(init.pid, signal.SIGKILL)
    time.sleep(0.1)
    status = init("status")
    assert status.returncode == 1 and "is dead" in status.stdout
    assert init("start").returncode == 0 and init("status").returncode == 0


@pytest.mark.parametrize("content", ["1", "", "x", "-1", "99999999", "1\n2", "$(touch /tmp/x)"])
def test_a_pid_file_that_names_another(init: InitScript, content: str) -> None:
    (init.root / "pid").write_text(content)
    assert init("status").returncode == 1
    assert init("stop").returncode == 0
    assert init("start").returncode == 0 and init("status").returncode == 0


def test_verbs(init: InitScript) -> None:
    assert init().returncode == init("reload").returncode == 2
    assert "usage: " in init("reload").stderr
    assert init("try-restart").returncode == 0 and init("status").returncode == 3
    assert init("restart").returncode == 0 and init("force-reload").returncode == 0
    old = init.pid
    assert init("try-restart").returncode == 0 and init.pid != old


def test_who_may_not(init: InitScript) -> None:
    for verb in ("start", "stop", "restart"):
        assert init(verb, uid=65534).returncode == 4
    assert init("status", uid=65534).returncode == 3


def test_a_daemon_that_is_not_there(init: InitScript) -> None:
    script = init.root / "init"
    script.write_text(script.read_text().replace(DAEMON, "/nonexistent/nix-daemon"))
    assert init("start").returncode == 5


def test_a_daemon_that_does_not_come_up(init: InitScript) -> None:
    script = init.root / "init"
    script.write_text(script.read_text().replace("tries=100", "tries=3"))
    (init.root / "conf/nix.conf").write_text("not a line\n")
    started = init("start")
    assert started.returncode == 1 and "did not open" in started.stderr
