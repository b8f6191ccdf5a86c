"""The pinned lists of the built-in datasets."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.videos import write_video
from vddbench import lookup
from vddbench.datasets import miniucf, movingshapes, ucf101
from vddbench.prepare import prepare_named
from vddbench.spec import Video

SPLITS = SHARED / "data" / "splits"
needs_splits = pytest.mark.skipif(not SPLITS.is_dir(), reason="no released split lists beside the checkout")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.avi", 5)


def copy_of_ucf(folder: Path, names: list[str], clip: Path) -> Path:
    for name in names:
        label = name.split("_")[1]
        path = folder / "UCF-101" / {"HandStandPushups": "HandstandPushups"}.get(label, label) / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(clip)
    return folder


@needs_splits
def test_the_names_of_ucf101_are_those_of_the_released_split() -> None:
    with (SPLITS / "ucf101_split1.csv").open() as file:
        released = {row["folder_name"]: (row["label"], row["split"]) for row in csv.DictReader(file)}
    assert len(ucf101.expected()) == 13_320
    assert set(ucf101.expected()) == set(released)
    for name, (label, split) in released.items():
        _, found, group, _ = name.split("_")
        assert found == label and (group in ucf101.TEST_GROUPS) == (split == "test")


@needs_splits
def test_miniucf_is_the_restriction_of_ucf101_to_its_50_classes() -> None:
    assert list(miniucf.CLASS_NAMES) == (SPLITS / "miniucf_classes.txt").read_text().split()
    kept = [name for name in ucf101.expected() if name.split("_")[1] in miniucf.CLASS_NAMES]
    assert sorted(miniucf.expected()) == sorted(kept)


@pytest.mark.parametrize("dataset", [ucf101, miniucf])
def test_the_expected_names_add_up_to_the_pinned_counts(dataset: type) -> None:
    test = sum(name.split("_")[2] in ucf101.TEST_GROUPS for name in dataset.expected())
    assert {"train": len(dataset.expected()) - test, "test": test} == dataset.SPEC.num_videos
    assert len(set(dataset.expected())) == len(dataset.expected())


def test_miniucf_holds_out_1017_training_videos_for_validation() -> None:
    held_out = [name for name in miniucf.expected() if "_".join(name.split("_")[1:3]) in miniucf.SPEC.validation_groups]
    assert len(held_out) == 1017


def test_full_data_is_500_passes_of_batches_of_256() -> None:
    assert miniucf.SPEC.student_steps["full"] == 500 * -(-4662 // 256)
    assert ucf101.SPEC.student_steps["full"] == 500 * -(-9537 // 256)


def test_a_copy_of_ucf101_is_found_with_its_groups_whatever_the_spelling(tmp_path: Path, clip: Path) -> None:
    names = ["v_ApplyEyeMakeup_g01_c01", "v_ApplyEyeMakeup_g22_c02", "v_HandStandPushups_g08_c01", "v_HandstandWalking_g03_c01"]
    raw = copy_of_ucf(tmp_path, names, clip)
    (raw / "UCF-101" / "ApplyEyeMakeup" / "notes.avi").touch()
    found = {video.id: video for video in ucf101.videos(raw)}
    assert set(found) == {name.replace("HandStand", "Handstand") for name in names}
    assert found["v_ApplyEyeMakeup_g01_c01"].split == "test"
    pushups = found["v_HandstandPushups_g08_c01"]
    assert (pushups.split, pushups.group) == ("train", "HandstandPushups_g08")
    assert ucf101.SPEC.class_names[pushups.label] == "HandstandPushups"
    assert {video.id for video in ucf101.videos(raw / "UCF-101")} == set(found)
    assert [video.id for video in miniucf.videos(raw)] == names[:2]


def test_an_incomplete_copy_is_refused_before_decoding_naming_the_first_missing(tmp_path: Path, clip: Path) -> None:
    there = [name for name in miniucf.expected() if name != "v_BalanceBeam_g13_c02"]
    raw = copy_of_ucf(tmp_path, [*there[12:], "v_Biking_g25_c09"], clip)
    with pytest.raises(ValueError, match=r"4,662 of 4,662 train videos, 1,849 of 1,861 test videos") as refusal:
        prepare_named("miniucf", raw=raw)
    message = str(refusal.value)
    assert "13 missing: v_ApplyEyeMakeup_g01_c01, v_ApplyEyeMakeup_g01_c02" in message and message.count("Makeup") == 10
    assert "1 unexpected: v_Biking_g25_c09" in message


def test_a_folder_that_is_not_ucf101_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not hold UCF101.*UCF101.rar"):
        prepare_named("ucf101", raw=tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        prepare_named("ucf101", raw=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs --raw DIR"):
        prepare_named("ucf101")


@pytest.mark.parametrize("name", lookup.names("dataset"))
def test_a_dataset_file_is_complete(name: str) -> None:
    dataset = lookup.load("dataset", name)
    spec = dataset.SPEC
    assert list(spec.class_names) == sorted(set(spec.class_names))
    assert set(spec.student_steps) == {"1", "5", "10", "full"}
    assert spec.source and spec.licence and dataset.__doc__ and name in dataset.__doc__
    assert spec.resize is None or min(spec.resize) >= spec.size


def test_movingshapes_has_the_videos_it_pins() -> None:
    videos: list[Video] = list(movingshapes.videos(Path()))
    counts = {split: sum(v.split == split for v in videos) for split in ("train", "test")}
    assert counts == movingshapes.SPEC.num_videos and len({v.id for v in videos}) == len(videos)
