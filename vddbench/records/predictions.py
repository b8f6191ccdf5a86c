"""Predictions: a student's answer for every test video, in a safetensors file that is read without trusting a byte."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vddbench.system.files import parse_json

MAX_PREDICTIONS_BYTES = 64_000_000  # Something-Something V2's 24,777 test videos take about 2 MB
MAX_HEADER_BYTES = 10_000  # the nine tensors need about 800
MAX_NAME_BYTES = 2048  # of a video or a group, in UTF-8
REMEMBERED_BYTES = 4_000_000  # of names; those of most datasets take less, and all records of a store have the same
TEXTS = ("video", "group")
DTYPES = {  # of the file's tensors; names are stored as joined UTF-8 text, and as the length of each name in bytes
    "video": "U8", "video_bytes": "I32", "group": "U8", "group_bytes": "I32", "label": "I32", "top5": "I32",
    "true_probability": "F32", "centre_top1": "I32",
}  # fmt: skip
LATER = "later_top5"  # a ninth tensor, int32, of protocols that test several times


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A student's answers, one row per test video in the store's order (V videos)."""

    video: np.ndarray  # [V] str, or objects if read from a file: ids, by which entries are paired
    group: np.ndarray  # [V] str: scene or person; "" if the video belongs to none
    label: np.ndarray  # [V] int32
    top5: np.ndarray  # [V, min(5, K)] int32, best first; -1: the student's output was not finite, which counts as wrong
    true_probability: np.ndarray  # [V] float32: probability of the true class, the mean of softmax over views
    centre_top1: np.ndarray  # [V] int32: the answer from the centre clip alone
    later_top5: np.ndarray | None = None  # [V, passes - 1, min(5, K)] int32, as top5, of the later passes of protocol sdd

    @property
    def answers(self) -> np.ndarray:
        """[V, passes, min(5, K)]: the best answers of every pass over the test videos."""
        first = self.top5[:, None]
        return first if self.later_top5 is None else np.concatenate([first, self.later_top5], axis=1)

    def scores(self) -> dict[str, float]:
        """top1, top5 and centre_top1 in [0, 1], computed from the answers; means over passes."""
        hits = self.answers == self.label[:, None, None]
        return {
            "top1": float(hits[:, :, 0].mean()),
            "top5": float(hits.any(2).mean()),
            "centre_top1": float((self.centre_top1 == self.label).mean()),
        }

    def videos_digest(self) -> str:
        """sha256 of the test videos in order, with labels and groups: the same for all records of a prepared store."""
        return videos_digest(self.video, self.group, self.label)

    def to_safetensors(self) -> bytes:
        """The bytes of the file; the same predictions give the same bytes."""
        tensors = {name: getattr(self, name).astype(np.int32) for name in ("label", "top5", "centre_top1")}
        tensors["true_probability"] = self.true_probability.astype(np.float32)
        if self.later_top5 is not None:
            tensors[LATER] = np.ascontiguousarray(self.later_top5, np.int32)
        for name in TEXTS:
            names = [text.encode() for text in getattr(self, name).tolist()]
            tensors[name] = np.frombuffer(b"".join(names), np.uint8)
            tensors[f"{name}_bytes"] = np.array([len(text) for text in names], np.int32)
        return save(tensors)


def videos_digest(video: np.ndarray, group: np.ndarray, label: np.ndarray) -> str:
    """sha256 of test videos in order, with labels and groups. Shapes [V]."""
    rows = json.dumps([values.tolist() for values in (video, label, group)])
    return hashlib.sha256(rows.encode()).hexdigest()


def read_predictions(data: bytes) -> Predictions:
    """Raises ValueError unless the file holds exactly the tensors of `Predictions`, with valid dtypes, shapes and values."""
    tensors = _tensors(data)
    rows = tensors["label"].shape[:1]
    for name, tensor in tensors.items():
        has_dims = tensor.ndim == {"top5": 2, LATER: 3}.get(name, 1)
        if not has_dims or (name not in TEXTS and (tensor.shape[:1] != rows or tensor.size == 0)):
            raise ValueError(
                f"predictions: tensor {name!r} has shape {list(tensor.shape)[:8]}; allowed: [V], for top5 [V, 1 or more], "
                f"for {LATER} [V, 1 or more, as top5], with one row for each of V >= 1 test videos"
            )
    if LATER in tensors and tensors[LATER].shape[2] != tensors["top5"].shape[1]:
        raise ValueError(f"predictions: {LATER} has {tensors[LATER].shape[2]} columns, top5 {tensors['top5'].shape[1]}")
    names = {name: _names(name, tensors.pop(name), tensors.pop(f"{name}_bytes")) for name in TEXTS}
    predictions = Predictions(**names, **tensors)
    _check_values(predictions)
    return predictions


def _tensors(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a file whose header names the expected ones, once each. Raises ValueError."""
    if len(data) > MAX_PREDICTIONS_BYTES:
        raise ValueError(f"predictions take {len(data):,} bytes; at most {MAX_PREDICTIONS_BYTES:,} are read")
    header_bytes = int.from_bytes(data[:8], "little")
    if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"predictions are not a safetensors file: its header claims {header_bytes:,} of {len(data):,} bytes")
    header = parse_json(data[8 : 8 + header_bytes], MAX_HEADER_BYTES)
    if not isinstance(header, dict) or set(header) - {LATER} != set(DTYPES):
        tensor_names = sorted(header) if isinstance(header, dict) else header
        raise ValueError(
            f"predictions hold the tensors {ascii(tensor_names)[:300]}; allowed, once each: {sorted(DTYPES)}, "
            f"and {LATER!r} under protocol sdd"
        )
    for name, tensor in header.items():
        dtype = tensor.get("dtype") if isinstance(tensor, dict) else None
        if dtype != (expected := DTYPES.get(name, "I32")):
            raise ValueError(f"predictions: tensor {name!r} has dtype {ascii(dtype)[:40]}; expected: {expected}")
    try:
        return load(data)
    except (SafetensorError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"predictions are not a readable safetensors file: {str(error)[:200]}") from error


def _names(kind: str, text: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """[V] names, from UTF-8 text and the length of each name in bytes. Raises ValueError."""
    longest = int(lengths.max())
    if lengths.min() < 0 or longest > MAX_NAME_BYTES or int(lengths.sum(dtype=np.int64)) != len(text):
        raise ValueError(
            f"predictions: {kind}_bytes holds {lengths.min():,} to {longest:,} bytes a name, of {len(text):,} bytes in all; "
            f"allowed: 0 to {MAX_NAME_BYTES}, which add up to the bytes of {kind!r}"
        )
    try:
        decode = _decoded if len(text) + lengths.nbytes <= REMEMBERED_BYTES else _decoded.__wrapped__
        return decode(text.tobytes(), lengths.tobytes())
    except UnicodeDecodeError as error:
        raise ValueError(f"predictions: a name in {kind!r} is not UTF-8 text") from error


@lru_cache(maxsize=16)
def _decoded(text: bytes, lengths: bytes) -> np.ndarray:
    """[V] names, which cannot be changed. Thousands of records of one store share them."""
    ends = np.cumsum(np.frombuffer(lengths, np.int32), dtype=np.int64).tolist()
    names = [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
    array = np.array(names, object)  # as text, NumPy would hold every name as wide as the longest
    array.flags.writeable = False
    return array


def _check_values(predictions: Predictions) -> None:
    """Checks what must hold for any number of classes. Raises ValueError naming the first wrong row."""
    answers, probability = predictions.answers, predictions.true_probability
    ordered = np.sort(answers, axis=2)
    twice = ((ordered[:, :, 1:] == ordered[:, :, :-1]) & (ordered[:, :, 1:] != -1)).any(2)
    wrong = {
        "top5 names a class twice or below -1": (twice | (ordered[:, :, 0] < -1)).any(1),
        "top5 is -1 in a part of its row; allowed: all of it": ((ordered[:, :, 0] == -1) & (ordered[:, :, -1] != -1)).any(1),
        "true_probability is outside [0, 1]": ~((probability >= 0) & (probability <= 1)),
        "label is negative": predictions.label < 0,
        "centre_top1 is below -1": predictions.centre_top1 < -1,
    }
    for fault, rows in wrong.items():
        if rows.any():
            raise ValueError(f"predictions: {fault} (first in row {int(rows.argmax())})")
    if len(set(predictions.video.tolist())) != len(predictions.video):
        raise ValueError("predictions: a video appears twice; allowed: one row for each test video")
