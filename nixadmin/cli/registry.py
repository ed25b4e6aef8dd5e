"""The verbs: a new one is a file beside this one and a line here.

The file `nixadmin/cli/VERB.py` holds what `Verb` says. It is imported only when the verb is typed, so that
`nixadmin --help` stays quick.
"""

from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import Protocol, cast

VERBS = {
    "plan": "show what provision would change; change nothing",
    "provision": "make this host a multi-user Nix host, or mend it",
    "verify": "say whether the host is still as declared",
    "uninstall": "give the host back as it was",
    "show": "list what nixadmin owns here, since when, and what was there before",
    "sandbox": "show what a build's sandbox holds and why, and try one build",
    "users": "list users' own directories in the store, make or retire one user's",
    "bundle": "make a tarball of this host's Nix, for hosts without a network",
    "completion": "print the completion script for a shell",
    "man": "print the manual page",
}

# What people type from the habits of other programs.
OTHER_WORDS = {
    "apply": "provision",
    "check": "verify",
    "diff": "plan",
    "info": "show",
    "init": "provision",
    "install": "provision",
    "list": "show",
    "purge": "uninstall",
    "remove": "uninstall",
    "setup": "provision",
    "status": "verify",
    "upgrade": "provision",
}


class Verb(Protocol):
    """What the file of a verb holds."""

    DESCRIPTION: str
    EXAMPLES: str

    def declare(self, parser: ArgumentParser) -> None:
        """Declare the verb's flags and arguments."""

    def run(self, asked: Namespace) -> int:
        """Do it, and return the exit code. Raises NixadminError for an expected failure."""


def load(name: str) -> Verb:
    """Import the file of a verb."""
    return cast(Verb, import_module(f"nixadmin.cli.{name}"))
