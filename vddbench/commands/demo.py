"""`vddbench demo`: the road from data to a ranked table, in minutes, on nothing but what the repository holds."""

from __future__ import annotations

from pathlib import Path

from vddbench.data.prepare import prepare
from vddbench.evaluation.evaluate import evaluate
from vddbench.leaderboard.tables import show

REPOSITORY = Path(__file__).parents[2]
TASK = "movingshapes-ipc1"
STUDENT = "convnet3d"
SEEDS = 3  # the fewest that are ranked


def run(results: Path) -> None:
    """Prepares movingshapes, evaluates `submissions/movingshapes-ipc1/*`, prints the table. Repeating it resumes.

    The row of `full` comes from the record in `leaderboard/results`: training on all data takes too long for a demo.
    """
    submissions = sorted(p.parent for p in (REPOSITORY / "submissions" / TASK).glob("*/manifest.json"))
    if not submissions:
        raise FileNotFoundError(f"no bundled submissions in {REPOSITORY}; run the demo from a clone of the repository")
    prepare("movingshapes")
    evaluate(submissions, students=[STUDENT], seeds=range(SEEDS), results=results)
    show([results, REPOSITORY / "leaderboard" / "results"], TASK, STUDENT, "table")
