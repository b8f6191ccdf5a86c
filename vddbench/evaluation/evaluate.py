"""Scores a submission: trains fresh students on its decoded clips, reads out once on the test videos, writes records.

Beside the precision study this is the only file that opens the test split.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vddbench import __version__
from vddbench.data.store import Store
from vddbench.evaluation.predict import num_clips, predict
from vddbench.evaluation.resume import UNFINISHED, Unfinished
from vddbench.evaluation.train import Trained, best_precision, train
from vddbench.lookup import load
from vddbench.protocol import V1
from vddbench.records.files import cell_path, read_record, set_aside, write_record
from vddbench.records.predictions import Predictions
from vddbench.records.record import Environment, Record
from vddbench.spec import ClipSet, Manifest, Submission, Task
from vddbench.submissions.submission import OpenedSubmission, open_submission, task_of
from vddbench.system.device import best_device, device_name, forget_peak_memory, git_commit, peak_memory_bytes
from vddbench.system.files import check_writable
from vddbench.system.interrupt import interruptible
from vddbench.system.progress import bar, say


@dataclass(frozen=True, kw_only=True)
class ReadySubmission:
    """A submission that passed every check, with its decoded clips and the store whose test videos score it."""

    task: Task
    store: Store
    submission: Submission
    clipset: ClipSet

    def batch_size(self, student: str) -> int:
        return self.task.batch_size(self.store.spec, len(self.clipset), load("student", student).RECIPE)


def open_ready(path: Path) -> ReadySubmission:
    """Opens, checks and decodes a submission. Raises as `open_with_store` and `decoded` do."""
    return decoded(open_with_store(path))


def open_with_store(path: Path) -> OpenedSubmission:
    """Opens a submission and makes every check but decoding; what is wrong is reported by `decoded`.

    Raises FileNotFoundError if there is no such folder, LookupError or ValueError if its dataset is not prepared here.
    """
    store = Store.open(task_of(path).dataset)
    check_normalisation(store)
    return open_submission(path, store=store)


def decoded(opened: OpenedSubmission) -> ReadySubmission:
    """Decodes a submission. Raises ValueError with every reason for which it is refused, OSError if a file cannot be read."""
    clipset = opened.decode()
    accepted = opened.accepted()
    assert clipset is not None and opened.task is not None and opened.store is not None
    return ReadySubmission(task=opened.task, store=opened.store, submission=accepted, clipset=clipset)


def check_normalisation(store: Store) -> None:
    """Raises ValueError unless the store's spec.json has the normalisation of the protocol."""
    if (store.spec.mean, store.spec.std) != (V1.normalisation_mean, V1.normalisation_std):
        raise ValueError(
            f"store {store.path} normalises with {store.spec.mean}, {store.spec.std}; protocol {V1.name} fixes "
            f"{V1.normalisation_mean}, {V1.normalisation_std}: prepare it again"
        )


def evaluate_seed(
    scored: ReadySubmission,
    student: str,
    seed: int,
    device: torch.device,
    unfinished: Unfinished | None = None,
    halvings: int = 0,
) -> tuple[Record, Predictions]:
    """Trains and tests one student. Shows progress; writes nothing but what `unfinished` keeps."""
    spec, store = scored.store.spec, scored.store
    steps = scored.task.student_steps(spec)
    forget_peak_memory(device)
    with bar(f"{scored.task} {scored.submission.path.name} {student} seed {seed}", steps) as progress:
        trained = train(
            scored.clipset,
            spec,
            load("student", student),
            steps=steps,
            batch=scored.batch_size(student),
            seed=seed,
            device=device,
            halvings=halvings,
            on_step=progress.advance,
            unfinished=unfinished,
        )
    started = time.monotonic()
    with bar("  testing", num_clips(store.test) + num_clips(store.validation)) as progress:
        predictions = predict(trained.model, store.test, device, progress.advance)
        held_out = predict(trained.model, store.validation, device, progress.advance) if len(store.validation) else None
    seconds = time.monotonic() - started
    validation_top1 = held_out.scores()["top1"] if held_out else None
    return make_record(scored, student, seed, trained, predictions, validation_top1, seconds, device), predictions


def make_record(
    scored: ReadySubmission,
    student: str,
    seed: int,
    trained: Trained,
    predictions: Predictions,
    validation_top1: float | None,
    test_seconds: float,
    device: torch.device,
) -> Record:
    """Everything here was measured or computed, except what is the manifest's to say: track, external, holdout."""
    scores = predictions.scores()
    return Record(
        **identity(scored.submission.manifest, scored.store.digest, student, seed),
        **measured(scored, student),
        store_fingerprint=scored.store.fingerprint,
        top1=scores["top1"],
        top5=scores["top5"],
        centre_top1=scores["centre_top1"],
        validation_top1=validation_top1,
        train_seconds=trained.seconds,
        test_seconds=test_seconds,
        peak_memory_bytes=max(trained.peak_memory_bytes, peak_memory_bytes(device)),
        predictions_sha256="0" * 64,  # write_record measures it
        environment=environment(trained, device),
        checks={"finite": bool((predictions.top5 >= 0).all()), "finite_loss": trained.finite},
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def measured(scored: ReadySubmission, student: str) -> dict[str, Any]:
    """The fields that follow from the submission and the prepared store, before anything is trained."""
    spec, steps = scored.store.spec, scored.task.student_steps(scored.store.spec)
    return {
        "num_test": len(scored.store.test),
        "num_missing": scored.store.num_missing,
        "student_steps": steps,
        "num_classes": spec.num_classes,
        "payload_bytes": scored.submission.payload_bytes,
        "budget_bytes": scored.task.budget_bytes(spec),
        "clips_per_class": len(scored.clipset) / spec.num_classes,
        "clip_steps": steps * scored.batch_size(student),
    }


def tested_videos(store: Store) -> dict[str, np.ndarray]:
    """What predictions on this store say of its test videos, whatever was answered."""
    test = store.test
    return {"video": test.index["video"].to_numpy(str), "group": test.index["group"].to_numpy(str), "label": test.labels}


def identity(manifest: Manifest, store_digest: str, student: str, seed: int) -> dict[str, Any]:
    """The fields that say what was evaluated under what: two records of one cell must agree in all of them."""
    return {
        "protocol": V1.name,
        "protocol_hash": V1.hash(load("student", student).RECIPE),
        "task": manifest.task,
        "method": manifest.method,
        "distill_seed": manifest.seed,
        "track": manifest.labels,
        "external": bool(manifest.external_data),
        "holdout": manifest.holdout,
        "submission_sha256": manifest.sha256,
        "store_digest": store_digest,
        "student": student,
        "seed": seed,
    }


def kept_as(manifest: Manifest, store_digest: str, student: str, seed: int, device: torch.device) -> dict[str, Any]:
    """What an unfinished student must be of to be gone on with: the cell, and arithmetic that gives the same student."""
    here = {"device": device_name(device), "precision": best_precision(device, load("student", student))}
    here |= {"torch": torch.__version__, "vddbench": __version__, "git_commit": git_commit()}
    if device.type == "cpu":
        here["num_threads"] = str(torch.get_num_threads())
    return {**identity(manifest, store_digest, student, seed), "task": str(manifest.task), **here}


def environment(trained: Trained, device: torch.device) -> Environment:
    return Environment(
        vddbench=__version__,
        git_commit=git_commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=(torch.version.cuda or "") if device.type == "cuda" else "",
        device=device_name(device),
        num_threads=torch.get_num_threads(),
        precision=trained.precision,
        micro_batch=trained.micro_batch,
    )


def evaluate(
    paths: Sequence[Path],
    *,
    students: Sequence[str],
    seeds: Sequence[int],
    results: Path,
    force: bool = False,
    device: torch.device | None = None,
) -> list[Path]:
    """Records every (submission, student, seed) that is not recorded yet; returns all their paths.

    Before anything is trained, names are looked up, the results folder is tried, and every submission passes every check:
    its payload is hashed once and decoded. Only the clips of one submission are in memory at a time, so those of several are
    decoded again when their turn comes: 10 s for 500 JPEG clips of miniucf-ipc10 on one core. An interrupted call resumes:
    what is recorded stays and only missing seeds run. `force=True` runs all of them and writes beside what is there.
    """
    device = device or best_device()
    for student in students:
        load("student", student).build  # noqa: B018 - an unknown name or a broken file shows here
    check_writable(results)
    submissions = [open_with_store(path) for path in paths]
    if len(submissions) > 1:
        for opened in submissions:
            decoded(opened)  # refuses the submission; the clips are not kept
    written: list[Path] = []
    for opened in submissions:
        scored = decoded(opened)
        written += [evaluate_cell(scored, student, seed, results, force, device) for student in students for seed in seeds]
        del scored  # before the next one is decoded
    return written


def evaluate_cell(
    scored: ReadySubmission,
    student: str,
    seed: int,
    results: Path,
    force: bool,
    device: torch.device,
    halvings: int = 0,
    by: str | None = None,
) -> Path:
    """One record: the one that is there, or a new one. A damaged one is set aside, never deleted, and made again.

    halvings: of the clips a forward pass, after memory ran out; the gradient stays that of the whole batch. by: who runs the
    cell again, for a re-run.
    """
    manifest = scored.submission.manifest
    path = cell_path(results, manifest.cell, student, seed)
    if path.exists() and not force and (found := readable(path)):
        check_same(path, found, identity(manifest, scored.store.digest, student, seed))
        say(f"{path}: recorded already, top-1 {found.top1:.1%}")
        path.with_suffix(UNFINISHED).unlink(missing_ok=True)  # of a process that was not the first
        return path
    kept = path.with_suffix(f".rerun{UNFINISHED}" if force else UNFINISHED)  # a rerun owes nothing to another training
    about = kept_as(manifest, scored.store.digest, student, seed, device)
    with interruptible() as stop:
        unfinished = Unfinished(kept, about, stop)
        record, predictions = evaluate_seed(scored, student, seed, device, unfinished, halvings)
        path = _written(results, record.model_copy(update={"by": by}), predictions, path, force)
        unfinished.drop()
    if stop:  # while it was tested
        raise KeyboardInterrupt
    return path


def _written(results: Path, record: Record, predictions: Predictions, path: Path, force: bool) -> Path:
    """Of processes at one cell the first one's record stays."""
    try:
        written = write_record(results, record, predictions, beside=force)
    except FileExistsError:
        say(f"{path}: another process recorded it meanwhile; its record stays")
        return path
    flag = "" if record.checks["finite"] else "  the student collapsed (NaN): recorded as a result"
    flag += "  (beside the first record, which stays the one that is ranked)" if written != path else ""
    say(f"{written}: top-1 {record.top1:.1%}, {record.train_seconds:.0f} s training{flag}")
    return written


def readable(path: Path) -> Record | None:
    """The record at `path`; None when it is damaged, which is said, and its files are kept under another name."""
    try:
        return read_record(path)[0]
    except ValueError as error:
        with suppress(FileNotFoundError):  # another process was first to set it aside
            say(f"{error}; kept as {set_aside(path).name}, evaluating again", style="yellow")
        return None


def check_same(path: Path, record: Record, expected: dict[str, Any]) -> None:
    """Raises ValueError when the record that is there is of something else."""
    differ = [name for name, value in expected.items() if getattr(record, name) != value]
    if differ:
        found = ", ".join(f"{name} {str(getattr(record, name))[:16]} (now {str(expected[name])[:16]})" for name in differ)
        raise ValueError(
            f"{path} was made under other conditions: {found}; use another --results folder, or put back what it was made with"
        )
