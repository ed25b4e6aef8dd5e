"""nixadmin show."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli import arguments
from nixadmin.cli.failing import AS_DECLARED

DESCRIPTION = """\
List everything that nixadmin owns on this host: what it is, since when, and what was there before.
Uninstall gives exactly that back."""

EXAMPLES = """\
  sudo nixadmin show
  sudo nixadmin show --json | jq -r '.entries[].id'"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser)


def run(asked: Namespace) -> int:
    import nixadmin.resources  # noqa: F401 - the kinds that a receipt names
    from nixadmin.engine.receipt import Receipt
    from nixadmin.report import data, owned
    from nixadmin.report.paper import Paper

    receipt = Receipt.load(arguments.the_host(asked), public=True)
    if asked.json:
        data.write(sys.stdout, data.of_receipt(receipt))
    else:
        Paper(sys.stdout).write(owned.lines(receipt))
    return AS_DECLARED
