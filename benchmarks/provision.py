"""How long do provision, and the runs after it, take? Run as root: python -m benchmarks.provision [--json]

It needs what tests/run has set up, and the Python of its virtual environment. Every repetition boots a Debian 12
of its own (systemd in a container, its root an overlay in memory) and installs there from the bundle that
`nixadmin bundle` makes, or from another tarball (`--tarball`): the official ones have one block, which one core has
to decompress, and a bundle has several. What is compared runs by turns on one host, so that a busy machine is as bad
for each:

- provision and uninstall, beside `tar xJf` of the same tarball onto the same file system;
- the other verbs, beside an empty program for the Python that nixadmin runs on.

CPU is user and system time of the command and of all that it has started and awaited: nix-daemon and init, which
work for it too, are not among those. The least of several runs says most, since others can only add to it.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.real import bundles, hosts
from tests.real.host import Host

# Measured elsewhere: install-multi-user of Nix took 1.9 to 2.1 times what unpacking the same tarball did (32 users,
# no channel, and neither init nor a build as a proof).
OFFICIAL = "the official install-multi-user: 1.9 to 2.1"

PYTHON = "/usr/bin/python3"  # the one in the first line of the host's /usr/local/bin/nixadmin
CONFIGURATION = "/etc/nixadmin.toml"
# Nobody answers in a host without a network.
OFFLINE = 'substituters = []\nchannel = "none"\n'

UNPACKING = "tar xJf"
EMPTY = "python3 -c pass"
LATER = {
    EMPTY: f"{PYTHON} -c pass",
    "--help": "nixadmin --help",
    "second provision": "nixadmin provision --yes",
    "plan": "nixadmin plan",
    "verify": "nixadmin verify",
}

# Runs a command on the host and tells of its time, so that the way into the host is not measured.
STOPWATCH = """
import json, os, resource, sys, time
nothing = os.open(os.devnull, os.O_RDWR)
actions = [(os.POSIX_SPAWN_DUP2, nothing, stream) for stream in (0, 1, 2)]
begun = time.perf_counter()
pid = os.posix_spawn("/bin/sh", ["sh", "-c", sys.argv[1]], os.environ, file_actions=actions)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - begun
code = os.waitstatus_to_exitcode(status)
json.dump({"code": code, "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}, sys.stdout)
"""


@dataclass
class Times:
    """What one command took, run by run, in seconds."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def data(self) -> dict[str, float]:
        return {
            "runs": len(self.seconds),
            "seconds_least": min(self.seconds),
            "seconds_median": statistics.median(self.seconds),
            "cpu_least": min(self.cpu),
            "cpu_median": statistics.median(self.cpu),
        }


class Watch(defaultdict[str, Times]):
    """The times of every command, by its title."""

    def __init__(self) -> None:
        super().__init__(Times)

    def time(self, host: Host, title: str, command: str) -> None:
        """Run a command that must succeed, and keep its time."""
        told = json.loads(host.sh([PYTHON, "-c", STOPWATCH, f"exec {command}" if " && " not in command else command]))
        if told["code"] != 0:
            raise SystemExit(f"{command} ended with {told['code']}:\n{host.run(command, check=False).stderr}")
        self[title].seconds.append(told["seconds"])
        self[title].cpu.append(told["cpu"])


def repeat(watch: Watch, tarball: Path, number: int, runs: int) -> None:
    """One fresh host: unpack and provision, by turns the one and the other first; then what comes later."""
    there = shlex.quote(f"{bundles.BUNDLE_DIR}/{tarball.name}")
    with hosts.machine("systemd", binds={bundles.BUNDLE_DIR: tarball.parent}) as host:
        host.run(["tee", CONFIGURATION], input=OFFLINE)
        host.sh(f"cat {there} > /dev/null; nixadmin --version")  # so that nobody waits for a disk
        title = "provision" if number % 2 == 0 else "provision --no-probe"
        first = (title, f"nixadmin {title} --yes --build-users 32 --nix {there}")
        both = [(UNPACKING, f"mkdir /unpacked && tar xJf {there} -C /unpacked"), first]
        for title, command in both if number % 4 < 2 else reversed(both):
            watch.time(host, title, command)
        host.sh("rm -r /unpacked")
        for _ in range(runs):
            for title, command in LATER.items():
                watch.time(host, title, command)
        watch.time(host, "uninstall", "nixadmin uninstall --yes --purge-store")


def floors() -> Iterator[tuple[str, str]]:
    """Each title, and what it is compared with."""
    for title in (UNPACKING, "provision", "provision --no-probe", "uninstall"):
        yield title, UNPACKING
    for title in LATER:
        yield title, EMPTY


def table(watch: Watch) -> Iterator[str]:
    yield f"{'':22}{'seconds':>17}{'× floor':>17}{'CPU s':>17}"
    yield f"{'':22}" + f"{'least  median':>17}" * 3 + "  runs"
    for title, floor in floors():
        mine, least = watch[title].data(), watch[floor].data()
        if title == EMPTY:
            yield ""
        ratio = [mine[f"seconds_{which}"] / least[f"seconds_{which}"] for which in ("least", "median")]
        yield (
            f"{title:22}{mine['seconds_least']:9.3f}{mine['seconds_median']:8.3f}{ratio[0]:9.2f}{ratio[1]:8.2f}"
            f"{mine['cpu_least']:9.3f}{mine['cpu_median']:8.3f}{mine['runs']:6}"
        )


def load() -> str:
    return " ".join(f"{average:.1f}" for average in os.getloadavg())


def main() -> None:
    parser = argparse.ArgumentParser(description="Time nixadmin on fresh hosts.")
    parser.add_argument("--hosts", type=int, default=8, metavar="N", help="fresh hosts, 2 at least (default: 8)")
    parser.add_argument("--runs", type=int, default=4, metavar="N", help="later runs on each (default: 4)")
    parser.add_argument("--json", action="store_true", help="write one JSON object to stdout")
    parser.add_argument("--tarball", type=Path, metavar="FILE", help="an .xz tarball of Nix (default: a bundle)")
    asked = parser.parse_args()
    number_of_hosts = max(2, asked.hosts)
    tarball = (asked.tarball or bundles.bundle() / Path(bundles.BUNDLE).name).resolve()
    watch, before = Watch(), load()
    for number in range(number_of_hosts):
        repeat(watch, tarball, number, max(1, asked.runs))
        print(f"host {number + 1} of {number_of_hosts}", file=sys.stderr)
    cores, size = len(os.sched_getaffinity(0)), tarball.stat().st_size
    if asked.json:
        times = {title: watch[title].data() | {"floor": floor} for title, floor in floors()}
        about = {"cores": cores, "load": [before, load()], "tarball_bytes": size, "times": times}
        print(json.dumps(about, indent=2))
        return
    print("\n".join(table(watch)))
    print(f"\n{cores} cores; load average {before} before and {load()} after; tarball of {size / 1e6:.1f} MB")
    print(f"Measured elsewhere, × floor: {OFFICIAL}.")


if __name__ == "__main__":
    main()
