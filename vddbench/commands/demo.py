"""`vddbench demo`: from data to a ranked table within minutes, using only the files of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vddbench.data.prepare import prepare
from vddbench.evaluation.evaluate import evaluate
from vddbench.leaderboard.bootstrap import half_width
from vddbench.leaderboard.tables import show
from vddbench.records.files import read_record
from vddbench.system.progress import say

PACKAGE = Path(__file__).parents[1]
REPOSITORY = PACKAGE.parent  # of a clone
RECORDS = PACKAGE / "leaderboard" / "results"  # in a wheel those of movingshapes alone
TASK = "movingshapes-ipc1"
STUDENT = "convnet3d"
NORMAL = 1.96  # 95 % of a normal distribution is within so many standard deviations
LIVE, SEED = "random_jpeg", 0  # the student that is trained here; the other rows come from the package's records


def run(results: Path) -> None:
    """Prepares movingshapes, trains one student, prints the table with it, and compares the student with its record.

    An interrupted demo resumes.
    """
    prepare("movingshapes")
    [path] = evaluate(submission(LIVE), students=STUDENT, seeds=[SEED], results=results)
    show([RECORDS, results], TASK, STUDENT, "table")
    say(f"\n{compared(path, RECORDS / path.relative_to(results))}")


def submission(name: str) -> Path:
    """The folder of a bundled submission, in an installed wheel or in a clone. Raises FileNotFoundError if it is missing."""
    for root in (PACKAGE / "bundled", REPOSITORY / "submissions"):
        if (root / TASK / name / "manifest.json").is_file():
            return root / TASK / name
    raise FileNotFoundError(f"no bundled submission {name} in {PACKAGE} or {REPOSITORY}: install vddbench again")


def compared(here: Path, there: Path) -> str:
    """Whether the student trained here scores like the package's record of the same seed. here, there: files of records.

    Other hardware and other numbers of threads round differently, and training amplifies that: at worst the student differs
    from the recorded one as that of another seed does. So the 95 % interval is over test videos and recorded students.
    """
    (record, answers), (recorded, known) = read_record(here), read_record(there)
    own, other = (one.top5[:, 0] == one.label for one in (answers, known))
    difference = own.astype(np.float64) - other
    equal = int(np.sum(answers.top5[:, 0] == known.top5[:, 0]))
    students = [read_record(path)[0].top1 for path in sorted(there.parent.glob("seed*.json"))]
    of_students = NORMAL * float(np.std(students, ddof=1)) * 2**0.5  # two students differ by that
    width = float(np.hypot(half_width(difference), of_students))
    verdict = "reproduced" if abs(difference.mean()) <= width else "not reproduced"
    seconds = record.train_seconds + record.test_seconds
    return (
        f"{LIVE}, seed {record.seed}, trained here in {seconds:.0f} s: top-1 {record.top1:.1%}; "
        f"recorded {recorded.top1:.1%} on {recorded.environment.device}; {equal} of {len(known.label)} answers are equal\n"
        f"{verdict}: the difference is {100 * difference.mean():+.1f} points, 95 % interval +-{100 * width:.1f}"
    )
