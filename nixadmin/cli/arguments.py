"""Arguments that several verbs share."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from nixadmin.cli.parser import add_root
from nixadmin.errors import UsageError
from nixadmin.host import Host


def add_common(parser: ArgumentParser, *, root: bool = True, verbose: bool = False, quiet: bool = False) -> None:
    """--root, and what says how much is told, and how."""
    if root:
        add_root(parser)
    parser.add_argument("--json", action="store_true", help="write one JSON object to stdout")
    if verbose:
        parser.add_argument("-v", "--verbose", action="store_true", help="show every directory and every file's text")
    if quiet:
        parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def add_yes(parser: ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def add_take_over(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="replace what was edited by hand since nixadmin made it (a backup is kept)",
    )


def the_host(asked: Namespace) -> Host:
    """The host to work on. Raises UsageError where --root names no directory."""
    if asked.root is None:
        return Host()
    root = Path(asked.root)
    if not root.is_dir():
        raise UsageError(f"--root {root}: there is no such directory", f"make it first: mkdir {root}")
    return Host(root.resolve())
