"""A command hashes and decodes a payload once, and `evaluate` holds the clips of one submission at a time."""

from __future__ import annotations

import shutil
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders.submissions import LABELS, SPEC, TASK, clips, edit_manifest, rewrite_payload, written
from vddbench.evaluation import evaluate as evaluation
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions import payload, rules
from vddbench.submissions import write as writing
from vddbench.submissions.check import check
from vddbench.submissions.decoders import pixels
from vddbench.submissions.pack import pack
from vddbench.system.files import sha256_file


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to payloads and students, in order; `evaluate` trains nothing."""
    done: list[str] = []
    decoded: list[weakref.ref[ClipSet]] = []

    def note(event: str, module: Any, name: str, function: Callable[..., Any]) -> None:
        def noted(*args: Any) -> Any:
            done.append(event)
            return function(*args)

        monkeypatch.setattr(module, name, noted)

    def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec, original: Any = pixels.decode) -> ClipSet:
        assert not any(clip_set() for clip_set in decoded), "the clips of two submissions are in memory"
        done.append("decode")
        clip_set: ClipSet = original(tensors, spec)
        decoded.append(weakref.ref(clip_set))
        return clip_set

    monkeypatch.setattr(pixels, "decode", decode)
    note("hash", rules, "sha256_file", sha256_file)
    note("hash", writing, "sha256_file", sha256_file)
    note("hash", payload, "sha256", payload.sha256)
    note("map", payload, "load", payload.load)
    note("train", evaluation, "evaluate_cell", lambda ready, *args: ready.submission.path)
    return done


def evaluate(paths: list[Path], results: Path) -> None:
    evaluation.evaluate(paths, students=["convnet3d"], seeds=[0, 1], results=results)


@pytest.fixture
def two(tiny_random: Path, tmp_path: Path) -> list[Path]:
    """Two submissions of a prepared dataset."""
    paths = [tmp_path / "submissions" / "tiny-ipc1" / method for method in ("first", "second")]
    for path in paths:
        shutil.copytree(tiny_random, path)
        edit_manifest(path, method=path.name)
    return paths


def test_check_hashes_maps_and_decodes_once(tmp_path: Path, events: list[str]) -> None:
    path = written(tmp_path)
    events.clear()
    assert check(path, SPEC).accepted
    assert events == ["hash", "map", "decode"]


def test_pack_decodes_and_hashes_once_and_reads_nothing_back(tmp_path: Path, events: list[str]) -> None:
    torch.save({"clips": clips(), "labels": LABELS}, tmp_path / "syn.pt")
    pack(tmp_path / "syn.pt", TASK, "mine", out=tmp_path, spec=SPEC)
    assert events == ["decode", "hash"]


def test_evaluate_hashes_maps_and_decodes_one_submission_once(two: list[Path], tmp_path: Path, events: list[str]) -> None:
    evaluate(two[:1], tmp_path / "results")
    assert events == ["hash", "map", "decode", "train", "train"]


def test_evaluate_decodes_several_submissions_before_it_trains_and_again_in_turn(
    two: list[Path], tmp_path: Path, events: list[str]
) -> None:
    evaluate(two, tmp_path / "results")
    assert Counter(events) == {"hash": 2, "map": 2, "decode": 4, "train": 4}
    assert events[-6:] == ["decode", "train", "train"] * 2


@pytest.mark.parametrize("damage", ["place", "bytes", "clips"])
def test_a_refused_submission_is_named_before_another_is_trained(
    damage: str, two: list[Path], tmp_path: Path, events: list[str]
) -> None:
    tensors = payload.load(two[1] / "data.safetensors")
    if damage == "place":
        edit_manifest(two[1], seed=3)
        message = "must lie in tiny-ipc1/second-s3"
    elif damage == "bytes":
        rewrite_payload(two[1], {**tensors, "labels": tensors["labels"].flip(0)})
        message = "changed or damaged"
    else:
        rewrite_payload(two[1], {**tensors, "clips": tensors["clips"][:-1]})
        edit_manifest(two[1], sha256=sha256_file(two[1] / "data.safetensors"))
        message = "tensor 'labels' has shape"
    with pytest.raises(ValueError, match=f"second is refused:(?s:.)*{message}"):
        evaluate(two, tmp_path / "results")
    assert "train" not in events
