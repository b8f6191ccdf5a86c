"""Stores from frames that were extracted before, as SDD's code and twostreamfusion lay them out."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.builders.layouts import clip_name, write_splits
from tests.builders.videos import FIRST, STEP, numbers
from vddbench.data.datasets import hmdb51, miniucf
from vddbench.data.decode import UnreadableVideo
from vddbench.data.prepare import prepare
from vddbench.data.sources.frames import FROM_FRAMES, frame_files, in_frames, pixels_of, store_frames
from vddbench.data.store import Store
from vddbench.spec import Video

SPEC = miniucf.SPEC


def write_frames(
    folder: Path, levels: Sequence[int], size: tuple[int, int] = (112, 112), name: str = "frame{:06d}.jpg"
) -> Path:
    """Grey frames of these numbers (see tests/builders/videos.py), written in a shuffled order."""
    folder.mkdir(parents=True)
    order = list(enumerate(levels, start=1))
    random.Random(0).shuffle(order)
    for number, level in order:
        Image.new("RGB", size, (FIRST + STEP * level,) * 3).save(folder / name.format(number), quality=95)
    return folder


def stored(folder: Path, tmp_path: Path) -> np.ndarray:
    """[frames, 112, 112, 3]"""
    (tmp_path / "part").unlink(missing_ok=True)
    store_frames(folder, SPEC, tmp_path / "part")
    return np.fromfile(tmp_path / "part", np.uint8).reshape(-1, 112, 112, 3)


@pytest.mark.parametrize(
    "name",
    [
        "frame{:06d}.jpg", "frame{}.jpg", "img_{:05d}.jpg", "{}.JPEG", "{:010d}.jpg", "frame_{:010d}.jpg", "{:06d}.png",
        "video_{:04d}.jpg",
    ],
)  # fmt: skip
def test_frames_of_a_shuffled_directory_are_read_in_the_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    folder = write_frames(tmp_path / "video", range(20), name=name)
    assert os.listdir(folder) != [name.format(i) for i in range(1, 21)], "this disk lists files in order"  # noqa: PTH208
    (folder / "flow_x_00001.jpg").touch()
    (folder / "n_frames").touch()
    assert [path.name for path in frame_files(folder)[0]] == [name.format(i) for i in range(1, 21)]
    assert numbers(stored(folder, tmp_path)) == list(range(20))


def test_frames_whose_numbers_begin_anywhere_are_read_and_reported(
    ucf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((ucf / "v_Swing_g08_c01").iterdir(), reverse=True):
        path.rename(path.with_name(f"frame{int(path.stem[5:]) + 36:06d}.jpg"))
    files, first = frame_files(ucf / "v_Swing_g08_c01")
    assert (first, len(files)) == (37, 17)
    prepare("miniucf", frames_dir=ucf, workers=1)
    assert (
        "1 videos begin with a frame number other than 0 or 1, so frames may be missing at the start: v_Swing_g08_c01\n"
        in capsys.readouterr().err
    )


def test_frames_of_the_clips_size_are_stored_unchanged_and_others_scaled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8))
    (tmp_path / "cropped").mkdir()
    noise.save(tmp_path / "cropped" / "frame000001.jpg", quality=90)
    as_decoded = pixels_of((tmp_path / "cropped" / "frame000001.jpg").read_bytes())
    assert (stored(tmp_path / "cropped", tmp_path)[0] == as_decoded).all()
    picture = np.zeros((120, 160, 3), np.uint8)  # as 320x240 is scaled: the crop leaves 24 columns and 4 rows on each side
    picture[:, :24], picture[:4], picture[4:116, 24:136, 0] = 255, 255, 200
    for width, height in ((160, 120), (320, 240)):
        (tmp_path / str(width)).mkdir()
        large = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
        large.save(tmp_path / str(width) / "frame000001.jpg", quality=95, subsampling=0)
        clip = stored(tmp_path / str(width), tmp_path)
        assert clip.shape == (16, 112, 112, 3)
        assert abs(clip[:, 8:-8, 8:-8].astype(int) - [200, 0, 0]).max() <= 6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "frame000007.jpg").unlink(), "frame missing: 7"),
        (
            lambda folder: [path.unlink() for path in folder.iterdir() if int(path.stem[5:]) % 4 != 1],
            r"frame missing: 2: the numbers are 1, 5, 9, \.\.\., only one frame in 4\. .* extract all of them",
        ),
        (
            lambda folder: [path.rename(path.with_suffix(".bmp")) for path in folder.iterdir()],
            "no frames: among its 20 files, e.g. frame000001.bmp; they are named frame000001.jpg, img_00001.jpg or",
        ),
        (lambda folder: shutil.copy(folder / "frame000001.jpg", folder / "frame1.jpg"), "two files are frame 1"),
        (
            lambda folder: shutil.copy(folder / "frame000001.jpg", folder / "img_00021.jpg"),
            "frames of several kinds: frame, img_",
        ),
        (lambda folder: (folder / "frame000005.jpg").write_bytes(b""), "not a complete JPEG or PNG"),
        (lambda folder: os.truncate(folder / "frame000005.jpg", 700), "not a complete JPEG or PNG"),
        (lambda folder: Image.new("I;16", (4, 4)).save(folder / "frame000005.jpg", format="PNG"), "pixels of kind I;16"),
        (lambda folder: Image.new("RGB", (4, 4)).save(folder / "frame000005.jpg", format="GIF"), "not a complete JPEG or PNG"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no frames"),
        (lambda folder: Image.new("L", (5000, 5000)).save(folder / "frame000005.jpg"), "frames of 5000x5000 pixels"),
    ],
)
def test_a_folder_with_a_frame_missing_or_broken_is_unreadable(tmp_path: Path, change: object, reason: str) -> None:
    folder = write_frames(tmp_path / "video", range(20))
    assert callable(change)
    change(folder)
    with pytest.raises(UnreadableVideo, match=reason):
        stored(folder, tmp_path)


@pytest.fixture
def ucf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """miniucf cut down to one group of train, validation and test in two classes, and its frames; its folder of frames."""
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    kept = {"g01": "test", "g08": "train", "g22": "train"}
    classes = ("Biking", "Swing")
    videos = [v for v in miniucf.listing(None) if v.group.split("_")[0] in classes and v.group[-3:] in kept]
    counts = {split: sum(v.split == split for v in videos) for split in ("train", "test")}
    labels = {SPEC.class_names.index(name): label for label, name in enumerate(classes)}
    videos = [Video(id=v.id, path=None, label=labels[v.label], split=v.split, group=v.group) for v in videos]
    cut = SPEC.model_copy(update={"class_names": classes, "num_videos": counts})
    monkeypatch.setattr(miniucf, "SPEC", cut)
    monkeypatch.setattr(miniucf, "listing", lambda raw: iter(videos))
    for i, video in enumerate(videos):
        write_frames(tmp_path / "jpegs_112" / video.id, range(i, i + 17))
    return tmp_path / "jpegs_112"


def first_frames(store: Store) -> dict[str, int]:
    clips = store.train.clips(np.arange(len(store.train)), np.zeros(len(store.train), np.int64)).numpy()
    return {video: numbers(clip)[0] for video, clip in zip(store.train.index["video"], clips, strict=True)}


def test_a_dataset_is_prepared_from_frames_alone(ucf: Path) -> None:
    done = prepare("miniucf", frames_dir=ucf, workers=2)
    store = done.store
    assert {"train": len(store.train), "test": len(store.test)} == store.spec.num_videos and len(store.validation) > 0
    assert store.spec.source == SPEC.source + FROM_FRAMES
    expected = [video.id for video in miniucf.listing(None)]
    assert first_frames(store) == {video: expected.index(video) for video in first_frames(store)}
    assert prepare("miniucf", frames_dir=ucf).already
    deeper = ucf.with_name("by_class")
    for folder in ucf.iterdir():
        label = folder.name.split("_")[1]
        (deeper / label).mkdir(parents=True, exist_ok=True)
        folder.rename(deeper / label / folder.name.replace("Biking", "biking"))
    again = prepare("miniucf", frames_dir=deeper, force=True).store
    assert again.digest == store.digest


def test_videos_without_frames_are_named(ucf: Path, tmp_path: Path) -> None:
    shutil.rmtree(ucf / "v_Swing_g08_c01")
    with pytest.raises(ValueError, match=r"miniucf must be complete, but .*1 missing: v_Swing_g08_c01\. Complete"):
        prepare("miniucf", frames_dir=ucf)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no frames in .*empty: looked for folders such as .*v_Biking_g\d\d_c01 with"):
        prepare("miniucf", frames_dir=tmp_path / "empty")
    shutil.copytree(ucf / "v_Swing_g08_c02", ucf / "more" / "v_Swing_g08_c02")
    with pytest.raises(ValueError, match="two folders have the frames of v_Swing_g08_c02"):
        prepare("miniucf", frames_dir=ucf)


def test_a_broken_frame_stops_a_pinned_dataset_naming_the_video(ucf: Path) -> None:
    (ucf / "v_Swing_g08_c01" / "frame000003.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 videos of miniucf could not be read \(v_Swing_g08_c01: frame missing: 3\)"):
        prepare("miniucf", frames_dir=ucf)


def test_frames_of_lists_that_come_with_the_data_need_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = {"pour": 9}
    monkeypatch.setattr(hmdb51, "NUM_CLIPS", clips)
    monkeypatch.setattr(hmdb51, "OFFICIAL", {"train": 5, "test": 3})
    monkeypatch.setattr(hmdb51, "SPEC", hmdb51.SPEC.model_copy(update={"class_names": ("pour",)}))
    write_frames(tmp_path / "jpegs" / clip_name("pour", 4), range(3))
    with pytest.raises(FileNotFoundError, match="--raw is the folder that holds testTrainMulti_7030_splits/"):
        prepare("hmdb51", frames_dir=tmp_path / "jpegs")
    videos = in_frames(hmdb51.listing(write_splits(tmp_path, clips, 5, 3)), tmp_path / "jpegs")
    assert [video.id for video in videos if video.path] == [f"pour/{clip_name('pour', 4)}"] and len(videos) == 8


def test_frames_are_for_built_in_datasets_of_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="movingshapes is generated; leave out --frames-dir"):
        prepare("movingshapes", frames_dir=tmp_path)
    with pytest.raises(ValueError, match="--folder for your own videos: give one of them"):
        prepare("clips", folder=tmp_path, frames_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"--frames-dir .*nowhere is not a folder"):
        prepare("kinetics400", frames_dir=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no train\.csv or "):
        prepare("kinetics400", frames_dir=tmp_path, raw=tmp_path)
