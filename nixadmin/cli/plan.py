"""nixadmin plan."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli import arguments, options
from nixadmin.cli.failing import AS_DECLARED, DIFFERS

DESCRIPTION = """\
Show what `nixadmin provision` would change on this host, and change nothing. It needs no root; what
only root may read is taken to be as declared. The exit code is 0 when nothing would change, and 3
when something would."""

EXAMPLES = """\
  nixadmin plan
  nixadmin plan --build-users 8 --setting keep-outputs=true
  nixadmin plan --json | jq .totals"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser, verbose=True)
    arguments.add_take_over(parser)
    options.add(parser)


def run(asked: Namespace) -> int:
    from nixadmin.provision import propose
    from nixadmin.report import data, plan
    from nixadmin.report.paper import Line, Paper

    host = arguments.the_host(asked)
    proposal = propose(host, options.read(asked, host), take_over=asked.take_over)
    if asked.json:
        data.write(sys.stdout, data.of_plan(proposal.plan, proposal.notes, proposal.refusals))
    else:
        paper = Paper(sys.stdout)
        paper.write(plan.lines(proposal.plan, proposal.notes, verbose=asked.verbose))
        if proposal.refusals and not proposal.plan.empty:
            paper.write([Line(), Line("Before provision can begin", "title")])
            for refusal in proposal.refusals:
                paper.write(plan.two_lines(refusal))
    return AS_DECLARED if proposal.plan.empty else DIFFERS
