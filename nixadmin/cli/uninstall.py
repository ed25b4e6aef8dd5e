"""nixadmin uninstall."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli import arguments, asking, failing
from nixadmin.cli.failing import AS_DECLARED, DIFFERS, FAILED
from nixadmin.errors import ConflictError
from nixadmin.host import Host

DESCRIPTION = """\
Give the host back as it was before nixadmin: what was there before is restored, what was not is
removed, and what somebody edited since is left and listed. The store and everyone's profiles stay,
unless --purge-store is given, which asks a question of its own."""

EXAMPLES = """\
  sudo nixadmin uninstall
  sudo nixadmin uninstall --purge-store
  sudo nixadmin uninstall --yes --json"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser, verbose=True, quiet=True)
    arguments.add_yes(parser)
    parser.add_argument(
        "--purge-store", action="store_true", help="remove the store and everyone's profiles too; for good"
    )


def run(asked: Namespace) -> int:
    from nixadmin.provision import carry_out_uninstall, propose_uninstall
    from nixadmin.report import data, plan, summary
    from nixadmin.report.paper import Paper
    from nixadmin.report.progress import followed

    host = arguments.the_host(asked)
    proposal = propose_uninstall(host, purge=asked.purge_store)
    if proposal.refusals:
        failing.complain(proposal.refusals)
        return FAILED
    out, err = Paper(sys.stdout), Paper(sys.stderr)
    if not proposal.plan.empty and not asked.yes:
        asking.check_can_ask("uninstall")
        err.write(plan.lines(proposal.plan, proposal.notes, verbose=asked.verbose))
        agreed = asking.agreed("Go ahead?", lambda: err.write(plan.explained(proposal.plan.changes)))
        if not agreed or (asked.purge_store and not asking.agreed(_purge_question(host))):
            err.say("Nothing was changed.")
            return DIFFERS
    with followed(host, sys.stderr, quiet=asked.quiet) as tell:
        left = carry_out_uninstall(host, proposal, tell=tell)
    if asked.json:
        data.write(sys.stdout, data.of_plan(proposal.plan, proposal.notes) | {"left": data.of_left(left)})
    else:
        out.write(summary.of_uninstall(proposal.plan, left))
    # What is somebody else's by now is rightly left; what merely failed is not.
    return AS_DECLARED if all(isinstance(item.reason, ConflictError) for item in left) else FAILED


def _purge_question(host: Host) -> str:
    from nixadmin.provision.users import store_extent
    from nixadmin.report.paper import counted, size

    store = store_extent(host)
    people = counted(store.users, "user")
    return f"Remove the store too ({size(store.bytes)}), with the profiles of {people}, for good?"
