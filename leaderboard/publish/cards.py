"""Texts for visitors of the Hub: README.md of the results repo and of the Space, eval.yaml."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from vddbench.hub.repo import ID, PUBLIC
from vddbench.leaderboard import project
from vddbench.leaderboard.project import front_matter
from vddbench.leaderboard.publish.columns import described
from vddbench.leaderboard.rows import is_known
from vddbench.leaderboard.site.board import Board
from vddbench.leaderboard.tables import tables
from vddbench.protocol import PROTOCOL

if TYPE_CHECKING:
    from vddbench.leaderboard.publish.destination import Destination

TOP_ROWS = 10  # of each table; the parquet has them all
MAX_TABLES = 30
DEFAULT, SPLIT = "leaderboard.parquet", "train"  # the default config, and the only split of each table
MARK = "vddbench-results"  # a tag in README.md: `publish` replaces tables and README only in a repo that has it
TABLE_DESCRIPTIONS = {
    "leaderboard.parquet": "a row for each entry and division: rank and its range, score and its interval, bytes, who ran it "
    "again",
    "aggregate.parquet": "all tables of a student network and division combined: the mean share of the gap from `random` to "
    "`full` that is closed",
    "records.parquet": "a row for each record: one student, trained once on one distilled set",
    "reported.parquet": "what papers report, with sources: other students, tests and choices, never ranked",
}


def results_card(board: Board, names: Sequence[str], destination: Destination) -> str:
    """README.md of the results repo. Every file of tables/ in `names` becomes a config of the dataset."""
    newest = max(one.record.date for one in board.evaluated)[:10]
    protocols = ", ".join(sorted({one.record.protocol for one in board.evaluated if one.record.protocol.isalnum()}))
    head = {
        "license": project.LICENCE,
        "pretty_name": "vddbench results",
        "task_categories": ["video-classification"],
        "size_categories": [project.size_category(len(board.evaluated))],
        "tags": [MARK, "leaderboard", "benchmark", "dataset-distillation", "video"],
        "configs": [config(name) for name in names],
    }
    descriptions = "\n".join(f"| `{name.removesuffix('.parquet')}` | {TABLE_DESCRIPTIONS[name]} |" for name in names)
    return f"""{front_matter(head)}
# vddbench results

How good are distilled video datasets? A distilled set is a small set of training clips that replaces a whole video dataset. A
record is the result of one student: a network that was trained on one distilled set alone. This repository contains
{len(board.evaluated)} records that count (protocol {protocols}, the newest of {newest}) and the tables computed from them.
The board with charts and previews: [{destination.space.id}]({destination.space.url}). The code: {project.code_link()}.

```python
import datasets

datasets.load_dataset("{destination.results.id}")  # the leaderboard
datasets.load_dataset("{destination.results.id}", "records")
```

| config | contents |
|---|---|
{descriptions}

Accuracies are shares between 0 and 1, sizes are bytes, times are seconds; empty values are unknown.

{described(names)}

Each task is ranked twice (column `division`). `ipc` asks how good training on at most ipc clips per class is. `open` asks how
good training on the bytes of the budget is, however many clips they decode to. Ranks and intervals are computed in each
division alone; an entry of `ipc` has a row in both, so filter by `division` before you count or average rows.

Entries that do not differ significantly from the best of their group share a rank. The range beside a rank covers the entry's
place in 95 % of draws of other test videos and other students. `records/` contains every record with its student's answer to
every test video; records are added, never changed. A record with the field `by` is a re-run. A re-run by a maintainer (listed
in `MAINTAINERS`) verifies the entry, one by anybody else reproduces it. `submissions/` contains the manifests of the distilled
sets. `vddbench pull` downloads all of this, and `vddbench submit` adds to it by a pull request.

## Licence and citation

Records and tables have the licence {project.LICENCE}, as vddbench itself; whoever submits records publishes them under it.
Distilled sets are in repositories of their authors, under their licences. The source videos of the datasets are not here, and
have terms of their own.

```bibtex
{project.bibtex(newest[:4], PROTOCOL.name)}
```

## The best of each table

{best(board)}
"""


def config(name: str) -> dict[str, Any]:
    """The entry of a table in `configs`, by which `datasets` and the viewer find it."""
    files = [{"split": SPLIT, "path": f"tables/{name}"}]
    default = {"default": True} if name == DEFAULT else {}
    return {"config_name": name.removesuffix(".parquet"), **default, "data_files": files}


def best(board: Board) -> str:
    """The first rows of each table, as Markdown."""
    parts = [f"### {title}\n\n{text}" for title, text in tables(board.rows, "github", top=TOP_ROWS)]
    more = [f"... and {len(parts) - MAX_TABLES} more tables in `tables/leaderboard.parquet`"] if len(parts) > MAX_TABLES else []
    return "\n\n".join([*parts[:MAX_TABLES], *more])


def space_card(results_id: str) -> str:
    """README.md of the Space."""
    head = {
        "title": "vddbench",
        "emoji": "🎞",
        "colorFrom": "gray",
        "colorTo": "blue",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        "license": project.LICENCE,
        "short_description": "Distilled video datasets, ranked",
        "tags": ["leaderboard", "benchmark", "dataset-distillation", "video"],
        "datasets": [results_id],
    }
    return f"""{front_matter(head)}
The board of vddbench, the referee for video dataset distillation: static pages that `vddbench publish` makes from the records
in [{results_id}]({PUBLIC}/datasets/{results_id}).
That repository says what each number means, in which unit, and how to cite it. The code: {project.code_link()}. Distilled sets
and their previews belong to their authors.
"""


def space_in(card: bytes) -> str:
    """The Space that the card of a results repo names, OWNER/NAME; "" if it names none."""
    found = re.search(rf"/spaces/({ID.pattern})\)".encode(), card)
    return found[1].decode() if found else ""


def eval_yaml(board: Board) -> str:
    """The Hub's description of a benchmark. Optional, because the Hub accepts it only from benchmarks on its list.

    Its tasks are those with a ranked entry; their config and split exist in the results repo. Raises ValueError without any.
    """
    ranked = [row for row in board.rows if is_known(row["rank"])]
    if not ranked:
        raise ValueError("eval.yaml lists tasks with a ranked entry, and there are none yet: leave --eval-yaml out")
    tasks = sorted({row["task"] for row in ranked})
    fields = {
        "name": "vddbench",
        "description": "Test accuracy of networks that are trained on a distilled video dataset within a budget of bytes",
        "evaluation_framework": "vddbench",
        "tasks": [{"id": task, "config": DEFAULT.removesuffix(".parquet"), "split": SPLIT} for task in tasks],
    }
    return yaml.safe_dump(fields, sort_keys=False, width=1000)
