"""nixadmin completion."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli.failing import AS_DECLARED
from nixadmin.cli.parser import actions, whole

SHELLS = ("bash", "zsh", "fish", "tcsh")

DESCRIPTION = "Print the completion script for a shell. It is made from the same parser that reads the command line."

EXAMPLES = """\
  nixadmin completion bash > /etc/bash_completion.d/nixadmin
  nixadmin completion zsh > /usr/local/share/zsh/site-functions/_nixadmin
  nixadmin completion fish > /etc/fish/completions/nixadmin.fish"""


def declare(parser: ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def run(asked: Namespace) -> int:
    import shtab

    parser = whole()
    for action in actions(parser):
        if action.metavar in ("FILE", "DIR"):
            action.complete = shtab.FILE if action.metavar == "FILE" else shtab.DIRECTORY  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(parser, asked.shell))
    return AS_DECLARED
