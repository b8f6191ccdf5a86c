"""A record is complete, immutable, and valid only if its scores follow from its predictions."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.builders.records import GOOD, a_record
from vddbench.records.files import read_record, record_files, set_aside, write_record
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    assert path == tmp_path / "toy-ipc1/mine@abababab/convnet3d/seed0.json"
    record, predictions = read_record(path)
    assert record.model_copy(update={"predictions_sha256": "0" * 64}) == a_record()
    for field, values in vars(GOOD).items():
        assert np.array_equal(getattr(predictions, field), values)


def test_only_a_re_run_by_somebody_else_has_the_field_by(tmp_path: Path) -> None:
    own, rerun = (write_record(tmp_path / str(by), a_record(by=by), GOOD) for by in (None, "Jane.Doe"))
    assert not {"by", "fit_top1", "fit_loss"} & json.loads(own.read_text()).keys()
    assert json.loads(rerun.read_text()) == {**json.loads(own.read_text()), "by": "Jane.Doe"}
    assert read_record(own)[0].by is None and read_record(rerun)[0].by == "Jane.Doe"
    for name in ("", "-a", "a/b", "a" * 97):
        with pytest.raises(ValidationError):
            a_record(by=name)


def test_writing_a_cell_twice_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="never overwritten"):
        write_record(tmp_path, a_record(date="2027-01-01T00:00:00Z"), GOOD)
    assert path.read_bytes() == before


def test_predictions_left_by_a_killed_writer_are_replaced(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    path.unlink()
    path.with_suffix(".safetensors").write_bytes(b"half")
    assert read_record(write_record(tmp_path, a_record(), GOOD))[0].top1 == 0.5


@pytest.mark.parametrize(
    ("field", "lie"), [("top1", 0.75), ("top5", 0.5), ("centre_top1", 1.0), ("num_test", 5), ("checks", {"finite": False})]
)
def test_a_score_that_does_not_follow_from_the_predictions_is_refused(tmp_path: Path, field: str, lie: Any) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    fields = json.loads(path.read_bytes())
    path.write_text(json.dumps({**fields, field: lie}))
    with pytest.raises(ValueError, match=field):
        read_record(path)


def test_a_record_moved_to_another_place_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    moved = tmp_path / "toy-ipc5" / path.relative_to(tmp_path / "toy-ipc1")
    moved.parent.mkdir(parents=True)
    for file in (path, path.with_suffix(".safetensors")):
        file.rename(moved.with_suffix(file.suffix))
    with pytest.raises(ValueError, match="its path differs from its fields"):
        read_record(moved)


def test_predictions_of_another_run_are_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    other = Predictions(**{**vars(GOOD), "true_probability": np.zeros(4, np.float32)})
    path.with_suffix(".safetensors").write_bytes(other.to_safetensors())
    with pytest.raises(ValueError, match="sha256 differs"):
        read_record(path)


def test_fields_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "bonus": 1}))
    with pytest.raises(ValueError, match="bonus"):
        read_record(path)


def test_reruns_are_written_beside_the_record_and_not_listed(tmp_path: Path) -> None:
    first = write_record(tmp_path, a_record(), GOOD)
    rerun = write_record(tmp_path, a_record(), GOOD, beside=True)
    assert rerun.name == "seed0.rerun1.json"
    assert read_record(rerun)[0].seed == 0
    assert list(record_files(tmp_path)) == [first]


def test_distillation_seeds_of_the_same_bytes_have_their_own_records(tmp_path: Path) -> None:
    paths = [write_record(tmp_path, a_record(distill_seed=seed), GOOD) for seed in (0, 1)]
    assert [p.parents[1].name for p in paths] == ["mine@abababab", "mine-s1@abababab"]
    assert [read_record(p)[0].distill_seed for p in paths] == [0, 1]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"num_classes": 2}, "top5 has 3 columns; expected for 2 classes: 2"),
        ({"num_classes": 9}, "top5 has 3 columns; expected for 9 classes: 5"),
        ({"payload_bytes": 11}, "payload_bytes = 11 are over budget_bytes = 10"),
        ({"budget_bytes": None}, "must have a budget"),
        ({"num_test": 50_001}, r"num_test\W.*less than or equal to 50000"),  # ranking would take over 400 MB
    ],
)
def test_a_record_that_contradicts_itself_is_neither_written_nor_read(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        write_record(tmp_path, a_record(**fields), GOOD)
    assert list(tmp_path.rglob("*")) == []
    path = write_record(tmp_path, a_record(), GOOD)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))
    with pytest.raises(ValueError, match=reason):
        read_record(path)


def test_classes_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    wrong = Predictions(**{**vars(GOOD), "centre_top1": np.array([0, 1, 0, 7], np.int32)})
    with pytest.raises(ValueError, match="centre_top1 holds 7; allowed for 3 classes: up to 2"):
        write_record(tmp_path, a_record(), wrong)


def test_predictions_too_big_to_read_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vddbench.records.predictions.MAX_PREDICTIONS_BYTES", 500)
    with pytest.raises(ValueError, match="at most 500 are read"):
        write_record(tmp_path, a_record(), GOOD)
    assert list(tmp_path.rglob("*")) == []


def test_a_damaged_record_is_set_aside_and_its_cell_is_free_again(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    path.with_suffix(".safetensors").write_bytes(b"damaged")
    assert set_aside(path).name == "seed0.broken1.json"
    write_record(tmp_path, a_record(), GOOD)
    path.with_suffix(".safetensors").unlink()
    assert set_aside(path).name == "seed0.broken2.json"
    assert write_record(tmp_path, a_record(), GOOD) == path
    assert read_record(path)[0].top1 == 0.5
    assert list(record_files(tmp_path)) == [path]
    names = {p.name for p in path.parent.iterdir()}
    aside = {"seed0.broken1.json", "seed0.broken1.safetensors", "seed0.broken2.json"}
    assert names == aside | {"seed0.json", "seed0.safetensors"}
    with pytest.raises(FileNotFoundError, match="no record at"):
        set_aside(path.with_name("seed7.json"))


def write_after(root: Path, start: Any, results: Any, writer: int) -> None:
    answers = Predictions(**{**vars(GOOD), "true_probability": np.full(4, writer / 10, np.float32)})
    start.wait()
    try:
        write_record(root, a_record(), answers)
        results.put("won")
    except FileExistsError:
        results.put("lost")


def test_of_processes_that_write_one_cell_exactly_one_succeeds_and_its_two_files_match(tmp_path: Path) -> None:
    """Also if a killed process left predictions without a record."""
    path = write_record(tmp_path, a_record(), GOOD)
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        path.unlink()
        start, results = context.Event(), context.Queue()
        writers = [context.Process(target=write_after, args=(tmp_path, start, results, i)) for i in range(4)]
        for writer in writers:
            writer.start()
        start.set()
        assert sorted(results.get(timeout=30) for _ in writers) == ["lost", "lost", "lost", "won"]
        for writer in writers:
            writer.join(30)
            assert writer.exitcode == 0
        read_record(path)
        assert sorted(p.name for p in path.parent.iterdir()) == ["seed0.json", "seed0.safetensors"]


def test_temporary_files_of_killed_writers_are_deleted_after_an_hour(tmp_path: Path) -> None:
    folder = write_record(tmp_path, a_record(), GOOD).parent
    old, young = folder / ".seed1.safetensors.old.part", folder / ".seed1.safetensors.young.part"
    for part in (old, young):
        part.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    write_record(tmp_path, a_record(seed=2), GOOD)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_long_list_of_wrong_fields_is_one_line_without_escapes(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    wrong = {f"\x1b[2J\n{i}": 1 for i in range(1000)}
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **wrong}))
    with pytest.raises(ValueError, match="and 995 more") as caught:
        read_record(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        {"payload_bytes": 10**400, "budget_bytes": 10**400},
        {"clip_steps": 2**60},
        {"num_missing": 10**30},
        {"num_classes": 20_000_000},
        {"date": "9999-99-99T99:99:99Z"},
        {"date": "٢٠٢٦-01-01T00:00:00Z"},
        {"train_seconds": 1e300},
        {"checks": {f"c{i}": True for i in range(100)}},
        {"environment": {"device": "x" * 100_000}},
    ],
    ids=str,
)
def test_values_out_of_all_proportion_are_refused(changes: dict[str, Any]) -> None:
    """A single such value would make every table that contains it fail."""
    good = json.loads(a_record().model_dump_json())
    changes = {name: {**good[name], **value} if name == "environment" else value for name, value in changes.items()}
    with pytest.raises(ValueError, match=next(iter(changes))):
        Record.model_validate_json(json.dumps(good | changes))


def test_a_record_that_names_a_field_twice_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    path.write_text(path.read_text().replace('"seed": 0,', '"seed": 0, "seed": 0,'))
    with pytest.raises(ValueError, match="'seed' appears twice"):
        read_record(path)
