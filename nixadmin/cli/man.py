"""nixadmin man."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin import __version__
from nixadmin.cli.failing import AS_DECLARED
from nixadmin.cli.parser import Parser, verbs_of, whole
from nixadmin.cli.registry import VERBS, load

SHORT = "provision and administer multi-user Nix"

DESCRIPTION = "Print the manual page. It is made from the same parser that reads the command line."

EXAMPLES = """\
  nixadmin man | man -l -
  nixadmin man > /usr/local/share/man/man8/nixadmin.8"""

# The verb under which the configuration is explained; the others say that it is as there.
CONFIGURED = "provision"

SECTIONS = {
    "EXIT STATUS": """\
.TP
.B 0
The host is as declared.
.TP
.B 1
Something failed; two lines on standard error say what is, and what to do.
.TP
.B 2
The command line, the environment or the configuration file asks for something that cannot be.
.TP
.B 3
The host differs from its declaration, or the answer to the question was no.
.TP
.B 128+N
Signal N ended the run; run it again to continue.""",
    "JSON": """\
With \\-\\-json, standard output is one object. Keys may be added; none changes its meaning.
.TP
.B plan, provision, verify, uninstall
as_declared (true or false, as it was before), totals (add, change, remove, conflicts), changes (action, id,
kind, key, group, undoing, differences, before, after), conflicts (id, message, hint), kept (ids), notes and
refusals (message, hint); verify and provision also findings (name, ok, saw, expected, remedy); uninstall also
left (id, message, hint).
.TP
.B show
entries (id, kind, key, group, since, done, before, after).
.TP
.B sandbox
shell (source, kind, version, reason, warning), paths (target, source, reason, optional), findings.
.TP
.B users
users (name, has_account, generations, roots).
.TP
.B bundle
path, version, system, sha256, size, unpacked_size, store_paths.
.PP
before and after are a resource of that kind, or null where there is none. Of a private file they tell the
mode and the owner, and null for the rest.""",
    "ENVIRONMENT": """\
.TP
.B NIXADMIN_BUILD_USERS, \\fRand so on\\fP
The same as the flag \\-\\-build\\-users: every option of the configuration has its variable. Words of a list
are separated by spaces, NAME=VALUE by newlines. An empty variable is no wish.
.TP
.B NIXADMIN_CONFIG
The configuration file, as with \\-\\-config.
.TP
.B NO_COLOR
If set, nothing is coloured.""",
    "FILES": """\
.TP
.I /etc/nixadmin.toml
The configuration, a TOML file: build\\-users = 8. Settings by name are tables: [setting],
[secret\\-setting].
It must be root's and of mode 0600 when it holds a secret.
.TP
.I /var/lib/nixadmin/receipt.json
What nixadmin did to this host, and what was there before.""",
}


def declare(_parser: ArgumentParser) -> None:
    """Nothing can be said to it."""


def run(_asked: Namespace) -> int:
    from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]

    parser = whole()
    parser.epilog = None
    for name, verb in verbs_of(parser).items():
        if name != CONFIGURED:
            _shorten(verb)
    data = {
        "project_name": "nixadmin",
        "version": __version__,
        "description": SHORT,
        "manual_section": 8,
        "manual_title": "System administration",
    }
    page = Manpage(parser, data, format="single-commands-section")
    for heading, content in {"EXAMPLES": _examples(), **SECTIONS}.items():
        page.add_section(heading, ">", content)
    sys.stdout.write(str(page))
    return AS_DECLARED


def _shorten(verb: Parser) -> None:
    """Leave the flags of the configuration out of the help of one more verb."""
    for group in verb._action_groups:
        if group.title == "configuration":
            group._group_actions.clear()
            verb.description = f"{verb.description}\n\nIt takes the configuration as `nixadmin {CONFIGURED}` does."


def _examples() -> str:
    text = "\n".join(load(name).EXAMPLES for name in VERBS)
    # groff_man(7): a dash is \-, and a line that begins with a full stop or an apostrophe is a request.
    lines = [line.replace("\\", "\\e").replace("-", "\\-") for line in text.splitlines()]
    return "\n".join([".nf", *lines, ".fi"])
