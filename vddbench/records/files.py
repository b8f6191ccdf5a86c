"""Records on disk: `results/TASK/METHOD[-sN]@SHA8/STUDENT/seedN.json`, with its predictions beside it in `seedN.safetensors`.

A published record is `seedN.ADDRESS.json`: ADDRESS follows from its content, so that records of one cell by several people have
different names. A record is written once and never edited. Its scores are never trusted: reading computes them again from the
predictions and refuses a record that differs.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path

from pydantic import ValidationError

from vddbench.protocol import PROTOCOL, SDD
from vddbench.records.predictions import MAX_PREDICTIONS_BYTES, Predictions, read_predictions
from vddbench.records.record import Record
from vddbench.system.files import parse_json, write_new, write_whole
from vddbench.system.locks import locked

MAX_JSON_BYTES = 1_000_000
PART_SECONDS = 3600  # a live writer finishes its temporary file within seconds
ADDRESS_DIGITS = 16  # of the sha256 of a record's JSON, which holds the sha256 of its predictions
PREDICTIONS = ".safetensors"
PUBLISHED = re.compile(rf"seed[0-9]+\.[0-9a-f]{{{ADDRESS_DIGITS}}}")
RERUN = re.compile(r"seed[0-9]+\.rerun[0-9]+")
FIELDS_SHOWN = 5  # invalid fields named in one message


def cell_path(root: Path, cell: str, student: str, seed: int, protocol: str = PROTOCOL.name) -> Path:
    """The path of one evaluation's record below a results folder; `cell` is the submission's TASK/METHOD[-sN]@SHA8.

    Records of protocol sdd are in `STUDENT-sdd`, beside those that are ranked.
    """
    return root / cell / (f"{student}-{SDD.name}" if protocol == SDD.name else student) / f"seed{seed}.json"


def path_of(root: Path, record: Record) -> Path:
    """The path of a record below a results folder."""
    return cell_path(root, record.cell, record.student, record.seed, record.protocol)


def address(data: bytes) -> str:
    """The part of a published record's file name that follows from the bytes of its JSON."""
    return hashlib.sha256(data).hexdigest()[:ADDRESS_DIGITS]


def published_path(record: Record, data: bytes) -> Path:
    """The path of a record with the JSON `data` below the published records. It does not depend on who publishes it."""
    path = path_of(Path(), record)
    return path.with_name(f"{path.stem}.{address(data)}.json")


def write_record(root: Path, record: Record, predictions: Predictions, *, beside: bool = False) -> Path:
    """Writes the predictions, then the JSON; each file appears whole. If several processes write one cell, one succeeds.

    `beside=True` writes `seedN.rerunK.json` for the first free K >= 1 if the cell is already recorded. Raises FileExistsError
    if the cell is already recorded, and ValueError, before anything is written, if reading the record would refuse it.
    """
    path = path_of(root, record)
    data = predictions.to_safetensors()
    record = record.model_copy(update={"predictions_sha256": hashlib.sha256(data).hexdigest()})
    _check_answers(path, record, read_predictions(data))
    with _cell_locked(path):
        _remove_parts(path.parent)
        if beside and path.exists():
            reruns = (path.with_name(f"seed{record.seed}.rerun{k}.json") for k in count(1))
            path = next(rerun for rerun in reruns if not rerun.exists())
        if path.exists():
            raise FileExistsError(f"{path} was recorded already; records are never overwritten")
        write_whole(path.with_suffix(PREDICTIONS), data)  # a process killed before it wrote the JSON may have left one
        write_new(path, lambda file: file.write(record.model_dump_json(indent=1).encode() + b"\n"))
    return path


def _cell_locked(path: Path) -> AbstractContextManager[int]:
    """Holds the lock `seedN.lock` of the cell of `path`, waiting for it."""
    return locked(path.with_name(path.name.split(".")[0] + ".lock"), remove=True)


def _remove_parts(folder: Path) -> None:
    """Deletes temporary files that killed writers left."""
    for part in folder.glob(".*.part"):
        if part.is_file() and time.time() - part.stat().st_mtime > PART_SECONDS:
            part.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Renames a damaged record and its predictions, whichever exist, to `seedN.brokenK.*` for the first free K >= 1.

    Returns the new path of the JSON. Nothing reads files of that name, so the cell can be evaluated again. Raises
    FileNotFoundError if neither file exists.
    """
    with _cell_locked(path):
        files = [file for file in (path, path.with_suffix(PREDICTIONS)) if file.exists() or file.is_symlink()]
        if not files:
            raise FileNotFoundError(f"no record at {path} to set aside")
        names = (path.with_name(f"{path.stem}.broken{k}.json") for k in count(1))
        aside = next(name for name in names if not name.exists() and not name.with_suffix(PREDICTIONS).exists())
        for file in files:
            file.rename(aside.with_suffix(file.suffix))
    return aside


def read_record(path: Path) -> tuple[Record, Predictions]:
    """Reads and verifies one record. Raises ValueError naming the file and what disagrees."""
    predictions_path = path.with_suffix(PREDICTIONS)
    text, data = _bytes(path, path, MAX_JSON_BYTES), _bytes(path, predictions_path, MAX_PREDICTIONS_BYTES)
    try:
        record = Record.model_validate(parse_json(text, MAX_JSON_BYTES))
        predictions = read_predictions(data)
    except ValidationError as error:
        raise ValueError(f"record {path} is not valid: {_problems(error)}; evaluate this cell again") from error
    except ValueError as error:
        raise ValueError(f"record {path} is not valid: {str(error)[:500]}") from error
    _check_place(path, record, address(text))
    if record.predictions_sha256 != hashlib.sha256(data).hexdigest():
        raise ValueError(f"record {path}: {predictions_path.name} is not the file it was written with (sha256 differs)")
    _check_answers(path, record, predictions)
    return record, predictions


def _bytes(record: Path, file: Path, max_bytes: int) -> bytes:
    """The content of one of a record's two files. Raises ValueError if it is missing or has more than max_bytes."""
    if not file.is_file():
        raise ValueError(f"record {record}: {file.name} is missing; evaluate this cell again")
    if file.stat().st_size > max_bytes:
        raise ValueError(f"record {record}: {file.name} has {file.stat().st_size:,} bytes; at most {max_bytes:,} are read")
    return file.read_bytes()


def _problems(error: ValidationError) -> str:
    """One line that names the invalid fields and what is wrong. The names may come from a stranger."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{ascii('.'.join(map(str, e['loc'])))[:80]}: {e['msg'][:200]}" for e in errors[:FIELDS_SHOWN]]
    more = f"; and {len(errors) - FIELDS_SHOWN} more" if len(errors) > FIELDS_SHOWN else ""
    return "; ".join(lines) + more


def _check_place(path: Path, record: Record, content_address: str) -> None:
    """Raises ValueError unless the path agrees with the record's fields."""
    expected = path_of(path.parents[3], record)
    seed, _, suffix = path.stem.partition(".")
    if path.parent != expected.parent or seed != expected.stem:
        raise ValueError(f"record {path}: its path differs from its fields; its fields say that it belongs at {expected}")
    if PUBLISHED.fullmatch(path.stem) and suffix != content_address:
        raise ValueError(f"record {path}: its content has the address {content_address}; it was changed after it was published")


def _check_answers(path: Path, record: Record, predictions: Predictions) -> None:
    """Raises ValueError unless the record's scores follow from its predictions and its payload is within its budget."""
    classes, width = record.num_classes, predictions.top5.shape[1]
    if width != min(5, classes):
        raise ValueError(f"record {path}: top5 has {width} columns; expected for {classes} classes: {min(5, classes)}")
    for name in ("label", "top5", "centre_top1", "later_top5"):
        values = getattr(predictions, name)
        if values is not None and (highest := int(values.max())) >= classes:
            raise ValueError(f"record {path}: {name} holds {highest}; allowed for {classes} classes: up to {classes - 1}")
    for name, value in (*predictions.scores().items(), ("num_test", len(predictions.label))):
        if not abs(getattr(record, name) - value) <= 1e-9:  # NaN is refused, too
            raise ValueError(f"record {path} says {name} = {getattr(record, name)}; its predictions give {value}")
    if (predictions.later_top5 is None) == record.is_replay:
        raise ValueError(f"record {path}: records of protocol {SDD.name}, and no others, have answers of several passes")
    if record.checks.get("finite") != bool((predictions.answers >= 0).all()):
        raise ValueError(f"record {path}: checks.finite disagrees with its predictions")
    budget = record.budget_bytes
    if (budget is None) != record.task.is_full:
        raise ValueError(f"record {path} says budget_bytes = {budget}; every task but DATASET-full must have a budget")
    if budget is not None and record.payload_bytes > budget:
        raise ValueError(f"record {path}: payload_bytes = {record.payload_bytes:,} are over budget_bytes = {budget:,}")


def record_files(root: Path, cell: str = "*/*@*") -> Iterator[Path]:
    """All record files under a results folder, sorted, without the author's reruns (`evaluate --force`).

    cell: only the records of TASK/METHOD[-sN]@SHA8.
    """
    for path in all_record_files(root, cell):
        if not RERUN.fullmatch(path.stem):
            yield path


def all_record_files(root: Path, cell: str = "*/*@*") -> Iterator[Path]:
    """All record files under a results folder, reruns included. cell: as in `record_files`."""
    for path in sorted(root.glob(f"{cell}/*/seed*.json")):
        if "." not in path.stem or PUBLISHED.fullmatch(path.stem) or RERUN.fullmatch(path.stem):
            yield path
