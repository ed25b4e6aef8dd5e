"""Every example of the README is run, in its order, on a real host."""

import re
from pathlib import Path

from tests.real.conftest import MakeMachine

README = Path(__file__).parents[2] / "README.md"


def examples() -> list[str]:
    """The lines that a person types at a root prompt."""
    blocks = re.findall(r"^```console\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def test_every_example_works(machine_factory: MakeMachine) -> None:
    machine = machine_factory("systemd")
    lines = examples()
    assert len(lines) > 10
    for line in lines:
        asks = line in ("nixadmin provision", "nixadmin uninstall")
        done = machine.run(f"{line} --yes" if asks else line, check=False)
        # A plan for a fresh host differs from the host: that is its exit code.
        expected = 3 if line == "nixadmin plan" else 0
        assert done.returncode == expected, f"{line}: {done.stdout}{done.stderr}"


def test_the_two_commands_are_the_ones_that_are_tried() -> None:
    commands = re.findall(r"^```sh\n(.*?)\n```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert commands[0].endswith("pipx install . && nixadmin provision --yes")
    assert commands[1] == "tests/run"
