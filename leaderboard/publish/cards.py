"""What the published repositories say of themselves: README.md of the results repo and of the Space, eval.yaml. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from vddbench.leaderboard.rank import TABLE
from vddbench.leaderboard.site.board import Board
from vddbench.leaderboard.tables import tables
from vddbench.spec import PROTOCOL

TOP_ROWS = 10  # of each table; the parquet has them all
MAX_TABLES = 30
DEFAULT = "leaderboard.parquet"
MARK = "vddbench-results"  # a tag: `publish` replaces tables and README only where it stands
SAYS = {
    "leaderboard.parquet": "a row for each entry: rank, rank interval, score and its interval, bytes, who ran it again",
    "aggregate.parquet": "all tables of a student in one: the mean share of the gap from `random` to `full` that is closed",
    "records.parquet": "a row for each record: one student, trained once on one distilled set",
    "reported.parquet": "what papers report, with sources; other students, tests and choices, never ranked",
}


def results_card(board: Board, names: Sequence[str], repo_id: str, space_id: str, space_url: str) -> str:
    """README.md of the results repo. `names`: files of tables/; a config each, the leaderboard is the default."""
    tags = [f"- {tag}" for tag in (MARK, "leaderboard", "dataset-distillation", "video")]
    front = ["---", "pretty_name: vddbench results", "tags:", *tags, "configs:"]
    for name in names:
        front += [f"- config_name: {name.removesuffix('.parquet')}", *(["  default: true"] if name == DEFAULT else [])]
        front += ["  data_files:", "  - split: train", f"    path: tables/{name}"]
    told = "\n".join(f"| `{name.removesuffix('.parquet')}` | {SAYS[name]} |" for name in names)
    newest = max(one.record.date for one in board.evaluated)[:10]
    return (
        "\n".join(front)
        + f"""
---

# vddbench results

Records of distilled video datasets, each of one student trained on one of them, and the tables made of them:
{len(board.evaluated)} records that count, the newest of {newest}, protocol {PROTOCOL}. The board with charts and previews:
[{space_id}]({space_url}).

```python
import datasets

datasets.load_dataset("{repo_id}")  # the leaderboard
datasets.load_dataset("{repo_id}", "records")
```

| config | |
|---|---|
{told}

Ranks are honest: entries that the records don't tell apart share one, and the interval beside it says where an entry comes in
95 % of the draws. `records/` contains every record with its predictions, never changed. A record with the field `by` is a
re-run: by a maintainer (`MAINTAINERS` lists them) it verifies the entry, by anybody else it reproduces it. `submissions/`
contains the manifests of the distilled sets. `vddbench pull` fetches all of it,
`vddbench submit` adds to it by a pull request.

## The best of each table

{best(board)}
"""
    )


def best(board: Board) -> str:
    """The first rows of each table, as Markdown."""
    rows = board.rows.groupby(TABLE, sort=False).head(TOP_ROWS)
    drawn = [f"### {title}\n\n{text}" for title, text in tables(pd.DataFrame(rows), "github")]
    more = [f"... and {len(drawn) - MAX_TABLES} more tables in `tables/leaderboard.parquet`"] if len(drawn) > MAX_TABLES else []
    return "\n\n".join([*drawn[:MAX_TABLES], *more])


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
short_description: Honest ranks of distilled video datasets
---

The board of [vddbench](https://huggingface.co/datasets/{results_id}), the referee for video dataset distillation. One static
page, made by `vddbench publish` from the records of that repository.
"""


def eval_yaml(board: Board) -> str:
    """The Hub's description of a benchmark. It is allowed for listed benchmarks only, which is why pushing it is a choice."""
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
