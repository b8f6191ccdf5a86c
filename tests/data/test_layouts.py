"""Folders as labs keep them, and not as distributors ship them: each is read, or the refusal says what is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.builders.hub_videos import CLIPS, cut_hmdb, cut_ucf
from tests.builders.layouts import file_name, link_to, write_hmdb, write_kinetics_lists, write_ssv2_lists
from tests.builders.videos import write_folder, write_video
from vddbench.data.datasets import hmdb51, kinetics400, ssv2, ucf101
from vddbench.data.inventory import verify
from vddbench.data.prepare import prepare
from vddbench.data.sources.folder import read_folder

pytestmark = pytest.mark.usefixtures("own_home")

TRAIN = [("archery", "-3B32lodo2M", 0), ("hurling (sport)", "--aaaaaaaa0", 110)]
TEST = [("archery", "cccccccccc2", 7)]


@pytest.fixture
def kinetics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """kinetics400 cut down to two training clips and one to test on; a folder with its lists."""
    cut = {"class_names": ("archery", "hurling (sport)"), "num_videos": {"train": 2, "test": 1}}
    monkeypatch.setattr(kinetics400, "SPEC", kinetics400.SPEC.model_copy(update=cut))
    write_kinetics_lists(tmp_path / "raw", TRAIN, TEST)
    return tmp_path / "raw"


def unpadded(video: str, start: int) -> str:
    return f"{video}_{start}_{start + 10}.mp4"


def with_lists_of_mmaction(raw: Path) -> None:
    (raw / "annotations").mkdir()
    (raw / "train.csv").rename(raw / "annotations" / "kinetics_train.csv")
    (raw / "validate.csv").rename(raw / "annotations" / "kinetics_val.csv")


@pytest.mark.parametrize(
    "name",
    [lambda video, start: f"{video}.mp4", lambda video, start: file_name(video, start).replace(".mp4", ".mkv"), unpadded],
    ids=["ids", "mkv", "unpadded"],
)
def test_kinetics_clips_are_found_under_the_names_of_other_copies(
    kinetics: Path, name: Callable[[str, int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, rows in (("videos_train", TRAIN), ("videos_val/val", TEST)):
        for i, (_, video, start) in enumerate(rows):
            write_video(kinetics / folder / name(video, start), 9 + i)
    with_lists_of_mmaction(kinetics)
    store = prepare("kinetics400", raw=kinetics, workers=1).store
    assert (len(store.train), len(store.test), store.num_missing) == (2, 1, 0)
    assert sorted(store.index["video"])[0] == "test/cccccccccc2_000007_000017" and store.spec.source == kinetics400.SPEC.source
    by_id = "3 clips are taken from files or folders with a shorter name, e.g. " in capsys.readouterr().err
    assert by_id == (name("x", 1) == "x.mp4")


def test_an_id_with_two_clips_in_the_lists_is_left_out_and_whole_videos_are_refused(
    kinetics: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kinetics_lists(kinetics, [*TRAIN, ("archery", "-3B32lodo2M", 50)], TEST)
    for _, video, _ in [*TRAIN, *TEST]:
        write_video(kinetics / f"{video}.mp4", 50)
    found = [video.id for video in kinetics400.videos(kinetics) if video.path]
    assert found == ["train/--aaaaaaaa0_000110_000120", "test/cccccccccc2_000007_000017"]
    assert "2 clips share a shorter name with another, e.g. " in capsys.readouterr().err
    monkeypatch.setattr(kinetics400, "MAX_SECONDS", 1)
    with pytest.raises(ValueError, match=r"--aaaaaaaa0\.mp4 has 2 s: it is a whole video of YouTube, not the clip of 10 s"):
        prepare("kinetics400", raw=kinetics)


def test_replacements_are_preferred_as_files_and_as_frames(kinetics: Path) -> None:
    for _, video, start in [*TRAIN, *TEST]:
        write_video(kinetics / "all" / file_name(video, start), 9)
        for part in ("frames", "frames/replacement"):
            folder = kinetics / part / (video if video == "cccccccccc2" else file_name(video, start)[:-4])
            folder.mkdir(parents=True)
            Image.new("RGB", (64, 64), (200 if "replacement" in part else 0,) * 3).save(folder / f"{1:010d}.png")
    whole = write_video(kinetics / "replacement" / "archery" / file_name("-3B32lodo2M", 0), 9, first=5)
    paths = {video.id: video.path for video in kinetics400.videos(kinetics)}
    assert paths["train/-3B32lodo2M_000000_000010"] == whole
    store = prepare("kinetics400", raw=kinetics, frames_dir=kinetics / "frames", workers=1).store
    assert (store.test.frames == 200).all() and (store.train.frames == 200).all() and store.num_missing == 0


def test_videos_encoded_again_are_read_under_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ("Pushing something from left to right", "Pushing something from right to left")
    cut = {"class_names": classes, "num_videos": {"train": 2, "test": 1}}
    monkeypatch.setattr(ssv2, "SPEC", ssv2.SPEC.model_copy(update=cut))
    raw = tmp_path / "raw"
    for video in (1, 2, 3):
        write_video(raw / "videos" / f"{video}.mp4", 9)
    with pytest.raises(FileNotFoundError, match=r"no something-.*raw holds 3 files: 3 \.mp4 \(e\.g\. videos/1\.mp4\)"):
        prepare("ssv2", raw=raw)
    write_ssv2_lists(raw / "annotations", [(1, classes[0]), (2, classes[1])], [(3, classes[0])])
    store = prepare("ssv2", raw=raw, workers=1).store
    assert store.spec.source == f"{ssv2.SPEC.source}; from .mp4 files"
    verify("ssv2")
    write_video(raw / "videos" / "1.webm", 9)
    write_video(raw / "videos" / "2.webm", 9)
    assert [video.path.suffix for video in ssv2.videos(raw) if video.path] == [".webm", ".webm", ".mp4"]


def test_ucf101_is_found_in_one_folder_and_beside_annotations(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_ucf(monkeypatch)
    names = [video.id for video in ucf101.listing(None)]
    for name in names:
        for folder in (tmp_path / "flat", tmp_path / "lab" / "videos" / name.split("_")[1]):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.avi").hardlink_to(clip)
    for raw in (tmp_path / "flat", tmp_path / "lab"):
        assert [video.id for video in ucf101.videos(raw) if video.path] == names and not list(ucf101.unlisted(raw))
    (tmp_path / "lab" / "annotations").mkdir()
    for part in ("train", "test"):
        (tmp_path / "lab" / "annotations" / f"{part}list01.txt").write_text(f"Archery/{names[0]}.avi\n")
    with pytest.raises(ValueError, match="are not those of split 1"):
        prepare("ucf101", raw=tmp_path / "lab")
    (tmp_path / "other" / "x").mkdir(parents=True)
    (tmp_path / "other" / "x" / "Archery_1.avi").touch()
    with pytest.raises(FileNotFoundError, match=r"does not hold UCF101: .*1 \.avi \(e\.g\. x/Archery_1\.avi\)"):
        prepare("ucf101", raw=tmp_path / "other")


def test_hmdb51_is_found_beside_annotations(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_hmdb(monkeypatch)
    raw = write_hmdb(tmp_path / "raw", CLIPS, link_to(clip), train=5, test=3)
    names = [video.id for video in hmdb51.videos(raw) if video.path]
    (raw / "hmdb51_org").rename(raw / "videos")
    (raw / "testTrainMulti_7030_splits").rename(raw / "annotations")
    for place in (raw, raw / "videos"):
        assert [video.id for video in hmdb51.videos(place) if video.path] == names and len(names) == 16


# Folders of one's own


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = write_folder(tmp_path / "own", train=1)
    shutil.copytree(folder / "test", folder / "val")
    return folder


def test_the_videos_in_val_are_the_validation_videos(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "dev").mkdir()
    store = prepare("mine", folder=own, frames=4, size=16, stride=2, workers=1).store
    assert list(store.validation.index["video"]) == ["val/left/0.avi", "val/right/0.avi"]
    assert len(store.holdout_train) == 2 and list(store.test.index["video"]) == ["test/left/0.avi", "test/right/0.avi"]
    output = capsys.readouterr().err
    assert "own/val: its 2 videos are the validation videos, which are part of the training split" in output
    assert "warning: not read, as only train, test and val are: dev in " in output


def test_without_test_the_videos_in_val_are_the_test_videos(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(own / "test")
    store = prepare("mine", folder=own, frames=4, size=16, stride=2, workers=1).store
    assert list(store.test.index["video"]) == ["val/left/0.avi", "val/right/0.avi"] and len(store.train) == 2
    assert "the videos in val/ are the test videos, which give the scores" in capsys.readouterr().err


def test_a_folder_without_splits_or_with_two_for_validation_is_refused(own: Path) -> None:
    shutil.copytree(own / "val", own / "valid")
    with pytest.raises(ValueError, match="has val and valid: keep one"):
        read_folder(own)
    with pytest.raises(FileNotFoundError, match=r"no folder .*; .*train holds 2 files: 2 \.avi \(e\.g\. left/0\.avi\)"):
        read_folder(own / "train")


def test_an_empty_val_and_an_empty_line_of_groups_csv_mean_nothing(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "groups.csv").write_text("path,group\ntrain/left/0.avi,anna\n\n")
    for video in (own / "val").glob("*/*"):
        video.unlink()
    _, videos = read_folder(own)
    assert {video.id: video.group for video in videos}["train/left/0.avi"] == "anna"
    assert "validation videos, which are part" not in capsys.readouterr().err


def test_groups_that_reach_beyond_val_or_cover_only_some_videos_are_reported(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "groups.csv").write_text("path,group\ntrain/left/0.avi,anna\nval/left/0.avi,anna\nval/right/0.avi,ben\n")
    spec, _ = read_folder(own)
    assert spec.validation_groups == ("anna", "ben")
    output = capsys.readouterr().err
    assert "groups.csv names a group for only 3 of 6 videos; without one: test/left/0.avi" in output
    assert "1 videos in train/ are of a group in val/ and become validation videos, too: train/left/0.avi" in output


def test_short_videos_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "short", train=2)  # 9 and 10 frames
    write_video(folder / "train" / "left" / "3.avi", 3)
    prepare("mine", folder=folder, frames=5, size=16, stride=2, workers=1)
    for _ in range(2):  # also when it is prepared already
        output = capsys.readouterr().err
        assert "of 7 videos are shorter than 10 frames (5 frames at stride 2) and are stored with a smaller" in output
        assert "smaller stride: stride 1 for 5 videos\n" in output
        assert "1 of 7 videos have fewer than 5 frames: their frames are repeated from the start" in output
        prepare("mine", folder=folder, frames=5, size=16, stride=2, workers=1)
