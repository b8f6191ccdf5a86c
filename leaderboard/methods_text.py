"""How `vddbench methods` prints the baselines: as JSON, as one table, or one method as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from vddbench.leaderboard.methods import Measured, Method, methods, variants, without_code
from vddbench.leaderboard.reported import Reported, of_method, stated
from vddbench.lookup import load, named_in_tables, names, unknown
from vddbench.system.progress import clean

HEADERS = ("method", "presets", "family", "decoder", "division", "labels", "reads besides train clips")
FORMS = {"table": "simple", "md": "github", "json": ""}  # format: its name in tabulate
PUBLISHED_ON = ("miniucf", 1)  # dataset and ipc of the published column
DEFAULT = "(none)"  # in the column of presets: the published settings
CAVEAT = "*"  # mark of a published number with a caveat, which a line below the table states


def as_json(listed: Sequence[Method], scores: Sequence[Measured]) -> str:
    """Everything that is known, for machines."""
    rows = [
        {
            **asdict(one),
            "published": [stated_in(row) for row in of_method(one.method)] if "" in one.presets else [],
            "ours": [asdict(score) for score in scores if score.method in one.names],
        }
        for one in listed
    ]
    return json.dumps({"methods": rows, "without_code": without_code()}, indent=1)


def stated_in(row: Reported) -> dict[str, Any]:
    """What a row of `published.csv` states, without the name of the method."""
    return {name: value for name, value in asdict(row).items() if name != "method" and value is not None}


def as_table(listed: Sequence[Method], scores: Sequence[Measured], task: str | None, style: str) -> str:
    """All methods as one table, with their scores on one task, and the methods that have no baseline.

    task: None for the task with scores of most methods. Raises LookupError for a task without scores.
    """
    shown = on_one_task(scores, {name for one in listed for name in one.names}, task)
    dataset, ipc = PUBLISHED_ON
    lines = [
        [
            one.method,
            ", ".join(preset or DEFAULT for preset in one.presets),
            one.family or "-",
            one.decoder,
            one.division or "-",
            one.labels or "-",
            ", ".join(one.reads) or "-",
            _published_number(_published_row(one, dataset, ipc)),
            "; ".join(_own_number(score, one) for score in shown if score.method in one.names) or "-",
        ]
        for one in listed
    ]
    where = f"ours, {shown[0].task}" if shown else "ours"
    parts = [tabulate(lines, (*HEADERS, f"published, {dataset}-ipc{ipc}", where), style, disable_numparse=True)]
    parts.append(f"presets: {DEFAULT} stands for the published settings, without --preset")
    parts.append(f"published: top-1 % on {dataset}-ipc{ipc}; the source of a number: vddbench methods NAME")
    papers = {one.method: row for one in listed if (row := _published_row(one, dataset, ipc))}
    parts.append("\n".join(f"{CAVEAT} {name}: {row.caveat}" for name, row in papers.items() if row.caveat))
    if shown:
        first = shown[0]
        devices = " and ".join(sorted({score.device for score in shown}))
        where = f"{first.task}, network {first.student}, protocol {first.protocol}, {devices}"
        parts.append(f"ours: mean top-1 % on {where}; in brackets students on distillations")
    parts.append("Methods without a baseline of their own:")
    parts.append(tabulate([list(row.values()) for row in without_code()], ("method", "paper", "reason"), style))
    return clean("\n\n".join(filter(None, parts)))


def on_one_task(scores: Sequence[Measured], known: set[str], task: str | None) -> list[Measured]:
    """The scores of one task, student and protocol: those of most known methods, of the first by name in a tie."""
    ours = [one for one in scores if one.method in known]
    if task is not None and task not in {one.task for one in ours}:
        recorded = ", ".join(sorted({one.task for one in ours})) or "none"
        raise LookupError(f"no record of a baseline on {task[:80]}; tasks with records: {recorded}")
    places = Counter((one.task, one.student, one.protocol) for one in ours if task in {None, one.task})
    if not places:
        return []
    chosen = min(places, key=lambda place: (-places[place], place))
    return [one for one in ours if (one.task, one.student, one.protocol) == chosen]


def _published_row(one: Method, dataset: str, ipc: int) -> Reported | None:
    """What a paper reports for a task, of the variant with the published settings."""
    own = of_method(one.method) if "" in one.presets else []
    rows = (row for row in own if row.dataset == dataset and row.ipc in {ipc, None} and row.top1_mean is not None)
    return next(rows, None)


def _published_number(row: Reported | None) -> str:
    return row.with_spread("+-") + (f" {CAVEAT}" if row.caveat else "") if row else "-"


def _own_number(score: Measured, one: Method) -> str:
    preset = score.method.removeprefix(one.method).removeprefix("_")
    return f"{preset} {100 * score.top1:.1f} ({score.students} on {score.distillations})".strip()


def as_text(name: str, scores: Sequence[Measured]) -> str:
    """One method: its facts, the settings of its presets, published and measured results. NAME or NAME_PRESET.

    Raises LookupError for an unknown name, with the nearest ones, and ValueError for a file that cannot be loaded.
    """
    absent = {row["method"]: row for row in without_code()}
    if name in absent:
        return clean(f"{name} has no baseline of its own: {absent[name]['reason']}\n{absent[name]['paper']}")
    if name in names("baseline"):
        own = variants(name)
    else:
        listed = methods()
        own = [one for one in listed if name in one.names]
        if not own:
            raise LookupError(unknown("method", name, sorted({*absent, *(known for one in listed for known in one.names)})))
    method, presets = own[0].method, [preset for one in own for preset in one.presets]
    lines = [f"{method}: {own[0].about}", own[0].paper]
    for one in own:
        facts = (one.family, f"division {one.division or '-'}", f"{one.labels or '-'} labels", f"decoder {one.decoder}")
        reads = f"reads {', '.join(one.reads)} besides train clips" if one.reads else ""
        lines.append(f"{', '.join(one.names)}: {', '.join(filter(None, (*facts, reads)))}")
    lines += settings_of(method, [preset for preset in presets if name in {method, named_in_tables(method, preset)}])
    lines += [_reported(row) for row in of_method(method)]
    lines += [
        f"ours: {100 * score.top1:.1f} % by {score.method} on {score.task}, network {score.student} "
        f"(students: {score.students}, distillations: {score.distillations}), protocol {score.protocol}, {score.device}"
        for score in scores
        if score.method in {known for one in own for known in one.names}
    ]
    return clean("\n".join(line for line in lines if line))


def check_has_baseline(method: str) -> None:
    """Raises LookupError, with the reason, for a method of the field without a baseline. Other names pass."""
    if method not in names("baseline") and method in {row["method"] for row in without_code()}:
        raise LookupError(as_text(method, []))


def _reported(row: Reported) -> str:
    where = f"{row.dataset}-ipc{row.ipc}" if row.ipc is not None else f"all of {row.dataset}"
    number = f"{row.with_spread('+-')} % on {where}" if row.top1_mean is not None else f"no number for {row.dataset}"
    facts = [f"year {stated(row.year)}", f"network {stated(row.student)}", f"selection: {stated(row.selection)}"]
    return f"published: {number} ({row.source}, {row.url}); {'; '.join([*facts, *filter(None, [row.caveat])])}"


def settings_of(method: str, presets: Iterable[str]) -> list[str]:
    """The published settings, and what each of the presets changes."""
    module: Any = load("baseline", method)
    base = asdict(module.Config())
    lines = [f"settings: {_listed(base)}" if base else "no settings"]
    for preset in filter(None, presets):
        config = asdict(module.PRESETS[preset])
        lines.append(f"--preset {preset} changes: {_listed({k: v for k, v in config.items() if v != base.get(k)})}")
    return lines


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
