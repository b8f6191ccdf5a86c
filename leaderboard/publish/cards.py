"""Texts for visitors of the Hub: README.md of the results repo and of the Space, eval.yaml."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vddbench.leaderboard.site.board import Board
from vddbench.leaderboard.tables import tables
from vddbench.protocol import PROTOCOL

TOP_ROWS = 10  # of each table; the parquet has them all
MAX_TABLES = 30
DEFAULT = "leaderboard.parquet"
MARK = "vddbench-results"  # a tag in README.md: `publish` replaces tables and README only in a repo that has it
TABLE_DESCRIPTIONS = {
    "leaderboard.parquet": "a row for each entry and division: rank and its range, score and its interval, bytes, who ran it "
    "again",
    "aggregate.parquet": "all tables of a student network and division combined: the mean share of the gap from `random` to "
    "`full` that is closed",
    "records.parquet": "a row for each record: one student, trained once on one distilled set",
    "reported.parquet": "what papers report, with sources: other students, tests and choices, never ranked",
}


def results_card(board: Board, names: Sequence[str], repo_id: str, space_id: str, space_url: str) -> str:
    """README.md of the results repo. Every file of tables/ in `names` becomes a config of the dataset."""
    tags = [f"- {tag}" for tag in (MARK, "leaderboard", "dataset-distillation", "video")]
    front = ["---", "pretty_name: vddbench results", "tags:", *tags, "configs:"]
    for name in names:
        front += [f"- config_name: {name.removesuffix('.parquet')}", *(["  default: true"] if name == DEFAULT else [])]
        front += ["  data_files:", "  - split: train", f"    path: tables/{name}"]
    descriptions = "\n".join(f"| `{name.removesuffix('.parquet')}` | {TABLE_DESCRIPTIONS[name]} |" for name in names)
    newest = max(one.record.date for one in board.evaluated)[:10]
    return (
        "\n".join(front)
        + f"""
---

# vddbench results

How good are distilled video datasets? A distilled set is a small set of training clips that replaces a whole video dataset. A
record is the result of one student network that was trained on one distilled set alone. This repository contains
{len(board.evaluated)} records that count (protocol {PROTOCOL.name}, the newest of {newest}) and the tables computed from them.
The board with charts and previews: [{space_id}]({space_url}).

```python
import datasets

datasets.load_dataset("{repo_id}")  # the leaderboard
datasets.load_dataset("{repo_id}", "records")
```

| config | contents |
|---|---|
{descriptions}

Each task is ranked twice (column `division`). `ipc` asks how good training on at most ipc clips per class is. `open` asks how
good training on the bytes of the budget is, however many clips they decode to. Ranks and intervals are computed in each
division alone; an entry of `ipc` has a row in both, so filter by `division` before you count or average rows.

Entries that do not differ significantly share a rank. The range beside a rank covers the entry's place in 95 % of resampled
test sets. `records/` contains every record with its student's answer to every test video; records are added, never changed. A
record with the field `by` is a re-run. A re-run by a maintainer (listed in `MAINTAINERS`) verifies the entry, one by anybody
else reproduces it. `submissions/` contains the manifests of the distilled sets. `vddbench pull` downloads all of this, and
`vddbench submit` adds to it by a pull request.

## The best of each table

{best(board)}
"""
    )


def best(board: Board) -> str:
    """The first rows of each table, as Markdown."""
    parts = [f"### {title}\n\n{text}" for title, text in tables(board.rows, "github", top=TOP_ROWS)]
    more = [f"... and {len(parts) - MAX_TABLES} more tables in `tables/leaderboard.parquet`"] if len(parts) > MAX_TABLES else []
    return "\n\n".join([*parts[:MAX_TABLES], *more])


def space_card(results_id: str) -> str:
    """README.md of the Space."""
    return f"""---
title: vddbench
emoji: 🎞
colorFrom: gray
colorTo: blue
sdk: static
pinned: false
tags:
- leaderboard
datasets:
- {results_id}
short_description: Distilled video datasets, ranked
---

The board of vddbench, the referee for video dataset distillation: static pages that `vddbench publish` makes from the records
in [{results_id}](https://huggingface.co/datasets/{results_id}).
"""


def eval_yaml(board: Board) -> str:
    """The Hub's description of a benchmark. Optional, because the Hub accepts it only from benchmarks on its list."""
    tasks = sorted({str(one.record.task) for one in board.evaluated})
    lines = [
        "name: vddbench",
        "description: " + json.dumps("Test accuracy of networks trained on a distilled video dataset within a byte budget"),
        "evaluation_framework: vddbench",
        "tasks:",
    ]
    for task in tasks:
        lines += [f"  - id: {task}", "    config: leaderboard", "    split: train"]
    return "\n".join(lines) + "\n"
