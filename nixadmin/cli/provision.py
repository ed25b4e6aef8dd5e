"""nixadmin provision."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli import arguments, asking, failing, options
from nixadmin.cli.failing import AS_DECLARED, DIFFERS, FAILED
from nixadmin.cli.proving import prove

DESCRIPTION = """\
Make this host a multi-user Nix host, or mend it: build users, store, configuration, daemon, login,
and at the end a build by an ordinary user that proves it. What is as declared already is not
touched. It shows the plan and asks before it begins; stopped anywhere, it continues when it is run
again."""

EXAMPLES = """\
  sudo nixadmin provision
  sudo nixadmin provision --yes --build-users 8
  sudo nixadmin provision --nix ./nix-2.34.4-x86_64-linux.tar.xz"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser, verbose=True, quiet=True)
    arguments.add_yes(parser)
    arguments.add_take_over(parser)
    parser.add_argument("--no-probe", action="store_true", help="do not prove it with a build at the end")
    options.add(parser)


def run(asked: Namespace) -> int:
    from nixadmin.provision import carry_out, propose
    from nixadmin.report import data, findings, plan, summary
    from nixadmin.report.paper import Paper
    from nixadmin.report.progress import followed

    host = arguments.the_host(asked)
    config = options.read(asked, host)
    proposal = propose(host, config, wishes=options.wishes(asked, host, config), take_over=asked.take_over)
    # What conflicts is of no interest where nothing can be begun.
    problems = proposal.refusals or [conflict.error for conflict in proposal.plan.conflicts]
    if problems:
        failing.complain(problems)
        return FAILED
    err = Paper(sys.stderr)
    if not proposal.plan.empty and not asked.yes:
        asking.check_can_ask("provision")
        err.write(plan.lines(proposal.plan, proposal.notes, verbose=asked.verbose))
        if not asking.agreed("Go ahead?", lambda: err.write(plan.explained(proposal.plan.changes))):
            err.say("Nothing was changed.")
            return DIFFERS
    with followed(host, sys.stderr, quiet=asked.quiet) as tell:
        carry_out(host, proposal, tell=tell, take_over=asked.take_over)
    probed = not (proposal.plan.empty or asked.no_probe or host.is_stand_in) and proposal.starts_daemon
    found = prove(host, proposal) if probed else []
    if asked.json:
        done = data.of_plan(proposal.plan, proposal.notes) | {"findings": findings.data(found)}
        data.write(sys.stdout, done)
    else:
        notes = proposal.notes
        lines = summary.of_provision(proposal.plan, notes, found, channel=config.channel != "none")
        Paper(sys.stdout).write(lines)
    failure = summary.failure(found)
    if failure:
        failing.complain([failure])
    return FAILED if failure else AS_DECLARED
