"""Studies behind the protocol's choices: `precision` and `lr`. The CSVs beside this file hold their rows.

They make no records. Nothing is chosen on test videos: the lr study scores on validation videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from vddbench.baselines import random
from vddbench.data.store import Store
from vddbench.evaluation.fit import measure
from vddbench.evaluation.hardware import Precision, hardware_for
from vddbench.evaluation.predict import predict
from vddbench.evaluation.ready import open_ready
from vddbench.evaluation.session import Session
from vddbench.evaluation.train import train
from vddbench.leaderboard.bootstrap import half_width
from vddbench.leaderboard.studies.rows import Rows
from vddbench.lookup import load
from vddbench.protocol import PROTOCOL
from vddbench.spec import Task
from vddbench.submissions.decoders import pixels
from vddbench.system.device import best_device, device_name
from vddbench.system.progress import bar, say

TODAY = {"protocol": PROTOCOL.name}  # rows of other protocols stay in the file, but no mean is taken over both
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def precision(path: Path, student: str, seeds: Sequence[int], out: Path) -> pd.DataFrame:
    """Trains a student with the same seeds in fp32 and in bf16, and compares test top-1.

    Prints the mean paired difference with its 95 % interval over seeds. Returns top-1 in [0, 1] by seed and precision. Writes a
    row for each student, with seconds and device, to `out/precision-TASK-METHOD-STUDENT.csv`; rows that exist are not computed
    again.
    """
    scored, module, device = open_ready(path), load("student", student), best_device()
    referee, task, name = scored.referee(student), scored.task, scored.submission.manifest.folder
    rows = Rows(out / f"precision-{task}-{name}-{student}.csv")
    for seed, kind in product(seeds, PRECISIONS):
        key = {"seed": seed, "precision": kind, **TODAY}
        if rows.has(key):
            continue
        with bar(f"{task} {student} {kind} seed {seed}", referee.steps) as progress:
            trained = referee.train(seed, hardware_for(module, precision=kind), Session(on_step=progress.advance))
        top1 = predict(trained.model, scored.store.test, device).scores()["top1"]
        about = {"task": str(task), "submission": name, "student": student, **key}
        rows.add({**about, "top1": top1, "seconds": round(trained.seconds, 2), "device": device_name(device)})
    table = rows.table(TODAY).pivot(index="seed", columns="precision", values="top1")
    difference = (table["bf16"] - table["fp32"]).to_numpy()
    fp32, bf16, width = table["fp32"].mean(), table["bf16"].mean(), half_width(difference)
    say(
        f"{task} {name} {student}: fp32 {fp32:.2%}, bf16 {bf16:.2%}, "
        f"difference {bf16 - fp32:+.2%} +- {width:.2%} (95 %, {len(difference)} seeds)"
    )
    return table


def lr(
    student: str,
    task: Task,
    rates: Sequence[float],
    seeds: Sequence[int],
    out: Path,
    steps: Sequence[int] = (),
    clips_of: Task | None = None,
) -> pd.DataFrame:
    """Validation top-1 of a student at each learning rate, trained on random clips of the other train videos.

    steps: numbers of training steps (default: the task's). clips_of: a task with more clips per class, which are drawn in place
    of those of `task`; the batch stays that of `task`. Each seed draws its own clips. Prints mean and 95 % interval over seeds.
    Writes a row per student to `out/lr-STUDENT-TASK.csv`, and returns the rows.
    """
    module, store = load("student", student), Store.open(task.dataset)
    spec, rows = store.spec, Rows(out / f"lr-{student}-{task}.csv")
    for rate, count, seed in product(rates, steps or [task.student_steps(spec)], seeds):
        about = {"task": str(task), "student": student, "clips_of": str(clips_of or task)}
        key = {**about, "lr": rate, "steps": count, "seed": seed, **TODAY}
        if rows.has(key):
            continue
        variant = SimpleNamespace(RECIPE=module.RECIPE.model_copy(update={"lr": rate}), build=module.build)
        distilled = random.distill(store.holdout_train, clips_of or task, random.Config(), np.random.default_rng(seed))
        clips = pixels.decode(distilled.tensors, spec)
        batch = task.batch_size(spec, len(clips), variant.RECIPE)
        with bar(f"{task} {student} lr {rate} seed {seed}", count) as progress:
            session = Session(on_step=progress.advance)
            trained = train(clips, spec, variant, steps=count, batch=batch, seed=seed, session=session)
        top1 = predict(trained.model, store.validation, best_device()).scores()["top1"]
        rows.add({**key, "fit_top1": measure(trained.model, clips, spec, best_device()).top1, "validation_top1": top1})
        del trained  # or it stays in memory while the next student trains: another 6 GB for convnet_lstm
    for (drawn, tried, number), of_setting in rows.table(TODAY).groupby(["clips_of", "lr", "steps"]):
        scores = of_setting["validation_top1"].to_numpy(np.float64)
        interval = f" +- {half_width(scores):.2%}" if len(scores) > 1 else ""
        say(
            f"{student} lr {tried}, {number} steps, clips of {drawn}: validation top-1 {scores.mean():.2%}{interval} "
            f"(students: {len(scores)}), {of_setting['fit_top1'].mean():.0%} of its own clips right"
        )
    return rows.table()
