"""A predictions file of a stranger is read completely or refused with the reason."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.builders.records import GOOD
from vddbench.records.predictions import Predictions, read_predictions

DATA = GOOD.to_safetensors()


def file_with(**tensors: np.ndarray) -> bytes:
    """GOOD's file, some tensors replaced or added."""
    return save({**load(DATA), **tensors})


def file_with_header(change: Any = None, text: bytes | None = None) -> bytes:
    """GOOD's file with another header: changed as a dict, or replaced by `text`."""
    length = int.from_bytes(DATA[:8], "little")
    header = json.loads(DATA[8 : 8 + length])
    if change is not None:
        change(header)
    text = json.dumps(header).encode() if text is None else text
    return len(text).to_bytes(8, "little") + text + DATA[8 + length :]


def answers(**arrays: np.ndarray) -> Predictions:
    return Predictions(**{**vars(GOOD), **arrays})


@pytest.mark.parametrize("later", [None, np.array([[[1, 0, 2]], [[2, 1, 0]], [[-1, -1, -1]], [[0, 2, 1]]], np.int32)])
def test_predictions_come_back_as_they_were_written(later: np.ndarray | None) -> None:
    names = np.array(["", "a b/c.mp4", "\u00e9t\u00e9", "\U0001f3a5" * 512])
    written = answers(video=names, group=names[[1, 1, 3, 0]], later_top5=later)
    back = read_predictions(written.to_safetensors())
    for field, values in vars(written).items():
        assert np.array_equal(getattr(back, field), values)
        assert values is None or getattr(back, field).dtype == (object if field in {"video", "group"} else values.dtype)
    assert back.to_safetensors() == written.to_safetensors()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"PK\x03\x04 a zip archive", "not a safetensors file"),
        (DATA[:-3], "not a readable safetensors file"),
        (DATA + b"\0", "not a readable safetensors file"),
        (DATA[:40], "not a safetensors file: its header claims"),
        ((2**63).to_bytes(8, "little") + DATA[8:], "its header claims 9,223,372,036,854,775,808"),
        (file_with_header(text=b"[]"), r"hold the tensors \[\]"),
        (file_with_header(text=b'{"a": 1, "a": 2}'), "'a' appears twice"),
        (file_with_header(text=b"[" * 9_000), "nested too deeply"),
        (file_with_header(text=b"\xff" * 9), "utf-8"),
        (file_with_header(lambda header: header.update(__metadata__={"a": "b" * 8_000})), "__metadata__"),
        (file_with_header(lambda header: header.update(label=7)), "'label' has dtype None"),
        (file_with_header(lambda header: header["label"].update(shape=[2**62, 4])), "not a readable safetensors file"),
        (file_with_header(lambda header: header["label"].update(shape=[0, 2**63])), "not a readable safetensors file"),
        (file_with_header(lambda header: header["label"].update(shape=[-4])), "not a readable safetensors file"),
        (
            file_with_header(lambda header: header["label"].update(data_offsets=header["top5"]["data_offsets"])),
            "not a readable",
        ),
        (file_with(extra=np.zeros(4, np.float32)), "extra"),
        (save({name: tensor for name, tensor in load(DATA).items() if name != "label"}), "allowed, once each"),
        (file_with(label=np.zeros(4, np.int64)), "'label' has dtype 'I64'; expected: I32"),
        (file_with(top5=np.zeros((4, 3), np.float32)), "'top5' has dtype 'F32'"),
        (file_with(label=np.zeros(3, np.int32)), r"has shape \[\d"),
        (file_with(label=np.zeros((), np.int32)), r"has shape \["),
        (file_with(top5=np.zeros(4, np.int32)), r"'top5' has shape \[4\]"),
        (file_with(top5=np.zeros((4, 0), np.int32)), r"'top5' has shape \[4, 0\]"),
        (file_with(top5=np.zeros((4, 3, 1), np.int32)), r"'top5' has shape \[4, 3, 1\]"),
        (save({name: tensor[:0] for name, tensor in load(DATA).items()}), r"has shape \[0"),
        (file_with(video=np.frombuffer(b"abc", np.uint8)), "of 3 bytes in all"),
        (file_with(video_bytes=np.array([1, 1, -1, 3], np.int32)), "-1 to 3 bytes a name"),
        (file_with(video_bytes=np.array([2**31 - 1] * 4, np.int32)), "2,147,483,647 bytes a name"),
        (file_with(video=np.full(4, 255, np.uint8)), "'video' is not UTF-8"),
    ],
)
def test_a_file_made_to_break_the_reader_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_predictions(data)


def test_a_changed_byte_is_refused_or_read_as_other_predictions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3000):
        data = bytearray(DATA)
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            data[at] = rng.integers(256)
        try:
            read_predictions(bytes(data))
        except ValueError:
            continue


def test_a_record_takes_little_more_memory_than_its_file() -> None:
    """A single long name costs its own length: as text, NumPy would hold 5,000 names of 2,000 letters, 40 MB."""
    with pytest.raises(ValueError, match="0 to 3,000,000 bytes a name"):
        read_predictions(answers(group=np.array(["g" * 3_000_000, "", "", ""])).to_safetensors())
    rows = 5000
    of_rows = {"label": np.zeros(rows), "centre_top1": np.zeros(rows), "true_probability": np.zeros(rows)}
    names = {"video": np.array([str(i) for i in range(rows - 1)] + ["v" * 2000]), "group": np.full(rows, "")}
    data = answers(**names, **of_rows, top5=np.tile([0, 1, 2], (rows, 1))).to_safetensors()
    tracemalloc.start()
    predictions = read_predictions(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert predictions.video[-1] == "v" * 2000 and peak < 10 * len(data)


@pytest.mark.parametrize(
    ("array", "values", "reason"),
    [
        ("top5", np.array([[0, 1, 2], [2, 1, 0], [0, 1, 2], [0, 2, 0]], np.int32), "names a class twice .*row 3"),
        ("top5", np.array([[0, 1, 2], [2, 1, -1], [0, 1, 2], [0, 2, 1]], np.int32), "part of its row.*row 1"),
        ("top5", np.array([[0, 1, -2], [2, 1, 0], [0, 1, 2], [0, 2, 1]], np.int32), "below -1"),
        ("true_probability", np.array([0.5, np.nan, 0, 0], np.float32), "outside .*row 1"),
        ("true_probability", np.array([0.5, 0, 1.5, 0], np.float32), "outside .*row 2"),
        ("label", np.array([0, -1, 2, 0], np.int32), "label is negative"),
        ("centre_top1", np.array([0, -2, 2, 0], np.int32), "centre_top1"),
        ("video", np.array(["a", "b", "c", "a"]), "a video appears twice"),
    ],
)
def test_answers_that_no_student_can_give_are_refused(array: str, values: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_predictions(answers(**{array: values}).to_safetensors())
