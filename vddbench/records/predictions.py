"""Predictions: what a student answered on every test video; an npz of six arrays, read without trusting a byte. No torch."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

MAX_TEXT_LETTERS = 512  # of a video's or a group's name
MAX_NPZ_BYTES = 64_000_000  # Something-Something V2's 24,777 test videos take about 6 MB uncompressed


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
    if dtype.kind == "U" and dtype.itemsize > 4 * MAX_TEXT_LETTERS:
        raise ValueError(
            f"predictions: array {name!r} has names of {dtype.itemsize // 4:,} letters; allowed: {MAX_TEXT_LETTERS}"
        )
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
