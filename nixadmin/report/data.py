"""The same for programs: one JSON object a run. Keys are added, and never change their meaning."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from nixadmin.engine.change import Change
from nixadmin.engine.performing import Left
from nixadmin.engine.planning import Plan
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import NixadminError
from nixadmin.report.groups import heading
from nixadmin.report.plan import count
from nixadmin.report.values import differences, fields

ACTIONS = {"+": "add", "~": "change", "-": "remove"}


def write(stream: TextIO, data: Mapping[str, Any]) -> None:
    """Write one JSON object, in ASCII: no encoding, and no control character of a name, can spoil it."""
    json.dump(data, stream, indent=2, ensure_ascii=True)
    stream.write("\n")


def of_error(error: NixadminError) -> dict[str, Any]:
    return {"message": str(error), "hint": error.hint}


def of_change(change: Change) -> dict[str, Any]:
    return {
        "action": ACTIONS[change.sign],
        "id": change.subject.id,
        "kind": change.subject.kind,
        "key": change.subject.key,
        "group": heading(change.subject),
        "undoing": change.undoing,
        "differences": differences(change),
        "before": fields(change.before),
        "after": fields(change.after),
    }


def of_plan(plan: Plan, notes: Iterable[str] = (), refusals: Iterable[NixadminError] = ()) -> dict[str, Any]:
    return {
        "as_declared": plan.empty,
        "totals": count(plan),
        "changes": [of_change(change) for change in plan.changes],
        "conflicts": [{"id": conflict.goal.subject.id} | of_error(conflict.error) for conflict in plan.conflicts],
        "kept": [resource.id for resource in plan.kept],
        "notes": list(notes),
        "refusals": [of_error(refusal) for refusal in refusals],
    }


def of_left(left: Iterable[Left]) -> list[dict[str, Any]]:
    return [{"id": item.subject.id} | of_error(item.reason) for item in left]


def of_receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "entries": [
            {
                "id": entry.after.id,
                "kind": entry.after.kind,
                "key": entry.after.key,
                "group": heading(entry.after),
                "since": entry.since.isoformat(),
                "done": entry.done,
                "before": fields(entry.before),
                "after": fields(entry.after),
            }
            for entry in receipt.entries.values()
        ]
    }
