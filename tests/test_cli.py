"""The real program in processes of its own, as people and scripts start it, on stand-in roots."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nixadmin.cli.registry import VERBS
from tests.standin import make, needs_root, snapshot

PROGRAM = (sys.executable, "-m", "nixadmin")
QUIET = {name: value for name, value in os.environ.items() if not name.startswith("NIXADMIN_")}
# So that nothing is decided by the machine on which the tests run.
CHOICES = ("--nix", "existing", "--init", "none", "--channel", "none")

ring2 = pytest.mark.ring(2)


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    arguments: dict[str, object] = {"stdin": subprocess.DEVNULL, "env": QUIET, "timeout": 60} | options
    return subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, check=False, **arguments)  # type: ignore[call-overload, no-any-return]


def complaint(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The two lines of an expected error, and nothing else."""
    assert done.stdout == ""
    what, hint = done.stderr.splitlines()
    assert what.startswith("nixadmin: ") and hint.startswith("  ")
    return what.removeprefix("nixadmin: "), hint.strip()


# What newcomers type


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_is_a_result(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 0 and done.stderr == "" and done.stdout


def test_every_verb_is_listed_and_explained_with_examples() -> None:
    listed = run("--help").stdout
    for verb, help_ in VERBS.items():
        assert verb in listed and help_.split(";")[0].split()[0] in listed
        told = run(verb, "--help").stdout
        assert f"usage: nixadmin {verb}" in told and f"nixadmin {verb}" in told.partition("examples:")[2]


def test_no_verb_at_all_shows_the_help() -> None:
    done = run()
    assert done.returncode == 2 and done.stdout == "" and "start here:" in done.stderr


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ("foo", "there is no verb `foo`", "nixadmin --help"),
        ("plam", "there is no verb `plam`", "did you mean: nixadmin plan?"),
        ("install", "there is no verb `install`", "did you mean: nixadmin provision?"),
        ("instal", "there is no verb `instal`", "did you mean: nixadmin provision?"),
        ("status", "there is no verb `status`", "did you mean: nixadmin verify?"),
        ("plan --buid-users 3", "there is no option --buid-users", "did you mean --build-users?"),
        ("plan --buid-users=3", "there is no option --buid-users", "did you mean --build-users?"),
        ("plan --build-user 3", "there is no option --build-user", "did you mean --build-users?"),
        ("plan --qqq", "there is no option --qqq", "nixadmin plan --help"),
        ("plan everything", "`everything` is one word too many", "nixadmin plan --help"),
        ("--json plan", "there is no option --json before the verb", "nixadmin VERB --json"),
        ("--build-users 3 plan", "there is no option --build-users before", "nixadmin VERB"),
        ("plan --gid", "--gid: expected one argument", "nixadmin plan --help"),
        ("plan --build-users 0", "--build-users: 0 must be at least 1", "how many build users"),
        ("plan --build-users 5000", "--build-users: 5000 must be at most 999", "how many build users"),
        ("plan --root /nowhere", "--root /nowhere: there is no such directory", "mkdir"),
        ("--root /nowhere plan", "--root /nowhere: there is no such directory", "mkdir"),
        ("plan --config /nowhere", "cannot read /nowhere", "may read"),
        ("completion", "the following arguments are required: SHELL", "nixadmin completion --help"),
        ("completion nu", "SHELL: invalid choice: 'nu'", "nixadmin completion --help"),
        ("bundle", "the following arguments are required: --out", "nixadmin bundle --help"),
        ("users add", "users add needs the NAME of a user", "nixadmin users --help"),
        ("users list alice", "users list takes no NAME", "nixadmin users --help"),
    ],
)
def test_what_newcomers_type_wrong(words: str, what: str, hint: str) -> None:
    done = run(*words.split())
    said, advice = complaint(done)
    assert done.returncode == 2
    assert said.startswith(what) and hint in advice


def test_hostile_words_do_not_reach_the_terminal() -> None:
    done = run("\x1b[2J\u202e")
    assert done.returncode == 2 and not set(done.stderr) & set("\x1b\u202e")


# Start-up


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["foo"]])
def test_little_is_imported_for_help(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nixadmin", *words],
        capture_output=True, text=True, check=False, env=QUIET,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    heavy = {"pydantic", "pydantic_core", "rich", "jinja2", "elftools", "typing_extensions", "shtab", "subprocess"}
    assert "nixadmin.cli" in imported and not imported & heavy


# On a stand-in root


@pytest.fixture(scope="module")
def nix_of_this_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's Nix with its libraries, and a static bash, laid out as in a root."""
    home = tmp_path_factory.mktemp("nix")
    program = Path("/usr/bin/nix").resolve()
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [Path(word) for word in needed.split() if word.startswith("/")]
    for file in (program, *libraries, Path("/bin/bash-static")):
        to = home / str(file).removeprefix("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, to)
    for name in ("nix-store", "nix-env", "nix-build", "nix-daemon", "nix-instantiate", "nix-channel"):
        (home / "usr/bin" / name).symlink_to("nix")
    return home


@pytest.fixture
def root(tmp_path: Path, nix_of_this_host: Path) -> Path:
    make(tmp_path / "root")
    shutil.copytree(nix_of_this_host, tmp_path / "root", symlinks=True, dirs_exist_ok=True)
    return tmp_path / "root"


@ring2
@needs_root
def test_from_plan_to_uninstall(root: Path) -> None:
    before = snapshot(root)
    planned = run("plan", "--root", root, *CHOICES)
    assert planned.returncode == 3 and planned.stderr == ""
    assert re.search(r"^Plan: \d+ to add, 0 to change, 0 to remove\.$", planned.stdout, re.MULTILINE)
    assert "\x1b" not in planned.stdout
    assert snapshot(root) == before

    done = run("--root", root, "provision", "--yes", *CHOICES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Provisioned: ") and "nixadmin verify" in done.stdout
    assert re.match(r"\[ *1/\d+\] \+ ", done.stderr) and "\x1b" not in done.stderr

    assert run("plan", "--root", root, *CHOICES).returncode == 0
    verified = run("verify", "--root", root, *CHOICES)
    assert verified.returncode == 0 and verified.stdout.startswith("As declared: ")
    again = run("provision", "--root", root, *CHOICES)  # nothing to ask about
    assert again.returncode == 0 and again.stdout.startswith("Nothing to change") and again.stderr == ""

    (root / "nix/store").chmod(0o777)
    drifted = run("verify", "--root", root, *CHOICES)
    assert drifted.returncode == 3 and "~ /nix/store/  mode 0777 → 1775" in drifted.stdout

    shown = run("show", "--root", root)
    assert shown.returncode == 0 and "/nix/store/" in shown.stdout

    gone = run("uninstall", "--root", root, "--yes", "--purge-store", "--quiet")
    assert gone.returncode == 0 and gone.stdout.startswith("Uninstalled: ") and gone.stderr == ""
    assert "owns nothing" in run("show", "--root", root).stdout
    assert snapshot(root) == before


@ring2
@needs_root
def test_json_of_every_verb_that_reports(root: Path) -> None:
    def told(*words: str, code: int) -> dict[str, object]:
        done = run(*words, "--root", root, "--json")
        assert done.returncode == code, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    plan = told("plan", *CHOICES, code=3)
    assert plan["as_declared"] is False and plan["changes"] and plan["refusals"] == []
    made = told("provision", "--yes", "--quiet", *CHOICES, code=0)
    assert made["changes"] == plan["changes"] and made["findings"] == []
    assert told("verify", *CHOICES, code=0)["as_declared"] is True
    assert len(told("show", code=0)["entries"]) == len(plan["changes"])  # type: ignore[arg-type]
    assert told("sandbox", "--no-probe", *CHOICES, code=0)["paths"]
    assert told("uninstall", "--yes", "--quiet", code=0)["left"] == []


@ring2
@needs_root
@pytest.mark.parametrize("verb", ["provision", "uninstall"])
def test_without_a_terminal_nobody_can_be_asked(root: Path, verb: str) -> None:
    if verb == "uninstall":
        run("provision", "--root", root, "--yes", *CHOICES)
    before = snapshot(root)
    done = run(verb, "--root", root, *(CHOICES if verb == "provision" else ()))
    what, hint = complaint(done)
    assert done.returncode == 2 and "no terminal" in what and f"nixadmin {verb} --yes" in hint
    assert snapshot(root) == before


@ring2
@needs_root
def test_a_secret_is_shown_nowhere(root: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("github.com=ghp_verysecret\n")
    token.chmod(0o600)
    words = (*CHOICES, "--root", str(root), "--secret-setting", f"access-tokens=@{token}")
    outputs = [
        run("plan", "--verbose", *words),
        run("plan", "--json", *words),
        run("provision", "--yes", *words),
        run("show", "--root", root),
        run("show", "--root", root, "--json"),
        run("verify", *words),
    ]
    token.write_text("github.com=ghp_anothersecret\n")
    outputs += [
        run("plan", "--verbose", *words),
        run("verify", "--json", *words),
        run("uninstall", "--yes", "--verbose", "--root", root),
    ]
    assert [done.returncode for done in outputs] == [3, 3, 0, 0, 0, 0, 3, 3, 0]
    for done in outputs:
        assert "secret" not in (done.stdout + done.stderr).replace("nixadmin-secret.conf", "").replace(
            "secret-setting", ""
        )


# On a terminal


class Terminal:
    """The program on a terminal of its own; what it says is read, and what it asks is answered."""

    def __init__(self, words: Sequence[str | Path], **variables: str) -> None:
        self.said = ""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [*PROGRAM, *map(str, words)], {**QUIET, "TERM": "xterm", **variables})

    def read_until(self, words: str, seconds: float = 30) -> str:
        end = time.monotonic() + seconds
        while words not in self.said and time.monotonic() < end and self._more(end - time.monotonic()):
            pass
        assert words in self.said, self.said
        return self.said

    def _more(self, seconds: float) -> bool:
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.said += data.decode()
        return bool(data)

    def type(self, text: str) -> None:
        self.said = ""
        os.write(self.descriptor, text.encode())

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._more(30):
            pass
        return self.wait()

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def hang_up(self) -> None:
        os.close(self.descriptor)


@pytest.fixture
def asking(root: Path) -> Iterator[Terminal]:
    terminal = Terminal(["provision", "--root", root, *CHOICES])
    terminal.read_until("Go ahead? [y]es, [n]o, [e]xplain: ")
    yield terminal


@ring2
@needs_root
def test_explain_then_yes(asking: Terminal, root: Path) -> None:
    assert "\x1b[32m  + /nix/store/" in asking.said
    asking.type("what?\n")
    asking.read_until("Go ahead?")
    asking.type("e\n")
    assert "make /nix/store/ (root:nixbld 1775)" in asking.read_until("Go ahead?")
    assert not (root / "nix").exists()
    asking.type("Y\n")
    asking.read_until("Provisioned: ")
    assert asking.end() == 0
    assert (root / "nix/store").exists()


@ring2
@needs_root
@pytest.mark.parametrize("answer", ["n\n", "no\n", "\x04"])
def test_no_changes_nothing(asking: Terminal, root: Path, answer: str) -> None:
    before = snapshot(root)
    asking.type(answer)
    asking.read_until("Nothing was changed.")
    assert asking.end() == 3
    assert snapshot(root) == before


@ring2
@needs_root
def test_interrupted_while_asking(asking: Terminal, root: Path) -> None:
    before = snapshot(root)
    asking.type("\x03")
    asking.read_until("nixadmin: stopped\r\n  run it again to continue")
    assert asking.end() == 128 + signal.SIGINT
    assert snapshot(root) == before


@ring2
@needs_root
def test_a_lost_terminal_ends_it_quietly(asking: Terminal) -> None:
    asking.hang_up()
    assert asking.wait() in (128 + signal.SIGHUP, 3)


@ring2
@needs_root
def test_purging_the_store_has_a_question_of_its_own(root: Path) -> None:
    run("provision", "--root", root, "--yes", *CHOICES)
    (root / "nix/var/nix/profiles/per-user/alice/profile").symlink_to("profile-1-link")
    terminal = Terminal(["uninstall", "--root", root, "--purge-store"])
    terminal.read_until("Go ahead?")
    terminal.type("y\n")
    said = terminal.read_until("for good? [y]es, [n]o: ")
    assert "with the profiles of 1 user," in said and "KiB" in said
    terminal.type("n\n")
    terminal.read_until("Nothing was changed.")
    assert terminal.end() == 3 and (root / "nix/store").exists()


@ring2
@needs_root
@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours(root: Path, variables: dict[str, str]) -> None:
    terminal = Terminal(["plan", "--root", root, *CHOICES], **variables)
    assert terminal.end() == 3
    assert "Plan: " in terminal.said and "\x1b" not in terminal.said


# When output or life ends early


@ring2
@needs_root
def test_a_reader_that_goes_away(root: Path) -> None:
    script = '"$@" | head -n 1; echo "${PIPESTATUS[0]}"'
    words = ["bash", "-c", script, "-", *PROGRAM, "plan", "--json", "--root", str(root), *CHOICES]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=QUIET)
    assert done.stderr == ""
    first, code = done.stdout.splitlines()
    # It had all written before the reader was gone, or it had not.
    assert first == "{" and code in ("3", str(128 + signal.SIGPIPE))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["completion", "bash"], ["--help"], ["--version"]])
def test_a_result_that_cannot_be_written(words: list[str], unbuffered: str) -> None:
    environment = {**QUIET, "PYTHONUNBUFFERED": unbuffered}

    def into(stdout: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *words], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )

    reader, writer = os.pipe()
    os.close(reader)
    unread = into(writer)
    os.close(writer)
    assert unread.stderr == "" and unread.returncode == 128 + signal.SIGPIPE

    full = os.open("/dev/full", os.O_WRONLY)
    unstored = into(full)
    os.close(full)
    assert unstored.returncode == 1 and len(unstored.stderr.splitlines()) == 2
    assert "No space left on device" in unstored.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(closed: str) -> None:
    words = ["sh", "-c", f'"$@" {closed}', "-", *PROGRAM]
    assert subprocess.run([*words, "--version"], capture_output=True, check=False, env=QUIET).returncode == 0
    done = subprocess.run([*words, "foo"], capture_output=True, text=True, check=False, env=QUIET)
    assert done.returncode == 2 and done.stdout == ""


@ring2
@needs_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_stopped_in_the_middle_and_continued(root: Path, number: signal.Signals) -> None:
    words = [*PROGRAM, "provision", "--root", str(root), "--yes", *CHOICES]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=QUIET) as process:
        assert process.stderr
        assert process.stderr.readline().startswith("[")
        process.send_signal(number)
        rest = process.stderr.read()
    # It may have been done before the signal came.
    if process.returncode != 0:
        assert process.returncode == 128 + number
        assert rest.endswith("nixadmin: stopped\n  run it again to continue\n") and "Traceback" not in rest
    assert run("provision", "--root", root, "--yes", *CHOICES).returncode == 0
    assert run("verify", "--root", root, *CHOICES).returncode == 0


@ring2
@needs_root
def test_progress_that_nobody_hears_stops_nothing(root: Path) -> None:
    with open("/dev/full", "w") as full:
        words = [*PROGRAM, "provision", "--root", str(root), "--yes", *CHOICES]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=full, text=True, check=False, env=QUIET)
    assert done.returncode == 0 and done.stdout.startswith("Provisioned: ")


@ring2
@needs_root
def test_what_nohup_ignores_stays_ignored(root: Path) -> None:
    words = ["nohup", *PROGRAM, "provision", "--root", str(root), "--yes", *CHOICES]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=QUIET) as process:
        assert process.stderr
        process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        process.communicate()
    assert process.returncode == 0
