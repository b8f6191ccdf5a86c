"""`settings` and `curve`: a baseline at several settings, or at several iterations of one run, scored on validation videos.

Distilling does not see these videos, and the test split is not read. The CSVs beside this file hold the settings that were
tried for the fast presets, and the protocol of the students that scored them (empty: not known). `changed` is the difference
to today's preset, so a preset that changes is named in its old rows. Those of `dm` on avletters10-ipc1 are older than this
command.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vddbench.data.store import Split, open_train
from vddbench.distillation import resume
from vddbench.distillation.contract import BaselineModule, Distilled, IterativeBaselineModule
from vddbench.distillation.learn import learn
from vddbench.distillation.presets import config_for, decoder_of
from vddbench.distillation.resume import Settings
from vddbench.distillation.run import Job, make_learner
from vddbench.distillation.watch import watch_for
from vddbench.evaluation.hardware import best_precision
from vddbench.evaluation.students import convnet3d
from vddbench.lookup import load, unknown
from vddbench.protocol import PROTOCOL
from vddbench.spec import Task
from vddbench.system.device import device_name
from vddbench.system.files import canonical_json, write_whole
from vddbench.system.locks import locked
from vddbench.system.progress import say

COLUMNS = ["preset", "changed", "settings", "distill_seed", "student_seed", "validation_top1", "seconds", "device", "protocol"]
CURVE_COLUMNS = [
    "preset",
    "changed",
    "settings",
    "distill_seed",
    "students",
    "iteration",
    "loss",
    "validation_top1",
    "device",
    "protocol",
]


def changed_config(config: Any, text: str) -> Any:
    """`config` with the values of `lr=0.1,iterations=300`.

    Raises LookupError for an unknown field, with the nearest ones, and for a value that is not of the field's type.
    """
    types = {f.name: type(getattr(config, f.name)) for f in fields(config)}
    changes: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in types:
            raise LookupError(unknown("setting", name, sorted(types)))
        try:
            changes[name] = {"True": True, "False": False}[value] if types[name] is bool else types[name](value)
        except (KeyError, ValueError):
            allowed = "True or False" if types[name] is bool else types[name].__name__
            raise LookupError(f"setting {name}={value[:40]!r}: allowed is {allowed}") from None
    return replace(config, **changes)


def settings(
    method: str,
    task: Task,
    preset: str | None,
    tries: Sequence[str],
    seeds: Sequence[int],
    distill_seed: int,
    device: torch.device,
    out: Path,
) -> pd.DataFrame:
    """Validation top-1 of one student per seed, for each text of `tries` ("" is the preset itself).

    Writes one row per student to `out/settings-METHOD-TASK.csv` and returns the table. Rows that exist are not computed again.
    """
    baseline, train = load("baseline", method), open_train(task.dataset)
    base = config_for(baseline, method, task, preset)
    file = out / f"settings-{method}-{task}.csv"
    for text in tries:
        job = Job(method=method, task=task, seed=distill_seed, config=changed_config(base, text), device=device)
        identity = _identity(job, train)
        digest = _digest(identity)
        rows = _rows(file)
        missing = sorted(set(seeds) - set(_of_today(rows, digest)["student_seed"]))
        folder, title = resume.folder_of(str(task), f"study-{method}-{digest}"), f"{method} {text or preset or 'as published'}"
        if missing:
            watch, fit = watch_for(train, task, decoder_of(baseline, job.config), 1, device)
            with resume.locked(folder):
                distilled, seconds = _distilled(baseline, job, fit, identity, folder, title)
                for seed in missing:
                    top1 = round(replace(watch, seeds=(seed,)).top1(distilled), 4)
                    _add(
                        file,
                        [[preset or "", text, digest, distill_seed, seed, top1, seconds, device_name(device), PROTOCOL.name]],
                    )
                resume.drop(folder)
        elif folder.is_dir():  # an earlier run was killed between its last row and dropping its checkpoint
            with suppress(ValueError), resume.locked(folder):  # unless another process is adding more seeds
                resume.drop(folder)
        scores = _of_today(_rows(file), digest)["validation_top1"]
        say(f"{title}: validation top-1 {scores.mean():.1%} ({len(scores)} students)")
    return _rows(file)


def curve(
    method: str,
    task: Task,
    preset: str | None,
    text: str,
    every: int,
    seeds: Sequence[int],
    distill_seed: int,
    device: torch.device,
    out: Path,
) -> pd.DataFrame:
    """Loss and validation top-1 of one run, before it and after each `every` iterations.

    Writes one row per scored iteration to `out/curve-METHOD-TASK.csv`, when the run is done, and returns the table. `loss` is
    the mean since the row before; `validation_top1` is the mean of one student per seed. A run that exists is not repeated, and
    one that was stopped resumes. Raises LookupError if the baseline has no iterations.
    """
    baseline, train = load("baseline", method), open_train(task.dataset)
    if not isinstance(baseline, IterativeBaselineModule):
        raise LookupError(f"{method} has no iterations: use settings")
    config = changed_config(config_for(baseline, method, task, preset), text)
    job = Job(method=method, task=task, seed=distill_seed, config=config, device=device)
    identity = {**_identity(job, train), "every": every, "students": len(seeds)}
    digest, file = _digest(identity), out / f"curve-{method}-{task}.csv"
    if _of_today(_rows(file, CURVE_COLUMNS), digest).empty:
        watch, fit = watch_for(train, task, decoder_of(baseline, config), every, device)
        folder, title = resume.folder_of(str(task), f"curve-{method}-{digest}"), f"{method} {text or preset or 'as published'}"
        with resume.locked(folder):
            settings = {**identity, "precision": best_precision(device, convnet3d)}
            run = learn(make_learner(baseline, job, fit), settings, folder, replace(watch, seeds=tuple(seeds)), title).progress
            described, rows, before = [preset or "", text, digest, distill_seed, len(seeds)], [], 0
            for iteration, top1 in run.watched:
                loss = f"{np.mean(run.losses[before:iteration]):.4g}" if iteration else ""
                rows.append([*described, iteration, loss, round(top1, 4), device_name(device), PROTOCOL.name])
                before = iteration
            _add(file, rows, CURVE_COLUMNS)
            resume.drop(folder)
    return _rows(file, CURVE_COLUMNS)


def _identity(job: Job, train: Split) -> Settings:
    """What the learned tensors of a study depend on."""
    config = asdict(job.config)
    return {"method": job.method, "seed": job.seed, "store": train.digest, "holdout": True, **config, "device": job.device.type}


def _digest(identity: Settings) -> str:
    return hashlib.sha256(canonical_json(identity)).hexdigest()[:12]


def _distilled(
    baseline: BaselineModule | IterativeBaselineModule, job: Job, fit: Split, identity: Settings, folder: Path, title: str
) -> tuple[Distilled, float]:
    """The set that a baseline makes of a train split without validation videos, and the seconds that this took."""
    if isinstance(baseline, IterativeBaselineModule):
        checkpointed = {**identity, "precision": best_precision(job.device, convnet3d)}
        learned = learn(make_learner(baseline, job, fit), checkpointed, folder, None, title)
        return learned.distilled, round(learned.progress.seconds, 1)
    started = time.monotonic()
    distilled = baseline.distill(fit, job.task, job.config, np.random.default_rng(job.seed))
    return distilled, round(time.monotonic() - started, 1)


def _rows(file: Path, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    if not file.exists():
        return pd.DataFrame(columns=list(columns))
    texts = dict.fromkeys(("preset", "changed", "settings", "device", "protocol"), str)  # a digest may look like a number
    rows = pd.read_csv(file, dtype=texts, keep_default_na=False)
    return rows if "protocol" in rows else rows.assign(protocol="")


def _of_today(rows: pd.DataFrame, digest: str) -> pd.DataFrame:
    """The rows of these settings whose students were trained under the present protocol."""
    return rows[(rows["settings"] == digest) & (rows["protocol"] == PROTOCOL.name)]


def _add(file: Path, new: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS) -> None:
    """Appends rows, all or none. Several processes may add to one file."""
    with locked(file.with_name(f".{file.name}.lock")):
        rows = [*_rows(file, columns).to_numpy(object).tolist(), *new]
        write_whole(file, pd.DataFrame(rows, columns=list(columns)).to_csv(index=False).encode())
