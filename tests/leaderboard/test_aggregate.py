"""All tables in one: a mean that other entries do not change; only methods that are in all tables are ranked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.builders.records import FULL, seeds
from vddbench.leaderboard.aggregate import aggregate
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.rank import rank


def table(task: str, **methods: list[float]) -> list[Evaluated]:
    return [one for method, scores in methods.items() for one in seeds(method, scores, task=task)]


def field() -> list[Evaluated]:
    """Two budgets of one dataset: random at 10 %, full at 60 %."""
    return [
        *seeds("full", [0.6, 0.6, 0.6], **FULL),
        *table("toy-ipc1", random=[0.1, 0.1, 0.1], good=[0.34, 0.35, 0.36], fair=[0.19, 0.2, 0.21], once=[0.5, 0.5, 0.5]),
        *table("toy-ipc5", random=[0.1, 0.1, 0.1], good=[0.44, 0.45, 0.46], fair=[0.29, 0.3, 0.31]),
    ]


def rows_of(found: list[Evaluated]) -> pd.DataFrame:
    """Those of division `open`; every method here is in both."""
    rows = pd.DataFrame(aggregate(found))
    return rows[rows["division"] == "open"].set_index("method")


def test_the_mean_gap_closed_is_the_mean_over_tables() -> None:
    rows = rows_of(field())
    assert rows["gap_closed"]["good"] == pytest.approx((0.25 / 0.5 + 0.35 / 0.5) / 2)
    assert rows["gap_low"]["good"] < rows["gap_closed"]["good"] < rows["gap_high"]["good"]
    assert rows["rank"].dropna().to_dict() == {"good": 1, "fair": 2, "random": 3}
    assert rows["mean_rank"]["good"] == 1.5  # second to `once` at ipc1
    assert rows.index.tolist() == ["good", "fair", "random", "once"]


def test_datasets_of_an_older_protocol_stay_out_of_the_combined_table() -> None:
    """Each dataset keeps its own tables."""
    older = [
        replace(one, record=one.record.model_copy(update={"protocol_hash": "9" * 64, "date": "2020-01-01T00:00:00Z"}))
        for one in table("old-ipc1", random=[0.1, 0.1, 0.1], good=[0.2, 0.2, 0.2])
    ]
    both = field() + older
    pd.testing.assert_frame_equal(pd.DataFrame(aggregate(both)), pd.DataFrame(aggregate(field())))
    assert set(rank(both)["task"]) >= {"old-ipc1", "toy-ipc1"}


def test_a_method_that_lacks_a_table_is_listed_and_not_ranked() -> None:
    once = rows_of(field()).loc["once"]
    assert np.isnan(once["rank"]) and np.isnan(once["gap_closed"])
    assert (once["tables"], once["of_tables"], once["missing"]) == (1, 2, "toy-ipc5")


def test_a_dominated_copy_changes_neither_the_order_nor_the_means_of_the_others() -> None:
    before = rows_of(field())
    copy = [*table("toy-ipc1", copy=[0.18, 0.19, 0.2]), *table("toy-ipc5", copy=[0.28, 0.29, 0.3])]
    after = rows_of(field() + copy)
    others = [method for method in after.index if method != "copy"]
    assert others == before.index.tolist()
    pd.testing.assert_series_equal(after["gap_closed"][others], before["gap_closed"])
    assert after["rank"]["good"] == 1


def test_a_method_has_the_marks_of_all_its_tables() -> None:
    external = [
        replace(one, record=one.record.model_copy(update={"external": True})) for one in table("toy-ipc5", fair=[0.3] * 3)
    ]
    others = [one for one in field() if (one.record.method, one.record.task.ipc) != ("fair", 5)]
    assert rows_of(others + external)["flags"][["fair", "good"]].tolist() == ["external, one set", "one set"]


def test_equal_methods_share_a_rank() -> None:
    twin = [*table("toy-ipc1", twin=[0.34, 0.35, 0.36]), *table("toy-ipc5", twin=[0.44, 0.45, 0.46])]
    rows = rows_of(field() + twin)
    assert rows["rank"]["good"] == rows["rank"]["twin"] == 1
    assert rows["rank"]["fair"] == 3


def test_one_table_or_no_reference_is_no_aggregate() -> None:
    assert aggregate([one for one in field() if one.record.task.ipc != 5]) == []
    assert aggregate([one for one in field() if one.record.method != "full"]) == []


def test_a_method_with_two_payloads_of_one_distillation_seed_is_not_ranked() -> None:
    other = seeds("good", [0.5, 0.5, 0.5], sha="77", task="toy-ipc5")
    rows = rows_of(field() + other)
    assert np.isnan(rows["rank"]["good"]) and rows["missing"]["good"] == "toy-ipc5"
