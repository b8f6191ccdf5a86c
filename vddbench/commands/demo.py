"""`vddbench demo`: from data to a ranked table in minutes, using only the files of the package."""

from __future__ import annotations

from pathlib import Path

from vddbench.data.prepare import prepare
from vddbench.evaluation.evaluate import evaluate
from vddbench.leaderboard.tables import show

PACKAGE = Path(__file__).parents[1]
REPOSITORY = PACKAGE.parent  # of a clone
TASK = "movingshapes-ipc1"
STUDENT = "convnet3d"
SEEDS = 3  # the smallest number that is ranked


def run(results: Path) -> None:
    """Prepares movingshapes, evaluates the bundled submissions, prints the table. An interrupted demo resumes.

    In a clone the row of `full` comes from the record in `leaderboard/results`: training on all data takes too long for a demo.
    """
    prepare("movingshapes")
    evaluate(bundled(), students=[STUDENT], seeds=range(SEEDS), results=results)
    records = REPOSITORY / "leaderboard" / "results"
    show([results, records] if records.is_dir() else [results], TASK, STUDENT, "table")


def bundled() -> list[Path]:
    """The folders of the bundled submissions, in an installed wheel or in a clone."""
    for root in (PACKAGE / "bundled", REPOSITORY / "submissions"):
        if submissions := sorted(path.parent for path in (root / TASK).glob("*/manifest.json")):
            return submissions
    raise FileNotFoundError(f"no bundled submissions in {PACKAGE} or {REPOSITORY}: install vddbench again")
