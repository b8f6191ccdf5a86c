"""Kinetics-400 as crawlers and CVDF lay it out: some videos are always missing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.builders.layouts import file_name, link_to, write_kinetics_lists
from tests.builders.videos import numbers, write_video
from vddbench.data.build import Prepared
from vddbench.data.datasets import kinetics400
from vddbench.data.inventory import verify
from vddbench.data.prepare import prepare
from vddbench.data.store import Store, store_path
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import read_record
from vddbench.spec import Task

ARCHERY, HURLING = "archery", "hurling (sport)"
TRAIN = [(ARCHERY, "-3B32lodo2M", 0), (ARCHERY, "_dbcJuKJQNs", 59), (HURLING, "--aaaaaaaa0", 110), (HURLING, "bbbbbbbbbb1", 1)]
TEST = [(ARCHERY, "cccccccccc2", 7), (HURLING, "dddddddddd3", 1234)]
FIRST = {row[1]: 3 * i for i, row in enumerate([*TRAIN, *TEST])}  # number of a video's first frame


def made(video: str, path: Path) -> Path:
    """A video of 16 frames, every second of which is stored."""
    return write_video(path, 16, first=FIRST[video])


def in_splits(raw: Path) -> None:
    """CVDF: one flat folder a split, lists in annotations/, val.csv."""
    for folder, rows in (("train", TRAIN), ("val", TEST)):
        for _, video, start in rows:
            made(video, raw / folder / file_name(video, start))
    write_kinetics_lists(raw / "annotations", TRAIN, TEST)
    (raw / "annotations" / "validate.csv").rename(raw / "annotations" / "val.csv")


def in_classes(raw: Path) -> None:
    """Crawlers: folders of splits and of classes."""
    for folder, rows in (("train", TRAIN), ("val", TEST)):
        for label, video, start in rows:
            made(video, raw / folder / label.replace(" ", "_") / file_name(video, start))
    write_kinetics_lists(raw, TRAIN, TEST)


def with_replacements(raw: Path) -> None:
    """CVDF with its replacement folder, and arranged by class with links, as its script does."""
    in_splits(raw)
    label, video, start = TRAIN[1]
    (raw / "train" / file_name(video, start)).write_bytes(b"corrupted")
    made(video, raw / "replacement" / "replacement_for_corrupted_k400" / file_name(video, start))
    for label, video, start in TEST:
        link = raw / "videos" / "val" / label / file_name(video, start)
        link.parent.mkdir(parents=True)
        link.symlink_to(raw / "val" / link.name)
    (raw / "videos" / "all").symlink_to(raw)  # a circle


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kinetics400 cut down to two classes of two training clips and one to test on."""
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    cut = {"class_names": (ARCHERY, HURLING), "num_videos": {"train": 4, "test": 2}}
    monkeypatch.setattr(kinetics400, "SPEC", kinetics400.SPEC.model_copy(update=cut))


def run(raw: Path, **options: object) -> Prepared:
    return prepare("kinetics400", raw=raw, workers=1, **options)


def starts(store: Store) -> dict[str, list[int]]:
    """The frame numbers of each training clip."""
    clips = store.train.clips(np.arange(len(store.train)), store.train.last_starts).numpy()
    return {video: numbers(clip) for video, clip in zip(store.train.index["video"], clips, strict=True)}


@pytest.mark.parametrize("layout", [in_splits, in_classes, with_replacements])
def test_every_layout_gives_the_same_store(layout: Callable[[Path], None], tmp_path: Path) -> None:
    layout(tmp_path / "raw")
    store = run(tmp_path / "raw").store
    assert (len(store.train), len(store.test), store.num_missing) == (4, 2, 0)
    assert store.spec.clip_shape == (8, 64, 64, 3) and store.spec.num_missing == {"train": 0, "test": 0}
    expected = {}
    for _, video, start in TRAIN:
        expected[f"train/{file_name(video, start)[:-4]}"] = list(range(FIRST[video], FIRST[video] + 16, 2))
    assert starts(store) == expected
    assert list(store.test.index["video"]) == ["test/cccccccccc2_000007_000017", "test/dddddddddd3_001234_001244"]


def test_missing_and_broken_videos_are_listed_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw"
    write_kinetics_lists(raw, [*TRAIN, (ARCHERY, "eeeeeeeeee4", 5)], TEST)
    kinetics400.SPEC.num_videos["train"] += 1
    for _, video, start in [*TRAIN[:3], *TEST]:
        made(video, raw / file_name(video, start))
    (raw / file_name("eeeeeeeeee4", 5)).touch()
    (raw / file_name("bbbbbbbbbb1", 1)).symlink_to(raw / "nowhere.mp4")
    (raw / file_name("not_in_list", 3)).touch()
    done = run(raw)
    assert (len(done.store.train), len(done.store.test), done.store.num_missing) == (3, 2, 2)
    assert done.problems == {"not there": 1, "empty file": 1}
    with (done.store.path / "problems.csv").open(newline="") as file:
        problems = list(csv.reader(file))[1:]
    assert problems[0] == [str(raw / file_name("bbbbbbbbbb1", 1)), "not there"] and problems[1][1] == "empty file"
    written = json.loads((done.store.path / "spec.json").read_text())
    assert written["num_missing"] == {"train": 2, "test": 0} and written["num_videos"] == {"train": 5, "test": 2}
    assert "2 videos left out (1 not there, 1 empty file)" in capsys.readouterr().err
    assert run(raw).already
    (raw / file_name("bbbbbbbbbb1", 1)).unlink()
    made("bbbbbbbbbb1", raw / file_name("bbbbbbbbbb1", 1))
    with pytest.raises(ValueError, match="differs in: the list of videos or their sizes"):
        run(raw)
    again = run(raw, force=True).store
    assert again.num_missing == 1 and again.digest != done.store.digest


def test_shorter_lists_of_later_years_count_what_they_no_longer_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_splits(tmp_path / "raw")
    (tmp_path / "raw" / "train" / file_name("_dbcJuKJQNs", 59)).unlink()
    write_kinetics_lists(tmp_path / "raw", TRAIN[:3], TEST)
    done = run(tmp_path / "raw")
    said = capsys.readouterr().err
    assert "the lists name 3 of 4 train videos, 2 of 2 test videos; the others count as missing" in said
    assert "2 videos left out (1 not there, 1 not in the lists)" in said
    assert done.store.num_missing == 2 and done.store.spec.num_missing == {"train": 2, "test": 0}
    verify("kinetics400")


@pytest.mark.long
def test_every_record_counts_the_missing_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"1": 2, "5": 2, "10": 2, "full": 2}
    monkeypatch.setattr(kinetics400, "SPEC", kinetics400.SPEC.model_copy(update={"student_steps": steps}))
    in_splits(tmp_path / "raw")
    (tmp_path / "raw" / "train" / file_name("_dbcJuKJQNs", 59)).unlink()
    run(tmp_path / "raw")
    submission = distill("random", Task(dataset="kinetics400", ipc=1), 0, tmp_path / "submissions")
    evaluate([submission], students=["convnet3d"], seeds=range(1), results=tmp_path / "results")
    records = [read_record(path)[0] for path in (tmp_path / "results").rglob("seed0.json")]
    assert [record.num_missing for record in records] == [1] and records[0].num_test == 2


def test_an_interrupted_run_resumes_with_videos_that_were_added_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "raw"
    in_splits(raw)
    late = raw / "train" / file_name("-3B32lodo2M", 0)
    late.rename(tmp_path / late.name)
    with monkeypatch.context() as patch:
        patch.setattr("vddbench.data.build.write_store", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(raw)
    (tmp_path / late.name).rename(late)
    done = run(raw)
    assert done.num_resumed == 3 and done.store.num_missing == 0  # the two test videos follow the late one again
    assert done.store.digest == run(raw, force=True).store.digest


def test_a_class_without_training_videos_is_refused_before_decoding(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    in_splits(raw)
    for name in ("--aaaaaaaa0_000110_000120.mp4", "bbbbbbbbbb1_000001_000011.mp4"):
        (raw / "train" / name).unlink()
    with pytest.raises(
        ValueError, match=r"no existing training video in hurling \(sport\); 2 of 6 listed videos are not there"
    ):
        run(raw)
    assert not (store_path("kinetics400") / "frames.bin").exists()


def test_two_different_files_of_one_name_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    in_splits(raw)
    write_video(raw / "val" / "archery" / file_name("cccccccccc2", 7), 30)
    with pytest.raises(ValueError, match=r"two different files are clip cccccccccc2_000007_000017: .*; remove one"):
        run(raw)


def test_lists_that_are_not_the_official_ones_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        run(raw)
    raw.mkdir()
    with pytest.raises(FileNotFoundError, match=r"no train\.csv or .*; .*raw holds no files"):
        run(raw)
    write_kinetics_lists(raw, TRAIN, TEST)
    video_of_another_name = write_video(raw / "some" / "video.mp4", 5)
    with pytest.raises(FileNotFoundError, match=r"no video file of a listed clip .*1 \.mp4 \(e\.g\. some/video\.mp4\)"):
        run(raw)
    video_of_another_name.unlink()
    for path in raw.glob("*.csv"):
        path.unlink()
    link_to(write_video(tmp_path / "clip.mp4", 5))(raw / file_name("cccccccccc2", 7))
    with pytest.raises(FileNotFoundError, match=r"no train\.csv or .* in .*: the official list names the clips"):
        run(raw)
    made("_dbcJuKJQNs", raw / file_name("_dbcJuKJQNs", 59))
    for rows, reason in (
        ([*TRAIN, (ARCHERY, "eeeeeeeeee4", 0)], "are not the official ones: they name 5 of 4 train videos, 2 of 2 test"),
        ([("yodelling", "eeeeeeeeee4", 0)], "train.csv line 2: 'yodelling' is not a class of Kinetics-400"),
        ([*TRAIN[1:], TRAIN[1]], "the list names video train/_dbcJuKJQNs_000059_000069 twice"),
    ):
        write_kinetics_lists(raw, rows, TEST)
        with pytest.raises(ValueError, match=r".") as refusal:
            run(raw)
        assert reason in str(refusal.value)
    header = "label,youtube_id,time_start,time_end,split\n"
    write_kinetics_lists(raw, [], [])
    with pytest.raises(ValueError, match=r"the lists in .*raw name no clip"):
        run(raw)
    for text, reason in (
        ("label,youtube_id\n", "its first line has no column time_start, time_end, split"),
        (header + "archery,x,1\n", "line 2 has too few columns"),
        (header + "archery,x,1,11,validate\n", "line 2 is not a row of the train list"),
        (header + "archery,x,soon,11,train\n", "line 2 is not a row of the train list"),
        (header + "archery,\x00,1,11,train\n" + "a" * 200_000, "train.csv"),
    ):
        (raw / "train.csv").write_text(text)
        with pytest.raises(ValueError, match=r"train\.csv") as refusal:
            run(raw)
        assert reason in str(refusal.value)


def test_the_list_is_found_under_any_of_its_names_with_further_columns(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    in_splits(raw)
    path = raw / "annotations" / "train.csv"
    lines = path.read_text().splitlines()
    path.write_text("\ufeff" + "\n".join([lines[0] + ",is_cc", *(line + ",0" for line in lines[1:])]).replace(",59,", ",59.0,"))
    assert [video.id for video in kinetics400.listing(raw)][1] == "train/_dbcJuKJQNs_000059_000069"


def test_the_real_spec_has_400_classes_and_the_official_counts() -> None:
    assert len(kinetics400.CLASS_NAMES) == 400 and kinetics400.CLASS_NAMES[0] == "abseiling"
    assert "passing American football (in game)" in kinetics400.CLASS_NAMES
