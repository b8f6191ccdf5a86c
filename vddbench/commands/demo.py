"""`vddbench demo`: from data to a ranked table in about a minute, using only the files of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vddbench.data.prepare import prepare
from vddbench.evaluation.evaluate import evaluate
from vddbench.leaderboard.evidence import load_valid, tables_of
from vddbench.leaderboard.rank import rank_tables
from vddbench.leaderboard.tables import show
from vddbench.records.files import read_record
from vddbench.system.progress import say

PACKAGE = Path(__file__).parents[1]
REPOSITORY = PACKAGE.parent  # of a clone
RECORDS = PACKAGE / "leaderboard" / "results"  # in a wheel those of movingshapes alone
TASK = "movingshapes-ipc1"
STUDENT = "convnet3d"
LIVE, SEED = "random_jpeg", 0  # the student that is trained here; the other rows come from the package's records


def run(results: Path) -> None:
    """Prepares movingshapes, trains one student, prints the table with it, and compares the student with its record.

    An interrupted demo resumes.
    """
    prepare("movingshapes")
    [path] = evaluate(submission(LIVE), students=STUDENT, seeds=[SEED], results=results)
    show([results, RECORDS], TASK, STUDENT, "table")
    say(f"\n{compared(path, RECORDS / path.relative_to(results))}")


def submission(name: str) -> Path:
    """The folder of a bundled submission, in an installed wheel or in a clone. Raises FileNotFoundError if it is missing."""
    for root in (PACKAGE / "bundled", REPOSITORY / "submissions"):
        if (root / TASK / name / "manifest.json").is_file():
            return root / TASK / name
    raise FileNotFoundError(f"no bundled submission {name} in {PACKAGE} or {REPOSITORY}: install vddbench again")


def compared(here: Path, there: Path) -> str:
    """What the student trained here and the one of the package's record have in common. here, there: files of records."""
    (record, answers), (recorded, known) = read_record(here), read_record(there)
    equal = int(np.sum(answers.top5[:, 0] == known.top5[:, 0]))
    rows, _ = rank_tables(tables_of(load_valid([RECORDS]), TASK, STUDENT))
    [row] = rows[rows["method"] == LIVE].to_dict("records")
    inside = row["low"] <= record.top1 <= row["high"]
    verdict = "reproduced: inside" if inside else "not reproduced: outside"
    return (
        f"{LIVE}, seed {SEED}, trained here in {record.train_seconds + record.test_seconds:.0f} s: top-1 {record.top1:.1%}; "
        f"recorded {recorded.top1:.1%} on {recorded.environment.device}; {equal} of {len(known.label)} answers are equal\n"
        f"{verdict} the 95 % interval of {LIVE}, {row['low']:.1%} to {row['high']:.1%}"
    )
