"""The pinned lists of the built-in datasets."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.builders.stores import SHARED
from vddbench.data.datasets import miniucf, movingshapes, ucf101
from vddbench.data.prepare import prepare
from vddbench.spec import Video

SPLITS = SHARED / "data" / "splits"
needs_splits = pytest.mark.skipif(not SPLITS.is_dir(), reason="no released split lists beside the checkout")


def expected(dataset: ModuleType) -> list[str]:
    return [video.id for video in dataset.listing(None)]


def there(dataset: ModuleType, raw: Path) -> dict[str, Video]:
    """The videos that have a file."""
    return {video.id: video for video in dataset.videos(raw) if video.path}


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
    assert len(expected(ucf101)) == 13_320
    assert set(expected(ucf101)) == set(released)
    for name, (label, split) in released.items():
        _, found, group, _ = name.split("_")
        assert found == label and (group in ucf101.TEST_GROUPS) == (split == "test")


@needs_splits
def test_miniucf_is_the_restriction_of_ucf101_to_its_50_classes() -> None:
    assert list(miniucf.CLASS_NAMES) == (SPLITS / "miniucf_classes.txt").read_text().split()
    kept = [name for name in expected(ucf101) if name.split("_")[1] in miniucf.CLASS_NAMES]
    assert sorted(expected(miniucf)) == sorted(kept)


@pytest.mark.parametrize("dataset", [ucf101, miniucf])
def test_the_expected_names_add_up_to_the_pinned_counts(dataset: ModuleType) -> None:
    test = sum(name.split("_")[2] in ucf101.TEST_GROUPS for name in expected(dataset))
    assert {"train": len(expected(dataset)) - test, "test": test} == dataset.SPEC.num_videos
    assert len(set(expected(dataset))) == len(expected(dataset))


def test_miniucf_holds_out_1017_training_videos_for_validation() -> None:
    held_out = [name for name in expected(miniucf) if "_".join(name.split("_")[1:3]) in miniucf.SPEC.validation_groups]
    assert len(held_out) == 1017


def test_full_data_is_500_passes_of_batches_of_256() -> None:
    assert miniucf.SPEC.student_steps["full"] == 500 * -(-4662 // 256)
    assert ucf101.SPEC.student_steps["full"] == 500 * -(-9537 // 256)


def test_a_copy_of_ucf101_is_found_with_its_groups_whatever_the_spelling(tmp_path: Path, clip: Path) -> None:
    names = ["v_ApplyEyeMakeup_g01_c01", "v_ApplyEyeMakeup_g22_c02", "v_HandStandPushups_g08_c01", "v_HandstandWalking_g03_c01"]
    raw = copy_of_ucf(tmp_path, names, clip)
    (raw / "UCF-101" / "ApplyEyeMakeup" / "notes.avi").touch()
    found = there(ucf101, raw)
    assert set(found) == {name.replace("HandStand", "Handstand") for name in names}
    assert found["v_ApplyEyeMakeup_g01_c01"].split == "test"
    pushups = found["v_HandstandPushups_g08_c01"]
    assert (pushups.split, pushups.group) == ("train", "HandstandPushups_g08")
    assert ucf101.SPEC.class_names[pushups.label] == "HandstandPushups"
    assert set(there(ucf101, raw / "UCF-101")) == set(found)
    assert list(there(miniucf, raw)) == names[:2]


def test_an_incomplete_copy_is_refused_before_decoding_naming_the_first_missing(tmp_path: Path, clip: Path) -> None:
    kept = [name for name in expected(miniucf) if name != "v_BalanceBeam_g13_c02"]
    raw = copy_of_ucf(tmp_path, [*kept[12:], "v_Biking_g25_c09"], clip)
    with pytest.raises(ValueError, match=r"4,661 of 4,662 train videos, 1,849 of 1,861 test videos") as refusal:
        prepare("miniucf", raw=raw)
    message = str(refusal.value)
    assert "13 missing: v_ApplyEyeMakeup_g01_c01, v_ApplyEyeMakeup_g01_c02" in message and message.count("Makeup") == 10
    assert "1 unexpected: v_Biking_g25_c09" in message


def test_a_folder_that_is_not_ucf101_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not hold UCF101.*UCF101.rar"):
        prepare("ucf101", raw=tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        prepare("ucf101", raw=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs --raw DIR"):
        prepare("ucf101")


def test_the_spec_of_a_dataset_is_read_without_a_decoder_and_torch() -> None:
    files = [f"vddbench.data.datasets.{path.stem}" for path in Path(movingshapes.__file__).parent.glob("[a-z]*.py")]
    heavy = "{'av', 'torch', 'pandas', 'pyarrow'} & set(sys.modules)"
    code = f"import sys\nfor name in {files}: __import__(name)\nassert len({files}) > 6 and not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_movingshapes_has_the_videos_it_pins() -> None:
    videos: list[Video] = list(movingshapes.videos(Path()))
    counts = {split: sum(v.split == split for v in videos) for split in ("train", "test")}
    assert counts == movingshapes.SPEC.num_videos and len({v.id for v in videos}) == len(videos)


# The official lists of UCF101


def write_lists(raw: Path, train: list[str], test: list[str]) -> Path:
    """`ucfTrainTestlist/`, whose train list has the class's number behind each name."""
    folder = raw / "ucfTrainTestlist"
    folder.mkdir(parents=True, exist_ok=True)
    train = [
        name.replace("HandstandP", "HandStandP") for name in train
    ]  # as classInd.txt and some copies of the lists write it
    lines = [f"{name.split('_')[1]}/{name}.avi" for name in train]
    (folder / "trainlist01.txt").write_text("".join(f"{line} 7\r\n" for line in lines))
    (folder / "testlist01.txt").write_text("".join(f"{name.split('_')[1]}/{name}.avi\r\n" for name in test))
    return raw


@needs_splits
def test_the_released_lists_are_accepted_and_changed_ones_refused(tmp_path: Path, clip: Path) -> None:
    with (SPLITS / "ucf101_split1.csv").open() as file:
        rows = list(csv.DictReader(file))
    of_split = {split: [row["folder_name"] for row in rows if row["split"] == split] for split in ("train", "test")}
    raw = copy_of_ucf(tmp_path, ["v_ApplyEyeMakeup_g01_c01"], clip)
    write_lists(raw, **of_split)
    for dataset in (ucf101, miniucf):
        assert [v.id for v in dataset.videos(raw)] == [v.id for v in dataset.videos(raw / "UCF-101")] == expected(dataset)
    moved = of_split["train"].pop()
    write_lists(raw, train=of_split["train"], test=[*of_split["test"], moved])
    with pytest.raises(ValueError, match=rf"not those of split 1: 1 clips are .*{moved}; take trainlist01.txt"):
        prepare("ucf101", raw=raw)
    write_lists(raw, train=of_split["train"][:-5], test=of_split["test"])
    with pytest.raises(ValueError, match="6 clips are missing or in the wrong part"):
        prepare("ucf101", raw=raw)


def test_lists_that_are_broken_are_refused(tmp_path: Path, clip: Path) -> None:
    raw = copy_of_ucf(tmp_path, ["v_ApplyEyeMakeup_g01_c01"], clip)
    (write_lists(raw, [], []) / "ucfTrainTestlist" / "testlist01.txt").write_text("ApplyEyeMakeup/../secret.avi\n")
    with pytest.raises(ValueError, match=r"testlist01.txt line 1 is not <Class>/v_<Class>_gNN_cNN.avi"):
        prepare("ucf101", raw=raw)
    (raw / "ucfTrainTestlist" / "testlist01.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"testlist01.txt; unpack it from .* split 1 is known without it"):
        prepare("ucf101", raw=raw)


def test_two_files_of_one_clip_are_refused(tmp_path: Path, clip: Path) -> None:
    raw = copy_of_ucf(tmp_path, ["v_HandStandPushups_g08_c01", "v_HandstandPushups_g08_c01"], clip)
    with pytest.raises(ValueError, match="two files are video v_HandstandPushups_g08_c01: "):
        prepare("ucf101", raw=raw)
