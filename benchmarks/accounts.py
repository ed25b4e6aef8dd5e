"""Which way makes 32 build users fastest, and is it correct? Run as root: python -m benchmarks.accounts

Every way works on a stand-in root of its own; this machine's accounts are not touched.
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nixadmin.host import Host
from nixadmin.provision.ids import Wish, choose

RUNS = 5
USERS = [(f"nixbld{number}", 30000 + number) for number in range(1, 33)]
NAMES = ",".join(name for name, _uid in USERS)
COMMENT = b"# a comment of the administrator's\n"
FILES = ("passwd", "group", "shadow", "gshadow")


def root(place: Path) -> Path:
    """A root with this machine's own accounts, and a comment among them."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "etc").mkdir(parents=True)
    for name in (*FILES, "login.defs", "nsswitch.conf"):
        shutil.copy2(f"/etc/{name}", place / "etc" / name)
    passwd = place / "etc/passwd"
    passwd.write_bytes(COMMENT + passwd.read_bytes())
    return place


def tool(*words: str | int | Path, stdin: str | None = None) -> str:
    done = subprocess.run(list(map(str, words)), input=stdin, text=True, capture_output=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def group(host: Path) -> None:
    tool("groupadd", "--root", host, "--gid", 30000, "nixbld")


def useradd(host: Path, *more: str) -> str:
    group(host)
    for name, uid in USERS:
        tool(
            "useradd", "--root", host, "--system", "--no-create-home", "--no-user-group", "--uid", uid, "--gid", 30000,
            "--home-dir", "/var/empty", "--shell", "/usr/sbin/nologin", *more, name,
        )  # fmt: skip
    return ""


def useradd_each(host: Path) -> str:
    return useradd(host, "--groups", "nixbld")


def useradd_then_group(host: Path) -> str:
    useradd(host)
    return tool("groupmod", "--root", host, "--users", NAMES, "nixbld")


def newusers(host: Path) -> str:
    group(host)
    lines = "".join(f"{name}:*:{uid}:30000::/var/empty:/usr/sbin/nologin\n" for name, uid in USERS)
    said = tool("newusers", "--root", host, "--system", stdin=lines)
    return said or tool("groupmod", "--root", host, "--users", NAMES, "nixbld")


def sysusers(host: Path) -> str:
    lines = ["g nixbld 30000"]
    for name, uid in USERS:
        lines += [f"u {name} {uid}:30000 - /var/empty /usr/sbin/nologin", f"m {name} nixbld"]
    return tool("systemd-sysusers", f"--root={host}", "-", stdin="\n".join(lines) + "\n")


def nixadmin(place: Path) -> str:
    host = Host(place)
    for step in choose(host.accounts, Wish()).pool.create():
        step.perform(host)
    return ""


def userdel(host: Path) -> str:
    for name, _uid in USERS:
        tool("userdel", "--root", host, name)
    return tool("groupdel", "--root", host, "nixbld")


def nixadmin_removal(place: Path) -> str:
    host = Host(place)
    for step in choose(host.accounts, Wish()).pool.remove():
        step.perform(host)
    return ""


def faults(place: Path) -> list[str]:
    """What is wrong after all users were made."""
    found = []
    host = Host(place)
    pool = choose(host.accounts, Wish(), None, None).pool
    made = pool.observe(host)
    if made is None or len(made.users) != 32 or made.members != tuple(sorted(made.members, key=NAMES.split(",").index)):
        found.append("members in another order")
    if made is None or set(made.members) != set(NAMES.split(",")):
        found.append("members are missing")
    line = next((x for x in (place / "etc/gshadow").read_text().splitlines() if x.startswith("nixbld:")), "")
    if set(line.split(":")[-1].split(",")) != set(NAMES.split(",")):
        found.append("gshadow lacks the members")
    if COMMENT not in (place / "etc/passwd").read_bytes():
        found.append("a comment in passwd is lost")
    return found


def measure(place: Path, way: Callable[[Path], str], prepare: Callable[[Path], object]) -> tuple[float, str]:
    times, said = [], ""
    for _ in range(RUNS):
        prepare(root(place))
        begun = time.perf_counter()
        said = way(place)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000, said


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "host"
        print(f"making 32 users (median of {RUNS})")
        for way in (useradd_each, useradd_then_group, newusers, sysusers, nixadmin):
            took, said = measure(place, way, lambda _place: None)
            wrong = "; ".join([*([said] if said else []), *faults(place)])
            print(f"  {way.__name__:20} {took:7.1f} ms  {wrong or 'correct'}")
        print("removing them")
        for way in (userdel, nixadmin_removal):
            took, said = measure(place, way, nixadmin)
            same = all((place / "etc" / name).read_bytes().endswith(Path("/etc", name).read_bytes()) for name in FILES)
            print(f"  {way.__name__:20} {took:7.1f} ms  {said or ('correct' if same else 'not as before')}")


if __name__ == "__main__":
    main()
