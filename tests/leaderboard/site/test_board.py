"""The data behind the pages."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest

from tests.builders.records import seeds
from vddbench.leaderboard.aggregate import aggregated
from vddbench.leaderboard.rank import rank_tables
from vddbench.leaderboard.reruns import Rerun
from vddbench.leaderboard.site.board import assembled
from vddbench.leaderboard.site.entries import Table, naive_baselines
from vddbench.leaderboard.site.sections import task_section
from vddbench.leaderboard.table_records import tables_of


def test_two_payloads_of_one_reference_cost_only_their_student_its_combined_table() -> None:
    evaluated = []
    for task in ("a-ipc1", "a-ipc5"):
        evaluated += [*seeds("mine", [0.5, 0.5, 0.5], task=task), *seeds("random", [0.1] * 3, task=task)]
    evaluated += seeds("full", [0.9, 0.9, 0.9], task="a-full")
    rows, problems = aggregated(evaluated)
    assert not problems and {row["student"] for row in rows} == {evaluated[0].record.student}
    other = {"student": "convnet_gru", "protocol_hash": "9" * 64}
    for task, sha in itertools.product(("a-ipc1", "a-ipc5"), ("e" * 64, "f" * 64)):
        evaluated += [
            replace(one, record=one.record.model_copy(update={"submission_sha256": sha}))
            for one in seeds("random", [0.1] * 3, task=task, **other)
        ]
    again, problems = aggregated(evaluated)
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(rows))
    assert len(problems) == 1 and "no table over all tasks of network convnet_gru" in problems[0]


def test_the_mean_accuracy_over_classes_is_the_score(tables: Sequence[Table]) -> None:
    for row in task_section("tiny-ipc1", tables, None).tables[0].classes.rows:
        assert sum(row.values) / len(row.values) == pytest.approx(row.entry.top1)  # as many test videos of each class


def test_reruns_count_if_they_agree_with_the_authors() -> None:
    evaluated = [*seeds("a", [0.5, 0.5, 0.5]), *seeds("random", [0.1] * 3)]
    sha = evaluated[0].record.submission_sha256

    def by(who: str, inside: bool | None) -> Rerun:
        return Rerun(who, "2026-01-01T00:00:00Z", "convnet3d", 0, 0.5, 0.5, inside)

    rows, _ = rank_tables(tables_of(evaluated))
    again = [by("x", True), by("y", False), by("z", None)]
    entry = assembled(rows, evaluated, {sha: again}).tables[0].entries[0]
    assert (entry.method, entry.verified_by, entry.reproductions) == ("a", (), 1)


def test_a_payload_under_two_distillation_seeds_has_its_records_once() -> None:
    again, once = (seeds("mine", [0.4, 0.5, 0.6], distill_seed=seed) for seed in (1, 0))
    rows, _ = rank_tables(tables_of([*again, *once]))
    [entry] = assembled(rows, [*again, *once], {}).tables[0].entries
    assert [one.record for one in entry.evaluated] == [one.record for one in once] and entry.row["seeds"] == 3


def test_naive_baselines_are_the_one_shot_baselines_without_a_paper() -> None:
    assert {"random", "random_jpeg", "random_still", "noise"} <= naive_baselines()
    assert not naive_baselines() & {"dm", "mtt", "frepo", "herding", "k_center"}


def test_tables_site_and_publish_are_imported_without_torch() -> None:
    modules = "leaderboard.tables", "leaderboard.site.build", "leaderboard.publish.publish", "commands.publish"
    code = f"import sys, {', '.join(f'vddbench.{module}' for module in modules)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
