"""Would testing in bf16 change answers? The same trained students answer in fp32, as the protocol says, and in bf16.

The study counts the answers that differ, on any machine. Without arithmetic for bf16 the same roundings are made in fp32; the
seconds of bf16 then say nothing about its speed. Records hold no weights, so each student is trained again. If the student has
a record here, its row says whether the fp32 answers are those of the record, as they are on the machine that made it. Nothing
is chosen here by test scores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vddbench.data.store import Split
from vddbench.evaluation.hardware import Precision, hardware_for, has_bf16
from vddbench.evaluation.predict import probabilities
from vddbench.evaluation.ready import open_ready
from vddbench.evaluation.session import Session
from vddbench.evaluation.train import Trained
from vddbench.leaderboard.bootstrap import half_width
from vddbench.leaderboard.studies.protocol_studies import TODAY
from vddbench.leaderboard.studies.rows import Row, Rows
from vddbench.lookup import load
from vddbench.records.files import cell_path, read_record
from vddbench.system.device import best_device, device_name
from vddbench.system.progress import bar, say

FILE = "testing-precision.csv"


def testing_precision(paths: Sequence[Path], student: str, seeds: Sequence[int], results: Path, out: Path) -> pd.DataFrame:
    """Counts the top-1 answers on test videos that differ between fp32 and bf16.

    Returns one row for each student, as in the file `testing-precision.csv` of `out`; rows that exist are not computed again.
    Raises ValueError for a submission that cannot be evaluated.
    """
    rows = Rows(out / FILE)
    module, device = load("student", student), best_device()
    for path in paths:
        ready = open_ready(path)
        referee, cell = ready.referee(student), ready.submission.manifest.cell
        for seed in seeds:
            key = {"submission": cell, "student": student, "seed": seed, **TODAY}
            if rows.has(key):
                continue
            with bar(f"{cell} {student} seed {seed}", referee.steps) as progress:
                trained = referee.train(seed, hardware_for(module), Session(on_step=progress.advance))
            record = cell_path(results, cell, student, seed)
            recorded = read_record(record)[1].top5[:, 0] if record.is_file() else None
            rows.add({**key, **compared(trained, ready.store.test, recorded), "device": device_name(device)})
    say(summary(rows.table(TODAY)))
    return rows.table()


def compared(trained: Trained, split: Split, recorded: np.ndarray | None) -> Row:
    """The answers of one student in both precisions. recorded: [V] the answers in its record.

    lead_is_small: videos on which the first class leads in fp32 by at most twice the largest difference: where bf16 alone could
    not be trusted.
    """
    seconds, means = dict[Precision, float](), dict[Precision, np.ndarray]()
    device = next(trained.model.parameters()).device
    emulated = not has_bf16(device)
    for precision in ("fp32", "bf16"):
        began = time.perf_counter()
        if precision == "bf16" and emulated:
            means[precision], _ = probabilities(rounded(trained.model), split, device)
        else:
            means[precision], _ = probabilities(trained.model, split, device, precision=precision)
        seconds[precision] = time.perf_counter() - began
    answers = {precision: mean.argmax(1) for precision, mean in means.items()}
    right = {precision: of_precision == split.labels for precision, of_precision in answers.items()}
    largest = float(np.abs(means["fp32"] - means["bf16"]).max())
    second, first = np.sort(means["fp32"], axis=1)[:, -2:].T
    return {
        "videos": len(split),
        "trained_in": trained.precision,
        "answers_of_record": "" if recorded is None else bool((answers["fp32"] == recorded).all()),
        "flipped": int((answers["fp32"] != answers["bf16"]).sum()),
        "flipped_to_right": int((right["bf16"] & ~right["fp32"]).sum()),
        "flipped_to_wrong": int((right["fp32"] & ~right["bf16"]).sum()),
        "fp32_top1": float(right["fp32"].mean()),
        "bf16_top1": float(right["bf16"].mean()),
        "largest_difference": largest,
        "lead_is_small": int((first - second <= 2 * largest).sum()),
        "fp32_seconds": round(seconds["fp32"], 2),
        "bf16_seconds": round(seconds["bf16"], 2),
        "bf16_emulated": emulated,
    }


def rounded(model: nn.Module) -> nn.Module:
    """A copy that computes in fp32 and rounds to bf16 what autocast rounds: inputs, weights and outputs of convolutions and
    linear layers, averages, and the logits. Sums inside a layer stay fp32, as in hardware for bf16.
    """
    copy = deepcopy(model)

    def nearest(x: torch.Tensor) -> torch.Tensor:
        return x.bfloat16().float()

    for layer in copy.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
            layer.requires_grad_(requires_grad=False)
            for parameter in layer.parameters(recurse=False):
                parameter.copy_(nearest(parameter))
            layer.register_forward_pre_hook(lambda _, inputs: tuple(map(nearest, inputs)))
        if layer is copy or isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear | nn.AvgPool2d | nn.AvgPool3d):
            layer.register_forward_hook(lambda _, inputs, output: nearest(output))
    return copy


def summary(table: pd.DataFrame) -> str:
    """The result in a sentence."""
    moved = (table["bf16_top1"] - table["fp32_top1"]).to_numpy(np.float64)
    return (
        f"{len(table)} students of {table['submission'].nunique()} sets: bf16 changes {table['flipped'].sum()} of "
        f"{table['videos'].sum():,} answers, {table['flipped_to_right'].sum()} to right and {table['flipped_to_wrong'].sum()} "
        f"to wrong; top-1 moves by {moved.mean():+.2%} +- {half_width(moved):.2%} (95 %), in one student by at most "
        f"{np.abs(moved).max():.2%}"
    )
