"""`vddbench demo`: why the benchmark exists, using only the files of the package.

The package has the records of every row of the table. One student is trained here and compared with its record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vddbench.commands.demo_picture import Row, write_picture
from vddbench.data.prepare import prepare
from vddbench.data.store import Store
from vddbench.leaderboard.bootstrap import Variance, half_interval
from vddbench.leaderboard.divisions import OPEN
from vddbench.leaderboard.evidence import BUNDLED, load
from vddbench.leaderboard.paired import Difference, pairs
from vddbench.leaderboard.rank import ranked_rows
from vddbench.leaderboard.tables import show
from vddbench.records.files import read_record
from vddbench.spec import Task
from vddbench.system.progress import say

PACKAGE = Path(__file__).parents[1]
REPOSITORY = PACKAGE.parent  # of a clone
TASK = "movingshapes-ipc1"
STUDENT = "convnet3d"
# trained here: all sets cost 150 steps of 8 clips, and few are soon searched for leaks
LIVE, SEED = "random_video_hundredth", 0
PICTURE = "vddbench-demo.gif"


class Question(NamedTuple):
    """A comparison of two methods that answers a question."""

    text: str
    first: str
    second: str


QUESTIONS = (
    Question("Does motion count? Real clips against single frames, within one budget", "random_jpeg", "random_still"),
    Question("Does a codec beat raw frames? AV1 in a tenth of the bytes against raw clips", "random_video_tenth", "random"),
    Question("Does a learned set beat random clips? DM's quick preset against raw clips", "dm_fast", "random"),
    Question("... and DM with four smaller clips per class in the bytes of one?", "dm_factor_fast", "random"),
    Question("Is that gain learned? The same set against four real clips, made as small", "dm_factor_fast", "random_small"),
)


def run(results: Path) -> None:
    """Prepares the dataset, prints and draws its table, trains one student, and compares it with its record.

    An interrupted demo resumes.
    """
    stages = Stages()
    prepare(Task.parse(TASK).dataset)
    stages.end("preparing the dataset")
    show([BUNDLED], TASK, STUDENT, "table", "hard", division=OPEN)
    print("\n" + "\n".join(answer(question) for question in QUESTIONS) + "\n", flush=True)
    stages.end("the table")
    rows = picture_rows()  # imports PyTorch, after the table is on the screen
    say(f"the same table as a picture in which the clips play: {draw(rows)}")
    stages.end("the picture")
    from vddbench.evaluation.evaluate import evaluate

    say(f"\nThe table shows records of the package. One of these students is now trained again on this machine, on {LIVE}:")
    [path] = evaluate(submission(LIVE), students=STUDENT, seeds=[SEED], results=results)
    print(f"\n{compared(path, BUNDLED / path.relative_to(results))}\n", flush=True)
    draw([row._replace(here=read_record(path)[0].top1) if row.method == LIVE else row for row in rows])
    stages.end("one student")
    say(f"{stages.summary()}\nnext: vddbench distill random --task {TASK} makes a set, vddbench pack packs your own tensors")


class Stages:
    """The seconds of each part of the demo."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name], self.last = now - self.last, now

    def summary(self) -> str:
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        return f"{self.last - self.began:.0f} s: {parts}"


def answer(question: Question) -> str:
    """The answer of the package's records to a question, in one line."""
    [pair] = pairs([BUNDLED], question.first, question.second, TASK, STUDENT, OPEN)
    return f"{question.text}: {verdict(question, pair.difference())}"


def verdict(question: Question, result: Difference) -> str:
    """What a difference with its interval says, never more."""
    word = "yes" if result.low > 0 else "no, it is worse" if result.high < 0 else "not shown, the interval contains 0"
    return (
        f"{word}. {question.first} {result.first:.1%}, {question.second} {result.second:.1%}: {100 * result.top1:+.1f} points "
        f"(95 %: {100 * result.low:+.1f} to {100 * result.high:+.1f})"
    )


def picture_rows() -> list[Row]:
    """The rows of the picture, best first: division open of the package's records, of sets that the package has, too."""
    from vddbench.submissions.submission import decode, read

    spec = Store.open(Task.parse(TASK).dataset).spec
    evaluated = [one for one in load([BUNDLED]).evaluated if (str(one.record.task), one.record.student) == (TASK, STUDENT)]
    rows = []
    for row in (row for row in ranked_rows(evaluated) if row["division"] == OPEN):
        try:
            clips = decode(read(submission(row["method"]), spec), spec)
        except FileNotFoundError:  # the package has its record, but not the set
            continue
        sizes = (row["payload_bytes"], row["clips_per_class"])
        rows.append(Row(row["method"], row["top1"], row["low"], row["high"], *sizes, clips, None))
    return rows


def draw(rows: Sequence[Row]) -> Path:
    """Writes the picture and returns its path."""
    title = f"{TASK}: one network, one training, {len(rows)} sets within the same budget of bytes"
    write_picture(title, Store.open(Task.parse(TASK).dataset).spec, rows, Path(PICTURE))
    return Path(PICTURE)


def submission(name: str) -> Path:
    """The folder of a bundled submission, in an installed wheel or in a clone. Raises FileNotFoundError if it is missing."""
    for root in (PACKAGE / "bundled", REPOSITORY / "submissions"):
        if (root / TASK / name / "manifest.json").is_file():
            return root / TASK / name
    raise FileNotFoundError(f"no bundled submission {name} in {PACKAGE} or {REPOSITORY}: install vddbench again")


def compared(here: Path, there: Path) -> str:
    """Whether the student trained here scores like the package's record of the same seed. here, there: files of records.

    Other hardware and other numbers of threads round differently, and training amplifies that: at worst the student differs
    from the recorded one as that of another seed does. So the 95 % interval is over test videos and recorded students, with a
    quantile of Student's t for each, because the recorded students are few.
    """
    (record, answers), (recorded, known) = read_record(here), read_record(there)
    own, other = (one.top5[:, 0] == one.label for one in (answers, known))
    difference = own.astype(np.float64) - other
    equal = int(np.sum(answers.top5[:, 0] == known.top5[:, 0]))
    students = [read_record(path)[0].top1 for path in sorted(there.parent.glob("seed*.json"))]
    of_videos = Variance(difference.var(ddof=1) / len(difference), len(difference) - 1)
    of_two_students = Variance(float(2 * np.var(students, ddof=1)), len(students) - 1)
    width = float(half_interval([of_videos, of_two_students]))
    inside = abs(difference.mean()) <= width
    seconds = record.train_seconds + record.test_seconds
    return (
        f"{LIVE}, seed {record.seed}, trained here in {seconds:.0f} s: top-1 {record.top1:.1%}; "
        f"recorded {recorded.top1:.1%} on {recorded.environment.device}; {equal} of {len(known.label)} answers are equal\n"
        f"{'reproduced: inside' if inside else 'not reproduced: outside'} the 95 % interval; the difference is "
        f"{100 * difference.mean():+.1f} points, the interval +-{100 * width:.1f}"
    )
