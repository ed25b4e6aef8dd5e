"""nixadmin users."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli import arguments, asking
from nixadmin.cli.failing import AS_DECLARED, DIFFERS

DESCRIPTION = """\
List the users who have directories of their own in the store, make one user's, or retire one
user's. Provision makes them for every user there is; `add` does so for one who came later, and
`remove` frees what a user who left still holds in the store: their profiles and garbage-collector
roots."""

EXAMPLES = """\
  nixadmin users list
  sudo nixadmin users add alice
  sudo nixadmin users remove bob"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser)
    arguments.add_yes(parser)
    parser.add_argument("action", metavar="ACTION", choices=("list", "add", "remove"), help="list, add or remove")
    parser.add_argument("name", metavar="NAME", nargs="?", help="the user to add or remove")


def run(asked: Namespace) -> int:
    from nixadmin.errors import UsageError

    host = arguments.the_host(asked)
    if (asked.name is None) != (asked.action == "list"):
        wrong = "takes no NAME" if asked.name else "needs the NAME of a user"
        raise UsageError(f"users {asked.action} {wrong}", "see: nixadmin users --help")
    from nixadmin.provision.users import add_user, retire_user, store_users
    from nixadmin.report import data, users
    from nixadmin.report.paper import Paper

    out = Paper(sys.stdout)
    match asked.action:
        case "list":
            found = store_users(host)
            if asked.json:
                data.write(sys.stdout, users.data(found))
            else:
                out.write(users.lines(found))
        case "add":
            made = add_user(host, asked.name)
            if asked.json:
                data.write(sys.stdout, {"name": asked.name, "changed": made})
            else:
                out.say(f"{asked.name}: {'directories made' if made else 'has directories already'}")
        case "remove":
            if not asked.yes:
                asking.check_can_ask("users remove")
                if not asking.agreed(f"Remove all profiles of {asked.name} for good?"):
                    return DIFFERS
            gone = retire_user(host, asked.name)
            if asked.json:
                data.write(sys.stdout, {"removed": users.data([gone])["users"][0]})
            else:
                out.say(f"{gone.name}: {gone.generations} generations and {gone.roots} roots freed")
    return AS_DECLARED
