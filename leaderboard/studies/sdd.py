"""`sdd`: how far does each fault of the field's released protocol move a score? One fault is mended at a time (docs/sdd.md).

It makes no records and chooses nothing: like the precision study it scores on the test videos, because it is about that test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from vddbench.evaluation.hardware import hardware_for
from vddbench.evaluation.ready import ReadySubmission, decoded, open_with_store
from vddbench.evaluation.sdd import Replay
from vddbench.evaluation.sdd_predict import top5_mode
from vddbench.evaluation.session import Session
from vddbench.leaderboard.bootstrap import half_width
from vddbench.leaderboard.studies.rows import Row, Rows
from vddbench.lookup import load
from vddbench.protocol import MENDED, PROTOCOL, Sdd
from vddbench.system.device import device_name
from vddbench.system.progress import bar, say

STUDENT = "convnet3d"  # of the published tables
NONE, ALL = "none", "all"  # names of the rows without and with every fault mended
OF_TEST = ("test_order", "test_start", "test_flip", "score")  # faults that need no further training
TOP5 = "top5"  # of top-5 mode: every row has that score with and without the fault


def variants(replay: Replay, together: Sequence[str] = ()) -> dict[str, Sdd]:
    """The protocol as released, with each fault mended, with those of each text of `together` (like lr+scale), and with all.

    Leaves out faults that cannot change the score. Raises LookupError for an unknown fault.
    """
    idle = {TOP5, *([] if replay.learned_lr else ["lr"]), *([] if replay.pairs > 1 else ["pairs"])}
    faults = [fault for fault in MENDED if fault not in idle]
    released = replay.protocol
    several = {text: released.mended(*text.split("+")) for text in together}
    return {NONE: released, **{fault: released.mended(fault) for fault in faults}, **several, ALL: released.mended(*MENDED)}


def study(paths: Sequence[Path], epochs: int, seeds: Sequence[int], together: Sequence[str], out: Path) -> pd.DataFrame:
    """Test top-1 of each set, variant and seed. Rows in `out/sdd-TASK-METHOD.csv` are not computed again; returns all rows.

    together: faults that are also mended together, like lr+scale.
    """
    protocol = Sdd(epochs=epochs)
    tables = [_of_set(decoded(open_with_store(path), protocol), protocol, seeds, together, out) for path in paths]
    return pd.concat(tables, ignore_index=True)


def _of_set(scored: ReadySubmission, protocol: Sdd, seeds: Sequence[int], together: Sequence[str], out: Path) -> pd.DataFrame:
    replay, folder = scored.referee(STUDENT), scored.submission.manifest.folder
    assert isinstance(replay, Replay)
    rows = Rows(out / f"sdd-{scored.task}-{folder}.csv")
    for seed in seeds:
        trainings: dict[str, dict[str, Sdd]] = defaultdict(dict)  # variants by the student that they share
        for name, variant in variants(replay, together).items():
            if not rows.has({"mended": name, "epochs": protocol.epochs, "seed": seed}):
                trainings[NONE if name in OF_TEST else name][name] = variant
        for name, of_student in trainings.items():
            about = {"task": str(scored.task), "submission": folder, "epochs": protocol.epochs, "seed": seed}
            rows.add(*({**about, **row} for row in _scores(scored, replay, name, of_student, seed)))
    table = rows.table()
    for line in summary(table[(table["epochs"] == protocol.epochs) & table["seed"].isin(seeds)]):
        say(line)
    return table


def _scores(scored: ReadySubmission, replay: Replay, name: str, of_student: Mapping[str, Sdd], seed: int) -> list[Row]:
    """The rows of the variants that test one student."""
    hardware = hardware_for(load("student", STUDENT), precision=replay.protocol.train_precision)
    first = replace(replay, protocol=next(iter(of_student.values())))
    title = f"{scored.task} {scored.submission.manifest.folder} mended: {name}, seed {seed}"
    with bar(title, first.steps) as progress:
        trained = first.train(seed, hardware, Session(on_step=progress.advance))
    rows: list[Row] = []
    for mended, protocol in of_student.items():
        answers = replace(replay, protocol=protocol).predict(trained.model, scored.store.test, seed, hardware.device)
        scores = answers.scores()
        rows.append({
            "mended": mended, "steps": first.steps, **{score: round(value, 5) for score, value in scores.items()},
            "top5_mode": round(top5_mode(answers, replay.protocol), 5),
            "finite": trained.finite, "seconds": round(trained.seconds, 1), "precision": trained.precision,
            "device": device_name(hardware.device),
        })  # fmt: skip
    return rows


def summary(table: pd.DataFrame) -> list[str]:
    """A line for each variant: its mean top-1, and the paired difference to the protocol as released.

    If there are at least 2 students, the difference has its 95 % interval.
    """
    lines = []
    scores = table.pivot(index="seed", columns="mended", values="top1")
    for name in dict.fromkeys(table["mended"]):
        apart = (scores[name] - scores[NONE]).dropna().to_numpy()
        text = f"{table['submission'].iloc[0]} mended: {name:17} top-1 {scores[name].mean():.2%}"
        interval = f" +- {100 * half_width(apart):.2f}" if len(apart) > 1 else ""
        lines.append(text if name == NONE else f"{text}, {100 * apart.mean():+.2f}{interval} points")
    return [*lines, f"(all: protocol {PROTOCOL.name}, but for the order of the sums in a test batch; {len(scores)} students)"]
