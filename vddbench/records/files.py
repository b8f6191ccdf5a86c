"""Records on disk: `results/TASK/METHOD@SHA8/STUDENT/seedN.json` (METHOD-sN@SHA8 for distillation seed N > 0) and its
predictions in `seedN.npz`. Published ones are `seedN.ADDRESS.json`, so that two labs' records of one cell keep out of each
other's way. No torch.

A record is written once and never edited. The headline is never believed: reading recomputes it from the predictions and
refuses a record that disagrees.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pydantic import ValidationError

from vddbench.records.predictions import MAX_NPZ_BYTES, Predictions, read_predictions
from vddbench.records.record import Record
from vddbench.system.files import parse_json, replacing, write_new

MAX_JSON_BYTES = 1_000_000
PART_SECONDS = 3600  # a live writer finishes its temporary file within seconds
ADDRESS_DIGITS = 16  # of the sha256 of a record's JSON, which holds the sha256 of its predictions
PUBLISHED = re.compile(rf"seed[0-9]+\.[0-9a-f]{{{ADDRESS_DIGITS}}}")
RERUN = re.compile(r"seed[0-9]+\.rerun[0-9]+")
FIELDS_SHOWN = 5  # wrong fields named in one message


def cell_path(root: Path, cell: str, student: str, seed: int) -> Path:
    """The path of one evaluation's record below a results folder; `cell` is the submission's TASK/METHOD[-sN]@SHA8."""
    return root / cell / student / f"seed{seed}.json"


def path_of(root: Path, record: Record) -> Path:
    """Where a record stands below a results folder."""
    return cell_path(root, record.cell, record.student, record.seed)


def address(data: bytes) -> str:
    """What a record's file is called by when it is published; of its JSON's bytes."""
    return hashlib.sha256(data).hexdigest()[:ADDRESS_DIGITS]


def published_path(record: Record, data: bytes) -> Path:
    """Where the record with these bytes stands below the published records: the same for whoever publishes it."""
    due = path_of(Path(), record)
    return due.with_name(f"{due.stem}.{address(data)}.json")


def write_record(root: Path, record: Record, predictions: Predictions, *, beside: bool = False) -> Path:
    """Writes npz, then JSON; both appear whole. Of processes that write one cell at the same time, exactly one wins.

    `beside=True` writes `seedN.rerunK.json` for the first free K >= 1 instead, leaving the first record as it is. Raises
    FileExistsError when the cell is recorded already, ValueError, before anything is written, when the record could not be
    read again.
    """
    path = path_of(root, record)
    data = predictions.to_npz()
    if len(data) > MAX_NPZ_BYTES:
        raise ValueError(f"predictions take {len(data):,} bytes; at most {MAX_NPZ_BYTES:,} are read")
    record = record.model_copy(update={"predictions_sha256": hashlib.sha256(data).hexdigest()})
    _check_answers(path, record, read_predictions(data))
    with _locked(path):
        _remove_parts(path.parent)
        if beside and path.exists():
            reruns = (path.with_name(f"seed{record.seed}.rerun{k}.json") for k in count(1))
            path = next(p for p in reruns if not p.exists())
        if path.exists():
            raise FileExistsError(f"{path} was recorded already; records are never overwritten")
        with replacing(path.with_suffix(".npz")) as file:  # one may be left of a process killed before it wrote the JSON
            file.write(data)
        write_new(path, lambda file: file.write(record.model_dump_json(indent=1).encode() + b"\n"))
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock of the cell of `path`, waiting for it. `seedN.lock` vanishes afterwards."""
    import fcntl  # not on Windows, where records can still be read and ranked

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name.split(".")[0] + ".lock")
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_file(handle, lock):
                continue  # the holder before us removed the file we waited for: a newer one is the lock
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)  # while it is held: nobody else can hold a file of this name
            return
        finally:
            os.close(handle)


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove_parts(folder: Path) -> None:
    """Temporary files of writers that were killed."""
    for part in folder.glob(".*.part"):
        if part.is_file() and time.time() - part.stat().st_mtime > PART_SECONDS:
            part.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Renames a damaged record and its predictions, whichever are there, to `seedN.brokenK.{json,npz}` for the first free
    K >= 1, where nothing reads them; returns that JSON path. The cell can be evaluated again then. Raises FileNotFoundError
    when there is neither."""
    with _locked(path):
        files = [file for file in (path, path.with_suffix(".npz")) if file.exists() or file.is_symlink()]
        if not files:
            raise FileNotFoundError(f"no record at {path} to set aside")
        for k in count(1):
            aside = path.with_name(f"{path.stem}.broken{k}.json")
            if not aside.exists() and not aside.with_suffix(".npz").exists():
                break
        for file in files:
            file.rename(aside.with_suffix(file.suffix))
    return aside


def read_record(path: Path) -> tuple[Record, Predictions]:
    """Reads and verifies one record. Raises ValueError naming the file and what disagrees."""
    npz = path.with_suffix(".npz")
    for file, limit in ((path, MAX_JSON_BYTES), (npz, MAX_NPZ_BYTES)):
        if not file.is_file():
            raise ValueError(f"record {path}: {file.name} is missing; evaluate this cell again")
        if file.stat().st_size > limit:
            raise ValueError(f"record {path}: {file.name} has {file.stat().st_size:,} bytes; at most {limit:,} are read")
    try:
        text = path.read_bytes()
        parse_json(text, MAX_JSON_BYTES)
        record = Record.model_validate_json(text)
        data = npz.read_bytes()
        predictions = read_predictions(data)
    except ValidationError as error:
        raise ValueError(f"record {path} is not valid: {_problems(error)}") from error
    except ValueError as error:
        raise ValueError(f"record {path} is not valid: {str(error)[:500]}") from error
    _check_place(path, record, address(text))
    if record.predictions_sha256 != hashlib.sha256(data).hexdigest():
        raise ValueError(f"record {path}: {npz.name} is not the file it was written with (sha256 differs)")
    _check_answers(path, record, predictions)
    return record, predictions


def _problems(error: ValidationError) -> str:
    """One line: which fields, what is wrong. Names may be a stranger's."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{ascii('.'.join(map(str, e['loc'])))[:80]}: {e['msg'][:200]}" for e in found[:FIELDS_SHOWN]]
    more = f"; and {len(found) - FIELDS_SHOWN} more" if len(found) > FIELDS_SHOWN else ""
    return "; ".join(lines) + more


def _check_place(path: Path, record: Record, of_text: str) -> None:
    due = path_of(path.parents[3], record)
    seed, _, more = path.stem.partition(".")
    if path.parent != due.parent or seed != due.stem:
        raise ValueError(f"record {path}: its path says something else than its fields, by which it belongs at {due}")
    if PUBLISHED.fullmatch(path.stem) and more != of_text:
        raise ValueError(f"record {path}: its content has the address {of_text}; it was changed after it was published")


def _check_answers(path: Path, record: Record, predictions: Predictions) -> None:
    """Raises ValueError unless the record says what its predictions give, and keeps its budget."""
    classes, width = record.num_classes, predictions.top5.shape[1]
    if width != min(5, classes):
        raise ValueError(f"record {path}: top5 has {width} columns; due for {classes} classes: {min(5, classes)}")
    for name in ("label", "top5", "centre_top1"):
        if (highest := int(getattr(predictions, name).max())) >= classes:
            raise ValueError(f"record {path}: {name} holds {highest}; allowed for {classes} classes: up to {classes - 1}")
    for name, value in (*predictions.scores().items(), ("num_test", len(predictions.label))):
        if not abs(getattr(record, name) - value) <= 1e-9:  # nor NaN
            raise ValueError(f"record {path} says {name} = {getattr(record, name)}; its predictions give {value}")
    if record.checks.get("finite") != bool((predictions.top5 >= 0).all()):
        raise ValueError(f"record {path}: checks.finite disagrees with its predictions")
    budget = record.budget_bytes
    if (budget is None) != (record.task.ipc is None):
        raise ValueError(f"record {path} says budget_bytes = {budget}; a budget is due for every task but DATASET-full")
    if budget is not None and record.payload_bytes > budget:
        raise ValueError(f"record {path}: payload_bytes = {record.payload_bytes:,} are over budget_bytes = {budget:,}")


def record_files(root: Path, cell: str = "*/*@*") -> Iterator[Path]:
    """All record files under a results folder, sorted; no reruns (`--force`), nothing that was set aside. cell: only those of
    TASK/METHOD@SHA8."""
    for path in all_record_files(root, cell):
        if not RERUN.fullmatch(path.stem):
            yield path


def all_record_files(root: Path, cell: str = "*/*@*") -> Iterator[Path]:
    """With the reruns. cell: only those of TASK/METHOD@SHA8."""
    for path in sorted(root.glob(f"{cell}/*/seed*.json")):
        if "." not in path.stem or PUBLISHED.fullmatch(path.stem) or RERUN.fullmatch(path.stem):
            yield path
