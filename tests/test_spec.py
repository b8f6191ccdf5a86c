"""Budgets, tasks and names; the hash of the protocol."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vddbench.data.datasets import miniucf
from vddbench.evaluation.students import convnet3d
from vddbench.lookup import load, names
from vddbench.protocol import PROTOCOL
from vddbench.spec import DatasetSpec, Task


def test_the_budget_of_miniucf_ipc1_is_50_uint8_clips_and_their_labels() -> None:
    assert Task.parse("miniucf-ipc1").budget_bytes(miniucf.SPEC) == 30_106_000
    assert Task.parse("miniucf-full").budget_bytes(miniucf.SPEC) is None


@pytest.mark.parametrize("text", ["miniucf-ipc1", "miniucf-ipc10", "hmdb51_sdd-full", "a-ipc5"])
def test_the_text_of_a_task_survives_parsing(text: str) -> None:
    assert str(Task.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "miniucf",
        "miniucf-ipc0",
        "miniucf-ipc-1",
        "miniucf-ipc2",
        "miniucf-ipc01",
        "miniucf-ipc\uff11",
        "../x-ipc1",
        "A-ipc1",
        "a-ipc1\n",
        "",
    ],
)
def test_other_tasks_are_refused_with_the_allowed_ones(text: str) -> None:
    with pytest.raises(ValueError, match=r"DATASET-ipcN|use miniucf-ipc1, miniucf-ipc5, miniucf-ipc10"):
        Task.parse(text)


def test_every_submission_of_a_task_gets_the_same_compute() -> None:
    task = Task.parse("miniucf-ipc1")
    assert [task.batch_size(miniucf.SPEC, n, convnet3d.RECIPE) for n in (25, 50, 5000)] == [25, 50, 50]
    assert Task.parse("miniucf-ipc10").batch_size(miniucf.SPEC, 500, convnet3d.RECIPE) == 256
    assert Task.parse("miniucf-full").batch_size(miniucf.SPEC, 4662, convnet3d.RECIPE) == 256


def test_a_spec_survives_its_json() -> None:
    assert DatasetSpec.model_validate_json(miniucf.SPEC.model_dump_json()) == miniucf.SPEC


def test_the_hash_moves_with_the_protocol_and_the_recipe() -> None:
    usual = PROTOCOL.hash(convnet3d.RECIPE)
    assert (
        usual == "5924b9a8be97de950bde3bead91c3f7f4d2b350c4740b0d26da9fe9b3a461314"
    )  # moves when the protocol does: then give it a new name
    assert PROTOCOL.hash(convnet3d.RECIPE.model_copy(update={"lr": 0.02})) != usual
    assert PROTOCOL.model_copy(update={"test_views": 1}).hash(convnet3d.RECIPE) != usual


def test_nothing_frozen_can_be_changed() -> None:
    with pytest.raises(ValidationError):
        PROTOCOL.test_views = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        convnet3d.RECIPE.lr = 1.0


def test_an_unknown_name_is_refused_with_similar_ones_and_how_to_add_one() -> None:
    with pytest.raises(LookupError, match=r"no student named 'convnet_gur'; did you mean convnet_gru") as refusal:
        load("student", "convnet_gur")
    assert "students/convnet_gur.py" in str(refusal.value)
    assert names("decoder") == sorted(names("decoder")) and {"jpeg", "keyframes", "pixels"} <= set(names("decoder"))
    with pytest.raises(LookupError):
        load("student", "../secrets")


def test_bytes_of_miniucf_ipc1_as_published_methods_store_it() -> None:
    """Pixels in uint8 and in fp32, and one uint8 frame per class; without labels."""
    spec = miniucf.SPEC
    assert spec.num_classes * spec.clip_bytes == 30_105_600
    assert spec.num_classes * spec.clip_bytes * 4 == 120_422_400
    assert spec.num_classes * spec.clip_bytes // spec.frames == 1_881_600
