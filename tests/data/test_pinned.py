"""Stores and records that take the name of a built-in dataset must have its spec, its videos and, if known, its digest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.records import GOOD, a_record
from tests.builders.stores import COUNTED, VIDEOS, render
from vddbench import lookup
from vddbench.data.build import build_store
from vddbench.data.datasets import miniucf, movingshapes
from vddbench.data.pinned import check_pinned, contradiction, pinned
from vddbench.leaderboard.evidence import load
from vddbench.records.files import write_record
from vddbench.system.files import canonical_json

SPECS = {  # sha256 of each SPEC without the students' steps, which belong to the protocol
    "hmdb51": "2279e91fe5b71e48",
    "hmdb51_sdd": "8e47b6fea5a0b0a6",
    "kinetics400": "0f1a3c4e3bad62a8",
    "miniucf": "bbb132758a1c69af",
    "movingshapes": "b2c7c65115577c62",
    "ssv2": "27ea5717a3021723",
    "ucf101": "4095609ea100540e",
}


@pytest.mark.parametrize("name", SPECS)
def test_the_spec_of_a_dataset_never_changes(name: str) -> None:
    """A changed dataset gets a new name: records of its old spec stay comparable with each other only.

    A dataset is added here when its first record is published; a new file needs no line.
    """
    spec = lookup.load("dataset", name).SPEC.model_dump(mode="json", exclude={"student_steps"})
    assert hashlib.sha256(canonical_json(spec)).hexdigest()[:16] == SPECS[name]


@pytest.mark.usefixtures("own_home")
def test_a_store_cannot_take_the_name_of_a_built_in_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    store = build_store("mine", COUNTED, VIDEOS, render=render).store
    check_pinned(store)
    with pytest.raises(ValueError, match="is not the miniucf of this version: it differs in class_names, frames"):
        check_pinned(replace(store, name="miniucf"))
    monkeypatch.setattr(movingshapes, "SPEC", store.spec)  # as a forged spec.json would make it
    with pytest.raises(ValueError, match=f"is not movingshapes: its digest is {store.digest[:16]}, that of movingshapes is"):
        check_pinned(replace(store, name="movingshapes"))
    monkeypatch.setattr(movingshapes, "DIGEST", store.digest)
    check_pinned(replace(store, name="movingshapes"))
    few = store.spec.model_copy(update={"num_videos": {"train": 6, "test": 4}})
    monkeypatch.setattr(miniucf, "SPEC", few)
    with pytest.raises(ValueError, match="3 test videos and 0 missing ones don't make 4"):
        check_pinned(replace(store, name="miniucf", spec=few))


def test_a_record_of_other_videos_is_left_out_of_the_tables(tmp_path: Path) -> None:
    own = a_record()
    forged = a_record(task="movingshapes-ipc1")
    fewer = {"task": "miniucf-ipc1", "num_classes": 50, "num_test": 1860}
    for record, reason in (
        (own, None),
        (forged, "its prepared store 22222222 is not movingshapes, whose digest begins with 817f16ef"),
        (a_record(task="movingshapes-ipc1", store_digest=movingshapes.DIGEST, num_classes=8, num_test=400), None),
        (a_record(**fewer), "it has 50 classes and 1,860 test videos, 0 are missing; miniucf has 50 and 1,861"),
        (a_record(**fewer | {"num_test": 1861}), None),
        (a_record(task="kinetics400-ipc1", num_classes=400, num_test=19_000, num_missing=906), None),
    ):
        assert contradiction(record, pinned(record.task.dataset)) == reason
    for record in (own, forged):
        write_record(tmp_path, record, GOOD)
    loaded = load([tmp_path])
    assert [str(one.record.task) for one in loaded.evaluated] == ["toy-ipc1"]
    assert len(loaded.refused) == 1 and "is not movingshapes" in loaded.refused[0]
