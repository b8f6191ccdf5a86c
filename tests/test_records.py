"""A record is whole, immutable, and believed only as far as its predictions bear it out."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vddbench.records import Predictions, read_predictions, read_record, record_files, write_record
from vddbench.spec import Environment, Record

GOOD = Predictions(
    video=np.array(["a", "b", "c", "d"]),
    group=np.array(["", "", "g1", "g1"]),
    label=np.array([0, 1, 2, 0], np.int32),
    top5=np.array([[0, 1, 2], [2, 1, 0], [0, 1, 2], [0, 2, 1]], np.int32),
    true_probability=np.array([0.9, 0.2, 0.1, 0.5], np.float32),
    centre_top1=np.array([0, 1, 0, 1], np.int32),
)


def a_record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "protocol": "v1", "protocol_hash": "1" * 64, "task": "toy-ipc1", "method": "mine", "distill_seed": 0,
        "track": "hard", "external": False, "submission_sha256": "ab" * 32, "store_digest": "2" * 64,
        "student": "convnet3d", "seed": 0, "top1": 0.5, "top5": 1.0, "centre_top1": 0.5, "validation_top1": 0.0,
        "holdout": False, "num_test": 4, "num_missing": 0, "student_steps": 2, "num_classes": 3, "payload_bytes": 10,
        "budget_bytes": 10, "clips_per_class": 1, "clip_steps": 6, "train_seconds": 1.0, "test_seconds": 1.0,
        "peak_memory_bytes": 1, "predictions_sha256": "0" * 64, "checks": {"finite": True}, "date": "2026-01-01T00:00:00Z",
        "environment": Environment(
            vddbench="0", git_commit="", python="3", torch="2", cuda="", device="cpu", num_threads=1, precision="fp32",
            micro_batch=1,
        ),
    }  # fmt: skip
    return Record(**{**fields, **changes})


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    assert path == tmp_path / "toy-ipc1/mine@abababab/convnet3d/seed0.json"
    record, predictions = read_record(path)
    assert record.model_copy(update={"predictions_sha256": "0" * 64}) == a_record()
    for field, values in vars(GOOD).items():
        assert np.array_equal(getattr(predictions, field), values)


def test_writing_a_cell_twice_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="never overwritten"):
        write_record(tmp_path, a_record(date="2027-01-01T00:00:00Z"), GOOD)
    assert path.read_bytes() == before


def test_predictions_left_by_a_killed_writer_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vddbench.records.SECONDS_FOR_JSON", 0.2)
    path = write_record(tmp_path, a_record(), GOOD)
    path.unlink()
    path.with_suffix(".npz").write_bytes(b"half")
    assert read_record(write_record(tmp_path, a_record(), GOOD))[0].top1 == 0.5


@pytest.mark.parametrize(
    ("field", "lie"), [("top1", 0.75), ("top5", 0.5), ("centre_top1", 1.0), ("num_test", 5), ("checks", {"finite": False})]
)
def test_a_headline_that_its_predictions_do_not_give_is_refused(tmp_path: Path, field: str, lie: Any) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps({**told, field: lie}))
    with pytest.raises(ValueError, match=field):
        read_record(path)


def test_a_record_moved_to_another_place_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    moved = tmp_path / "toy-ipc5" / path.relative_to(tmp_path / "toy-ipc1")
    moved.parent.mkdir(parents=True)
    for file in (path, path.with_suffix(".npz")):
        file.rename(moved.with_suffix(file.suffix))
    with pytest.raises(ValueError, match="its path says"):
        read_record(moved)


def test_predictions_of_another_run_are_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    other = Predictions(**{**vars(GOOD), "true_probability": np.zeros(4, np.float32)})
    path.with_suffix(".npz").write_bytes(other.to_npz())
    with pytest.raises(ValueError, match="sha256 differs"):
        read_record(path)


def test_fields_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "bonus": 1}))
    with pytest.raises(ValueError, match="bonus"):
        read_record(path)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**vars(GOOD), **arrays})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not a zip", "no readable npz"),
        (npz(label=np.array([object()] * 4)), "no readable npz|Object arrays"),
        (npz(extra=np.zeros(4)), "extra"),
        (npz(label=np.zeros(3, np.int32)), "'video'|'label'"),
        (npz(top5=np.zeros(4, np.int32)), "'top5'"),
        (npz(top5=np.zeros((4, 3), np.float32)), "'top5'"),
    ],
)
def test_hostile_predictions_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_predictions(data)


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("label.npy", b"\0" * 70_000_000)
    with pytest.raises(ValueError, match="unpack to 70,000,000 bytes"):
        read_predictions(buffer.getvalue())


def test_reruns_are_listed_only_when_asked_for(tmp_path: Path) -> None:
    write_record(tmp_path, a_record(), GOOD)
    write_record(tmp_path, a_record(), GOOD, beside=True)
    assert [p.name for p in record_files(tmp_path)] == ["seed0.json"]
    assert [p.name for p in record_files(tmp_path, reruns=True)] == ["seed0.json", "seed0.rerun1.json"]
