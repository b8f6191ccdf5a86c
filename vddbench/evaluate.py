"""Scores a submission: trains fresh students on its decoded clips, reads out once on the test videos, writes records.

This is the only file that opens the test split.
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from vddbench import __version__, submission
from vddbench.environment import device_name, git_commit
from vddbench.lookup import load
from vddbench.predict import predict
from vddbench.progress import bar, say
from vddbench.protocol import V1
from vddbench.records import Predictions, cell_path, read_record, write_record
from vddbench.spec import ClipSet, Environment, Record, Submission, Task
from vddbench.store import Store
from vddbench.train import Trained, best_device, train


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A submission ready to evaluate: checked, decoded, with the store it is tested on."""

    task: Task
    store: Store
    submission: Submission
    clipset: ClipSet


def open_scored(path: Path) -> Scored:
    """Reads, checks and decodes. Raises ValueError or LookupError with every reason a submission can't be scored."""
    task = submission.task_of(path)
    store = Store.open(task.dataset)
    read = submission.read(path, store.spec)
    return Scored(task=task, store=store, submission=read, clipset=submission.decode(read, store.spec))


def peak_memory_bytes(device: torch.device) -> int:
    """Of this process: allocated on the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def evaluate_seed(scored: Scored, student: str, seed: int, device: torch.device) -> tuple[Record, Predictions]:
    """Trains and tests one student. Shows progress; writes nothing."""
    spec, task = scored.store.spec, scored.task
    steps, batch = task.student_steps(spec), task.batch_size(spec, len(scored.clipset))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with bar(f"{task} {scored.submission.path.name} {student} seed {seed}", steps) as progress:
        trained = train(
            scored.clipset,
            spec,
            load("student", student),
            steps=steps,
            batch=batch,
            seed=seed,
            device=device,
            on_step=progress.advance,
        )
    started = time.monotonic()
    with bar("  testing", len(scored.store.test)) as progress:
        predictions = predict(trained.model, scored.store.test, device, progress.advance)
    test_seconds = time.monotonic() - started
    validation = predict(trained.model, scored.store.validation, device) if len(scored.store.validation) else None
    record = make_record(scored, student, seed, trained, predictions, test_seconds, device)
    top1 = validation.scores()["top1"] if validation else 0.0
    return record.model_copy(update={"validation_top1": top1, "clip_steps": steps * batch}), predictions


def make_record(
    scored: Scored,
    student: str,
    seed: int,
    trained: Trained,
    predictions: Predictions,
    test_seconds: float,
    device: torch.device,
) -> Record:
    task, store, manifest = scored.task, scored.store, scored.submission.manifest
    finite, scores = bool((predictions.top5 >= 0).all()), predictions.scores()
    return Record(
        protocol=V1.name,
        protocol_hash=V1.hash(load("student", student).RECIPE),
        task=str(task),
        method=manifest.method,
        distill_seed=manifest.seed,
        track=manifest.labels,
        external=bool(manifest.external_data),
        submission_sha256=manifest.sha256,
        store_digest=store.digest,
        student=student,
        seed=seed,
        top1=scores["top1"],
        top5=scores["top5"],
        centre_top1=scores["centre_top1"],
        validation_top1=0.0,
        holdout=manifest.holdout,
        num_test=len(store.test),
        num_missing=store.num_missing,
        student_steps=task.student_steps(store.spec),
        num_classes=store.spec.num_classes,
        payload_bytes=scored.submission.payload_bytes,
        budget_bytes=task.budget_bytes(store.spec),
        clips_per_class=len(scored.clipset) / store.spec.num_classes,
        clip_steps=0,
        train_seconds=trained.seconds,
        test_seconds=test_seconds,
        peak_memory_bytes=peak_memory_bytes(device),
        predictions_sha256="0" * 64,
        environment=Environment(
            vddbench=__version__,
            git_commit=git_commit(),
            python=platform.python_version(),
            torch=torch.__version__,
            cuda=torch.version.cuda or "" if device.type == "cuda" else "",
            device=device_name(device),
            num_threads=torch.get_num_threads(),
            precision=trained.precision,
            micro_batch=trained.micro_batch,
        ),
        checks={"finite": finite, "finite_loss": trained.finite},
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
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

    Names are looked up and submissions checked before anything is trained. An interrupted call resumes: what is recorded
    stays and only missing seeds run. `force=True` runs all of them and writes beside what is there.
    """
    device = device or best_device()
    for student in students:
        load("student", student)
    written = []
    for scored in [open_scored(path) for path in paths]:
        for student in students:
            for seed in seeds:
                written.append(_evaluate_cell(scored, student, seed, results, force, device))
    return written


def _evaluate_cell(scored: Scored, student: str, seed: int, results: Path, force: bool, device: torch.device) -> Path:
    manifest = scored.submission.manifest
    path = cell_path(results, str(scored.task), manifest.method, manifest.sha256, student, seed)
    if path.exists() and not force:
        record, _ = read_record(path)
        if record.store_digest != scored.store.digest:
            raise ValueError(
                f"{path} was made with another prepared store ({record.store_digest[:8]}, now {scored.store.digest[:8]}); "
                "use another --results folder, or prepare the store it was made with"
            )
        say(f"{path}: recorded already, top-1 {record.top1:.1%}")
        return path
    record, predictions = evaluate_seed(scored, student, seed, device)
    path = write_record(results, record, predictions, beside=force)
    flag = "" if record.checks["finite"] else "  the student collapsed (NaN): recorded as a result"
    say(f"{path}: top-1 {record.top1:.1%}, {record.train_seconds:.0f} s training{flag}")
    return path
