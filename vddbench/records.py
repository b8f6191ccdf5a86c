"""Records on disk: `results/TASK/METHOD@SHA8/STUDENT/seedN.json` (METHOD-sN@SHA8 for distillation seed N > 0) and its
predictions in `seedN.npz`. No torch.

A record is written once and never edited. The headline is never believed: reading recomputes it from the predictions and
refuses a record that disagrees.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from vddbench.atomic import replacing, write_new
from vddbench.spec import Record, Task

MAX_JSON_BYTES = 1_000_000
MAX_NPZ_BYTES = 64_000_000  # Something-Something V2's 24,777 test videos take about 6 MB uncompressed
PART_SECONDS = 3600  # a live writer finishes its temporary file within seconds
FIELDS_SHOWN = 5  # wrong fields named in one message


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a student answered, one row per test video in the store's order (V videos)."""

    video: np.ndarray  # [V] str: ids, to pair entries by
    group: np.ndarray  # [V] str: scene or person; "" where every video stands alone
    label: np.ndarray  # [V] int32
    top5: np.ndarray  # [V, min(5, K)] int32, best first; -1: the student's output was not finite, which counts as wrong
    true_probability: np.ndarray  # [V] float32 of the true class, mean of softmax over views
    centre_top1: np.ndarray  # [V] int32: the answer from the centre clip alone

    def scores(self) -> dict[str, float]:
        """top1, top5 and centre_top1 in [0, 1], recomputed."""
        hits = self.top5 == self.label[:, None]
        return {
            "top1": float(hits[:, 0].mean()),
            "top5": float(hits.any(1).mean()),
            "centre_top1": float((self.centre_top1 == self.label).mean()),
        }

    def videos_digest(self) -> str:
        """Of the test videos in their order with labels and groups: the same for all records of a prepared store."""
        rows = json.dumps([values.tolist() for values in (self.video, self.label, self.group)])
        return hashlib.sha256(rows.encode()).hexdigest()

    def to_npz(self) -> bytes:
        """Bytes of a compressed npz without pickled objects."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **{k: np.ascontiguousarray(v) for k, v in vars(self).items()})
        return buffer.getvalue()


FIELDS = {"video": "U", "group": "U", "label": "i", "top5": "i", "true_probability": "f", "centre_top1": "i"}
NPY_START = re.compile(  # as np.save writes it, and nothing else: no Python literal is evaluated
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>][Uif]\d{1,8})', 'fortran_order': False, 'shape': \((\d{1,9}), ?(\d{1,9})?\), \} *\n",
    re.DOTALL,
)
BROKEN_ZIP = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, OSError, LookupError,
    MemoryError, OverflowError,
)  # fmt: skip


def read_predictions(data: bytes) -> Predictions:
    """Raises ValueError for anything but the six arrays, sane in size, kind, shape and values."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive.infolist())
            found = {name: _read_array(archive, name) for name in FIELDS}
    except BROKEN_ZIP as error:
        raise ValueError(f"predictions are no readable npz: {str(error) or type(error).__name__}") from error
    rows = len(found["label"])
    for name, kind in FIELDS.items():
        dims = 2 if name == "top5" else 1
        array = found[name]
        if array.dtype.kind != kind or array.ndim != dims or len(array) != rows or 0 in array.shape:
            raise ValueError(f"predictions: array {name!r} has dtype {array.dtype} and shape {array.shape}")
    predictions = Predictions(**found)
    _check_values(predictions)
    return predictions


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Raises ValueError unless they are the six arrays, once each, and unpack to a sane size without a password."""
    total = sum(member.file_size for member in members)
    if total > MAX_NPZ_BYTES:
        raise ValueError(f"predictions unpack to {total:,} bytes; at most {MAX_NPZ_BYTES:,} are read")
    names = sorted(member.filename for member in members)
    if names != sorted(f"{name}.npy" for name in FIELDS):
        found = ascii(names[:10])[:300]
        raise ValueError(f"predictions hold {len(names)} arrays {found}; allowed, once each: {sorted(FIELDS)}")
    for member in members:
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or member.flag_bits & 1:
            raise ValueError(
                f"predictions: {member.filename} has compression method {member.compress_type} and flags "
                f"{member.flag_bits:#x}; allowed: stored or deflated, not encrypted"
            )


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array, whose header must account for every byte of its member before anything is made of it."""
    data = archive.read(f"{name}.npy")
    start = NPY_START.match(data)
    if start is None or int.from_bytes(data[8:10], "little") + 10 != start.end():
        raise ValueError(f"predictions: {name}.npy is no array of text, integers or floats as numpy.save writes it")
    try:
        dtype = np.dtype(start[1].decode())
    except TypeError as error:
        raise ValueError(f"predictions: array {name!r} has dtype {start[1]!a}") from error
    shape = tuple(int(size) for size in start.groups()[1:] if size is not None)
    if math.prod(shape) * dtype.itemsize != len(data) - start.end():
        raise ValueError(f"predictions: array {name!r} claims {shape} {dtype}, its data has {len(data) - start.end():,} bytes")
    if 0 in shape:
        return np.empty(shape, dtype)
    array = np.frombuffer(data, dtype, offset=start.end())
    if dtype.kind == "U" and array.view(f"{dtype.byteorder}u4").max() > sys.maxunicode:  # NumPy reads it, Python stumbles
        raise ValueError(f"predictions: array {name!r} holds a character that is no Unicode")
    return array.reshape(shape)


def _check_values(predictions: Predictions) -> None:
    """What holds for any number of classes. Raises ValueError naming the first video at fault."""
    top5, probability = predictions.top5, predictions.true_probability
    ordered = np.sort(top5, axis=1)
    wrong = {
        "top5 names a class twice or below -1": ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] != -1)).any(1)
        | (ordered[:, 0] < -1),
        "top5 is -1 in a part of its row; allowed: all of it": (top5 == -1).any(1) != (top5 == -1).all(1),
        "true_probability is outside [0, 1]": ~((probability >= 0) & (probability <= 1)),
        "label is negative": predictions.label < 0,
        "centre_top1 is below -1": predictions.centre_top1 < -1,
    }
    for what, where in wrong.items():
        if where.any():
            raise ValueError(f"predictions: {what} (first in row {int(where.argmax())})")
    if len(set(predictions.video.tolist())) != len(predictions.video):
        raise ValueError("predictions: a video is there twice; allowed: one row for each test video")


def cell_path(root: Path, task: str, folder: str, sha256: str, student: str, seed: int) -> Path:
    """Where the record of one (submission, student, seed) stands; `folder` is the submission's, METHOD or METHOD-sN."""
    return root / task / f"{folder}@{sha256[:8]}" / student / f"seed{seed}.json"


def path_of(root: Path, record: Record) -> Path:
    """Where a record stands below a results folder."""
    folder = record.method if record.distill_seed == 0 else f"{record.method}-s{record.distill_seed}"
    return cell_path(root, record.task, folder, record.submission_sha256, record.student, record.seed)


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
        record = Record.model_validate_json(path.read_bytes())
        data = npz.read_bytes()
        predictions = read_predictions(data)
    except ValidationError as error:
        raise ValueError(f"record {path} is not valid: {_problems(error)}") from error
    except ValueError as error:
        raise ValueError(f"record {path} is not valid: {error}") from error
    _check_place(path, record)
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


def _check_place(path: Path, record: Record) -> None:
    due = path_of(path.parents[3], record)
    if path.parent != due.parent or path.stem.partition(".rerun")[0] != due.stem:
        raise ValueError(f"record {path}: its path says something else than its fields, by which it belongs at {due}")


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
    if (budget is None) != (Task.parse(record.task).ipc is None):
        raise ValueError(f"record {path} says budget_bytes = {budget}; a budget is due for every task but DATASET-full")
    if budget is not None and record.payload_bytes > budget:
        raise ValueError(f"record {path}: payload_bytes = {record.payload_bytes:,} are over budget_bytes = {budget:,}")


def record_files(root: Path) -> Iterator[Path]:
    """All record files under a results folder, sorted; no reruns (`--force`), nothing that was set aside."""
    for path in sorted(root.glob("*/*@*/*/seed*.json")):
        if "." not in path.stem:
            yield path
