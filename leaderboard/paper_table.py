"""What `vddbench table` prints: the table of papers, methods by tasks, with reported numbers beside measured ones.

Nothing is ranked, and rows are not sorted by score: papers and this benchmark differ in students, test clips and selection.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from vddbench import lookup
from vddbench.leaderboard.evidence import bundled_elsewhere, load_listed
from vddbench.leaderboard.latex import escaped
from vddbench.leaderboard.paper_numbers import MEASURED, REPORTED, Number, conditions, numbers, of_table, others
from vddbench.protocol import PROTOCOL, Protocol, Sdd
from vddbench.spec import Task
from vddbench.system.progress import say

TASKS = ("miniucf-ipc1", "miniucf-ipc5", "hmdb51-ipc1", "hmdb51-ipc5")
FORMS = {"table": "simple", "md": "github", "csv": "", "json": "", "latex": ""}  # format: its name in tabulate
DATA_FORMS = {"csv", "json"}  # a row for each number; the others have a row for each method
ABOUT_REPORTED = (
    "reported: what papers print, mean and standard deviation of top-1 in %. Their students, test clips and selection rules "
    "differ from each other and from those of measured numbers, so nothing is ranked."
)
Origins = dict[tuple[str, str], int]  # of reported numbers: the number of their note


def show(
    roots: Sequence[Path],
    form: str = "table",
    add: Sequence[str] = (),
    tasks: Sequence[str] = TASKS,
    students: Sequence[str] = ("convnet3d",),
    protocol: Protocol | Sdd = PROTOCOL,
) -> None:
    """Prints the table of the records under `roots`, which may be none. form: one of FORMS.

    Raises LookupError for an unknown format or student, ValueError for what is no task, and what `numbers` raises.
    """
    if form not in FORMS:
        raise LookupError(f"format {form[:40]!r} is unknown; allowed: {', '.join(FORMS)}")
    for student in students:
        lookup.check_known("student", student)
    tasks = [str(Task.parse(task)) for task in dict.fromkeys(tasks)]
    loaded = load_listed(roots)
    shown = numbers(loaded, tasks, students, protocol, add)
    print(drawn(shown, tasks, form))
    own = {one.record.method for one in of_table(loaded, tasks, students, protocol)}
    if unreported := sorted(own - {number.method for number in shown}):
        say(f"measured, but reported by no paper: {', '.join(unreported)}; show them with --add METHOD")
    if not own:
        nothing = f"no record of these tasks, {conditions(students, protocol)} in {', '.join(map(str, roots))}"
        say(nothing + others(loaded, tasks) + bundled_elsewhere(roots))


def drawn(shown: Sequence[Number], tasks: Sequence[str], form: str) -> str:
    """The table with its notes as text: columns of reported and of measured numbers for each task. form: one of FORMS.

    Measured numbers of several networks have a column for each network.
    """
    if form in DATA_FORMS:
        whole = {name: "Int64" for name in ("students", "sets", "year")}
        data = pd.DataFrame([asdict(number) for number in shown], columns=list(Number.__dataclass_fields__)).astype(whole)
        if form == "csv":
            return data.to_csv(index=False).rstrip()
        return data.to_json(orient="records", indent=1, double_precision=15)
    origins: Origins = {}
    for number in shown:
        if number.kind == REPORTED:
            origins.setdefault(number.origin, len(origins) + 1)
    cells: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    networks = networks_of(shown)
    for number in shown:
        kind = f"{MEASURED} {number.student}" if number.kind == MEASURED and len(networks) > 1 else number.kind
        cells[number.task, kind][number.method].append(cell(number, origins))
    kinds = [REPORTED, MEASURED, *(f"{MEASURED} {network}" for network in networks)]
    columns = [(task, kind) for task in tasks for kind in kinds if (task, kind) in cells]
    methods = dict.fromkeys(number.method for number in shown)
    rows = [[method, *("; ".join(cells[column][method]) or "-" for column in columns)] for method in methods]
    if form == "latex":
        return as_latex(columns, rows, shown, origins)
    separator = "\n" if form == "table" else " "  # a Markdown header has one line
    text = tabulate(rows, ("method", *map(separator.join, columns)), FORMS[form], disable_numparse=True)
    notes = [f"[{k}] {about}" + ("" if form == "md" else f"; {url}") for (about, url), k in origins.items()]
    targets = [f"[{k}]: {url}" for (_, url), k in origins.items()] if form == "md" else []  # makes every [k] a link
    lines = [*general_notes(shown), *notes, *caveats(shown)]
    return "\n".join(
        [text, "", *([f"* {line}" for line in lines] if form == "md" else lines), *([""] if targets else []), *targets]
    )


def cell(number: Number, origins: Origins) -> str:
    """`15.3 ± 1.1 [2]` if papers report it, with the number of its note; `14.9 ± 0.8 (5)` if measured, with the students."""
    std = "" if pd.isna(number.std) else f" ± {100 * number.std:.1f}"
    if number.kind == REPORTED:
        return f"{100 * number.top1:.1f}{std} [{origins[number.origin]}]"
    sets = "" if number.sets == 1 else f" on {number.sets}"
    return f"{100 * number.top1:.1f}{std} ({number.students}{sets}{', soft labels' if number.track == 'soft' else ''})"


def networks_of(shown: Sequence[Number]) -> list[str]:
    """The networks of the measured numbers."""
    return list(dict.fromkeys(number.student for number in shown if number.kind == MEASURED))


def general_notes(shown: Sequence[Number]) -> list[str]:
    """What the two kinds of columns contain."""
    lines = [ABOUT_REPORTED] if any(number.kind == REPORTED for number in shown) else []
    networks = " or ".join(networks_of(shown))
    for protocol in dict.fromkeys(number.protocol for number in shown if number.kind == MEASURED):
        lines.append(
            f"measured: top-1 in % under protocol {protocol}, network {networks}: mean, and standard deviation over "
            "students of one distilled set. In brackets the number of students, and of distilled sets if there are several: "
            "then the mean over sets of means over students, and the standard deviation within sets, pooled."
        )
    return lines


def caveats(shown: Sequence[Number]) -> list[str]:
    """What else is known about numbers, one line for each text."""
    places: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for number in shown:
        if number.caveat:
            network = f" with {number.student}" if number.kind == MEASURED and len(networks_of(shown)) > 1 else ""
            places[number.kind, number.caveat][f"{number.task}{network}"].append(number.method)
    lines = []
    for (kind, caveat), of in places.items():
        numbers = "; ".join(f"{', '.join(methods)} on {place}" for place, methods in of.items())
        lines.append(f"{numbers} ({kind}): {caveat}")
    return lines


def as_latex(
    columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], shown: Sequence[Number], origins: Origins
) -> str:
    r"""A `tabular` and its notes. Needs \usepackage{booktabs,hyperref}."""
    tasks = {task: [of for of, _ in columns].count(task) for task, _ in columns}
    head = [rf"\multicolumn{{{width}}}{{c}}{{{escaped(task)}}}" for task, width in tasks.items()]
    lines = [
        r"% needs \usepackage{booktabs,hyperref}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *head]) + r" \\",
        " & ".join(["Method", *(escaped(kind) for _, kind in columns)]) + r" \\",
        r"\midrule",
        *(" & ".join(map(latex_cell, row)) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    links = [rf"$^{{[{k}]}}$\,\href{{{latex_address(url)}}}{{{escaped(about)}}}" for (about, url), k in origins.items()]
    notes = [*map(escaped, general_notes(shown)), *links, *map(escaped, caveats(shown))]
    return "\n".join([*lines, r"\par\smallskip{\footnotesize", *(rf"{note}\par" for note in notes), "}"])


def latex_cell(text: str) -> str:
    """The text of a cell, with the number of its note in brackets, so that it does not read as a power."""
    if text == "-":
        return "--"
    return re.sub(r" \[(\d+)\]", r"$^{[\1]}$", r" $\pm$ ".join(map(escaped, text.split(" ± "))))


def latex_address(url: str) -> str:
    """An address inside \\href in an argument of another command."""
    return re.sub(r"([%#&_~])", r"\\\1", url)
