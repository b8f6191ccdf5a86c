"""Records on disk: `results/TASK/METHOD@SHA8/STUDENT/seedN.json` and its predictions in `seedN.npz`. No torch.

A record is written once and never edited. The headline is never believed: reading recomputes it from the predictions and
refuses a record that disagrees.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from vddbench.atomic import replacing, write_new
from vddbench.spec import Record

MAX_JSON_BYTES = 1_000_000
MAX_NPZ_BYTES = 64_000_000  # Something-Something V2's 24,777 test videos take about 6 MB uncompressed
SECONDS_FOR_JSON = 5.0  # a live writer puts the JSON beside its npz within milliseconds


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

    def to_npz(self) -> bytes:
        """Bytes of a compressed npz without pickled objects."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **{k: np.asarray(v) for k, v in vars(self).items()})
        return buffer.getvalue()


FIELDS = {"video": "U", "group": "U", "label": "i", "top5": "i", "true_probability": "f", "centre_top1": "i"}


def read_predictions(data: bytes) -> Predictions:
    """Raises ValueError for anything but the six arrays, sane in size, kind and shape."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
            if total > MAX_NPZ_BYTES:
                raise ValueError(f"predictions unpack to {total:,} bytes; at most {MAX_NPZ_BYTES:,} are read")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            if set(arrays.files) != set(FIELDS):
                raise ValueError(f"predictions hold {sorted(arrays.files)}; allowed: {sorted(FIELDS)}")
            found = {name: arrays[name] for name in FIELDS}
    except (zipfile.BadZipFile, EOFError, KeyError, OSError) as error:
        raise ValueError(f"predictions are no readable npz: {error}") from error
    rows = len(found["label"]) if found["label"].ndim == 1 else -1
    for name, kind in FIELDS.items():
        dims = 2 if name == "top5" else 1
        if found[name].dtype.kind != kind or found[name].ndim != dims or len(found[name]) != rows or rows == 0:
            raise ValueError(f"predictions: array {name!r} has dtype {found[name].dtype} and shape {found[name].shape}")
    return Predictions(**found)


def cell_path(root: Path, task: str, method: str, sha256: str, student: str, seed: int) -> Path:
    """Where the record of one (submission, student, seed) stands."""
    return root / task / f"{method}@{sha256[:8]}" / student / f"seed{seed}.json"


def write_record(root: Path, record: Record, predictions: Predictions, *, beside: bool = False) -> Path:
    """Writes npz, then JSON; both appear whole. Raises FileExistsError when the cell is recorded already.

    `beside=True` writes `seedN.rerunK.json` for the first free K >= 1 instead, leaving the first record as it is.
    """
    path = cell_path(root, record.task, record.method, record.submission_sha256, record.student, record.seed)
    if beside and path.exists():
        reruns = (path.with_name(f"seed{record.seed}.rerun{k}.json") for k in count(1))
        path = next(p for p in reruns if not p.exists())
    data = predictions.to_npz()
    record = record.model_copy(update={"predictions_sha256": hashlib.sha256(data).hexdigest()})
    npz = path.with_suffix(".npz")
    try:
        write_new(npz, lambda file: file.write(data))
    except FileExistsError:
        if _appears(path):
            raise FileExistsError(f"{path} was recorded already; records are never overwritten") from None
        with replacing(npz) as file:  # left behind by a process killed before it could write the JSON
            file.write(data)
    write_new(path, lambda file: file.write(record.model_dump_json(indent=1).encode() + b"\n"))
    return path


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + SECONDS_FOR_JSON
    while time.monotonic() < deadline:
        if path.exists():
            return True
        time.sleep(0.1)
    return False


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
    except (ValidationError, ValueError) as error:
        raise ValueError(f"record {path} is not valid: {error}") from error
    _verify(path, record, predictions, hashlib.sha256(data).hexdigest())
    return record, predictions


def _verify(path: Path, record: Record, predictions: Predictions, sha256: str) -> None:
    seed = re.fullmatch(r"seed(\d+)(\.rerun\d+)?", path.stem)
    identity = (path.parents[2].name, path.parents[1].name, path.parents[0].name, seed and int(seed[1]))
    said = (record.task, f"{record.method}@{record.submission_sha256[:8]}", record.student, record.seed)
    if identity != said:
        raise ValueError(f"record {path} says it is {said}; its path says {identity}")
    if record.predictions_sha256 != sha256:
        raise ValueError(f"record {path}: {path.stem}.npz is not the file it was written with (sha256 differs)")
    for name, value in (*predictions.scores().items(), ("num_test", len(predictions.label))):
        if abs(getattr(record, name) - value) > 1e-9:
            raise ValueError(f"record {path} says {name} = {getattr(record, name)}; its predictions give {value}")
    if record.checks.get("finite") != bool((predictions.top5 >= 0).all()):
        raise ValueError(f"record {path}: checks.finite disagrees with its predictions")


def record_files(root: Path, reruns: bool = False) -> Iterator[Path]:
    """All record files under a results folder, sorted; reruns (`--force`) only when asked for."""
    for path in sorted(root.glob("*/*@*/*/seed*.json")):
        if reruns or ".rerun" not in path.stem:
            yield path
