"""Scores a submission: trains new students on its decoded clips, tests them once on the test videos, writes records.

Besides the studies `precision`, `test-precision` and `sdd` this is the only file that scores on the test split.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from vddbench.data.frames_check import check_test_frames
from vddbench.evaluation.hardware import Hardware, arithmetic, hardware_for
from vddbench.evaluation.predict import num_clips
from vddbench.evaluation.probes import checked_change, frame_orders, probe
from vddbench.evaluation.ready import ReadySubmission, decoded, open_with_store, without_motion
from vddbench.evaluation.record_fields import check_same, environment, identity, measured
from vddbench.evaluation.resume import Checkpoint
from vddbench.evaluation.session import Session
from vddbench.lookup import file_of, load
from vddbench.protocol import PROTOCOL, Protocol, Sdd
from vddbench.records.files import cell_path, read_record, set_aside, write_record
from vddbench.records.predictions import Predictions
from vddbench.records.record import FITTED, Record
from vddbench.system.allocator import keep_freed_memory
from vddbench.system.device import chosen_device, forget_peak_memory, peak_memory_bytes
from vddbench.system.files import check_writable, sha256_file, write_whole
from vddbench.system.interrupt import interruptible
from vddbench.system.progress import bar, say

UNFINISHED = ".unfinished"  # suffix of a student's checkpoint; its record has .json instead
NETWORK = ".network"  # suffix of the trained network, as safetensors, if it is kept


def evaluate(
    paths: str | Path | Sequence[str | Path],
    *,
    students: str | Sequence[str],
    seeds: int | Sequence[int],
    results: str | Path,
    force: bool = False,
    device: torch.device | None = None,
    probes: bool = False,
    frames: str | None = None,
    protocol: Protocol | Sdd = PROTOCOL,
) -> list[Path]:
    """Records every (submission, student, seed) that is not recorded yet, and returns the paths of all their records.

    paths, students: one or several. seeds: N for 0..N-1, or the seeds. force: evaluate again even if a record exists, and write
    the new record beside the old one. probes: also test each student on test videos without motion. frames: "frozen" or
    "shuffled" trains on clips without motion instead and records that under another name; see probes.py. protocol: SDD of
    vddbench.protocol replays released code; its records are never ranked.

    Names, submissions and the results folder are checked before anything is trained. Only the clips of one submission are in
    memory at a time, so several submissions are decoded twice each: 10 s for 500 JPEG clips of miniucf-ipc10 on one core. A
    repeated call resumes an interrupted one: records stay, and an unfinished student's training continues.
    """
    folders = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    students = [students] if isinstance(students, str) else students
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    for student in students:
        load("student", student).build  # noqa: B018 - an unknown name or a broken file fails here
    change = checked_change(frames)
    if isinstance(protocol, Sdd):
        check_as_released(protocol, probes)
    check_writable(Path(results))
    submissions = [open_with_store(folder) for folder in folders]
    if len(submissions) > 1:
        for opened in submissions:
            decoded(opened, protocol)  # refuses the submission; the clips are not kept
    device = chosen_device(device)
    records: list[Path] = []
    for opened in submissions:
        scored = replace(decoded(opened, protocol), is_probed=probes)
        scored = without_motion(scored, change) if change else scored
        records += [
            evaluate_cell(scored, student, seed, Path(results), force, device) for student in students for seed in seeds
        ]
        del scored  # before the next one is decoded
    return records


def check_as_released(protocol: Sdd, probes: bool) -> None:
    """Raises LookupError for a protocol with mended faults, which has no records, and for probes."""
    if protocol != Sdd(epochs=protocol.epochs):
        raise LookupError("records have the faults of protocol sdd; `python leaderboard/studies sdd` measures mended ones")
    if probes:
        raise LookupError(f"probes work with protocol {PROTOCOL.name} only; leave out --probes")


def evaluate_cell(
    scored: ReadySubmission,
    student: str,
    seed: int,
    results: Path,
    force: bool,
    device: torch.device,
    halvings: int = 0,
    by: str | None = None,
    drawn_from: str | None = None,
    keep_network: bool = False,
) -> Path:
    """Returns the path of the cell's record, which is made if it does not exist.

    A damaged record is moved aside, never deleted, and made again. halvings: how often memory ran out before. by: for a re-run,
    the user who makes it. drawn_from: the commit from which a fresh seed was derived. keep_network: save the trained network
    beside a record that is made now.
    """
    manifest = scored.submission.manifest
    cell = identity(manifest, scored.store.digest, student, seed, scored.protocol)
    path = cell_path(results, manifest.cell, student, seed, scored.protocol.name)
    if not force and (record := existing(path, cell)):
        lacks = scored.is_probed and record.still_top1 is None
        hint = "; without probes: use another --results folder for a record with them" if lacks else ""
        say(f"{path}: recorded already, top-1 {record.top1:.1%}{hint}")
        path.with_suffix(UNFINISHED).unlink(missing_ok=True)  # left by a process that another one overtook
        return path
    precision = scored.protocol.train_precision
    hardware = hardware_for(load("student", student), device, precision=precision, halvings=halvings)
    unfinished = path.with_suffix(f".rerun{UNFINISHED}" if force else UNFINISHED)  # a rerun shares nothing with the first run
    network_file = sha256_file(file_of("student", student))[:8]  # the author of a student changes it between runs
    checkpoint = Checkpoint(unfinished, {**cell, "task": str(manifest.task), "file": network_file, **arithmetic(hardware)})
    with interruptible() as stop:
        network = path.with_suffix(NETWORK) if keep_network else None
        record, predictions = evaluate_seed(scored, student, seed, hardware, checkpoint, stop, network)
        path = save_record(results, record.model_copy(update={"by": by, "drawn_from": drawn_from}), predictions, path, force)
        checkpoint.remove()
    if stop:  # the signal came during the test
        raise KeyboardInterrupt
    return path


def evaluate_seed(
    scored: ReadySubmission,
    student: str,
    seed: int,
    hardware: Hardware,
    checkpoint: Checkpoint | None = None,
    stop: Sequence[int] = (),
    network: Path | None = None,
) -> tuple[Record, Predictions]:
    """Trains one student and tests it once. Writes only the checkpoint, and the trained network if `network` names a file.

    stop: see Session.

    Raises ValueError if the test frames are not those that were prepared.
    """
    keep_freed_memory()
    check_test_frames(scored.store)  # before the training, so that no time is lost
    store, referee, device = scored.store, scored.referee(student), hardware.device
    forget_peak_memory(device)
    with bar(f"{scored.task} {scored.submission.path.name} {student} seed {seed}", referee.steps) as progress:
        trained = referee.train(seed, hardware, Session(checkpoint, on_step=progress.advance, stop=stop))
    if network is not None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.model.state_dict().items()}
        write_whole(network, save(weights))
    compared = scored.leaks
    fit = referee.fit(trained.model, device)
    check_test_frames(store)  # hashes them again only if the file has changed during the training
    started = time.monotonic()
    with bar("  testing", referee.num_clips(store.test) + referee.num_clips(store.validation)) as progress:
        answers = partial(referee.predict, trained.model, seed=seed, device=device, on_clips=progress.advance)
        predictions = answers(store.test)
        held_out = answers(store.validation) if len(store.validation) else None
    test_seconds = time.monotonic() - started
    probed: dict[str, Any] = {}
    if scored.is_probed:
        with bar("  probing", len(frame_orders(store.spec.frames)) * num_clips(store.test)) as progress:
            probed = probe(trained.model, store.test, device, progress.advance)
    scores = predictions.scores()
    record = Record(
        **identity(scored.submission.manifest, store.digest, student, seed, scored.protocol),
        **measured(scored, student),
        top1=scores["top1"],
        top5=scores["top5"],
        centre_top1=scores["centre_top1"],
        store_fingerprint=store.fingerprint,
        validation_top1=held_out.scores()["top1"] if held_out else None,
        train_seconds=trained.seconds,
        test_seconds=test_seconds,
        peak_memory_bytes=max(trained.peak_memory_bytes, peak_memory_bytes(device)),
        predictions_sha256="0" * 64,  # write_record measures it
        environment=environment(trained, device),
        checks={"finite": bool((predictions.answers >= 0).all()), "finite_loss": trained.finite},
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        fit_top1=fit.top1,
        fit_loss=fit.loss,
        suspect_clips=len(compared.leaks) if compared else None,
        compared_clips=compared.num_compared if compared else None,
        trained_on=scored.trained_on,
        **probed,
    )
    return record, predictions


def existing(path: Path, cell: dict[str, Any]) -> Record | None:
    """The record at `path`. Returns None if it does not exist or is damaged; logs damage and moves the record's files aside.

    cell: the `identity` that it must have. Raises ValueError if it has another one.
    """
    if not path.exists():
        return None
    try:
        record, _ = read_record(path)
    except ValueError as error:
        with suppress(FileNotFoundError):  # another process moved it aside first
            say(f"{error}; moved to {set_aside(path).name}, evaluating again", style="yellow")
        return None
    check_same(path, record, cell)
    return record


def save_record(results: Path, record: Record, predictions: Predictions, path: Path, force: bool) -> Path:
    """Writes the record and returns its path. If another process recorded the cell meanwhile, that record stays."""
    try:
        written = write_record(results, record, predictions, beside=force)
    except FileExistsError:
        say(f"{path}: another process recorded it meanwhile; its record stays")
        return path
    notes = "" if record.checks["finite"] else "  the student collapsed (NaN): recorded as a result"
    notes += "  (beside the first record, which stays the ranked one)" if written != path else ""
    say(f"{written}: top-1 {record.top1:.1%}, {record.train_seconds:.0f} s training{notes}")
    if record.still_top1 is not None:
        say(
            f"  without motion: {record.shuffled_top1:.1%} with shuffled frames, {record.reversed_top1:.1%} reversed, "
            f"{record.still_top1:.1%} with the middle frame repeated"
        )
    if record.fitted is False:
        loss = "not finite" if record.fit_loss is None else f"{record.fit_loss:.3g}"
        say(
            f"  this student did not fit its own set: it gets {record.fit_top1:.1%} of the submission's clips right, "
            f"{FITTED:.0%} count as fitted (loss {loss}); its score may measure a failed training rather than the set",
            style="yellow",
        )
    return written
