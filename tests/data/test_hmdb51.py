"""HMDB51 as its two archives unpack, with the names it has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.builders.layouts import ODD, clip_name, link_to, numbered, write_hmdb, write_splits
from tests.builders.stores import SHARED
from tests.builders.videos import numbers
from vddbench.data.datasets import hmdb51, hmdb51_sdd
from vddbench.data.prepare import prepare
from vddbench.spec import DatasetSpec

pytestmark = pytest.mark.usefixtures("own_home")

COUNTS = SHARED / "data" / "splits" / "hmdb51_sdd_counts.csv"
needs_counts = pytest.mark.skipif(not COUNTS.is_file(), reason="no counts beside the checkout")
BOTH = pytest.mark.parametrize("dataset", [hmdb51, hmdb51_sdd])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """All 6,766 names."""
    return write_hmdb(tmp_path_factory.mktemp("hmdb"), hmdb51.NUM_CLIPS, link_to(clip))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """hmdb51 cut down to two classes of 12 and 9 clips, 5 train and 3 test each."""
    clips = {"pour": 12, "kick_ball": 9}
    cut: dict[str, object] = {"class_names": tuple(sorted(clips)), "num_videos": {"train": 10, "test": 6}}
    monkeypatch.setattr(hmdb51, "SPEC", hmdb51.SPEC.model_copy(update=cut))
    cut["num_videos"] = {"train": 15, "test": 6}
    monkeypatch.setattr(hmdb51_sdd, "SPEC", hmdb51_sdd.SPEC.model_copy(update=cut))
    monkeypatch.setattr(hmdb51, "NUM_CLIPS", clips)
    monkeypatch.setattr(hmdb51, "OFFICIAL", {"train": 5, "test": 3})
    return clips


@needs_counts
def test_the_pinned_counts_are_those_of_the_released_lists() -> None:
    rows = [line.split(",") for line in COUNTS.read_text().splitlines()[1:]]
    assert {name: int(train) + int(test) for name, train, test in rows} == hmdb51.NUM_CLIPS
    assert {"train": sum(int(row[1]) for row in rows), "test": sum(int(row[2]) for row in rows)} == hmdb51_sdd.SPEC.num_videos


@BOTH
def test_the_split_files_give_the_pinned_counts(dataset: ModuleType, whole: Path) -> None:
    videos = list(dataset.videos(whole))
    spec: DatasetSpec = dataset.SPEC
    assert Counter(video.split for video in videos) == spec.num_videos and all(video.path for video in videos)
    of_class = Counter((video.label, video.split) for video in videos)
    assert {count for (_, split), count in of_class.items() if split == "test"} == {30}
    walk = of_class[spec.class_names.index("walk"), "train"]
    assert walk == (70 if dataset is hmdb51 else 518)
    assert list(dataset.unlisted(whole)) == [] and [*dataset.videos(whole / "hmdb51_org")] == videos
    assert spec.student_steps["full"] == 500 * -(-spec.num_videos["train"] // 256)


def test_clips_with_odd_names_are_read_with_their_film(small: dict[str, int], tmp_path: Path) -> None:
    raw = write_hmdb(tmp_path / "my data", small, numbered(80), train=5, test=3)
    store = prepare("hmdb51", raw=raw, workers=1).store
    assert (len(store.train), len(store.test), store.num_missing) == (10, 6, 0)
    assert store.train.index["video"][7] == f"pour/{ODD[0]}_pour_u_cm_np1_fr_goo_2"
    assert set(store.test.index["group"]) == {f"pour/{ODD[1]}", f"kick_ball/{ODD[1]}"} and store.spec.validation_groups
    assert store.test.index["video"].str.count("Goal_1_&_2").sum() == 6
    clip = store.train.clips(np.array([0]), np.array([1])).numpy()
    assert numbers(clip[0])[:3] == [19, 23, 27]  # the 13th video made, from its second stored frame


def test_validation_films_are_not_in_the_rest_of_train(
    small: dict[str, int], tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = dict.fromkeys(small, 40)
    monkeypatch.setattr(hmdb51, "NUM_CLIPS", clips)
    monkeypatch.setattr(hmdb51, "OFFICIAL", {"train": 30, "test": 6})
    monkeypatch.setattr(hmdb51, "SPEC", hmdb51.SPEC.model_copy(update={"num_videos": {"train": 60, "test": 12}}))
    store = prepare("hmdb51", raw=write_hmdb(tmp_path, clips, link_to(clip), train=30, test=6)).store
    held_out = set(store.validation.index["group"])
    assert len(held_out) == 4 and held_out == set(store.spec.validation_groups)  # of 16
    assert not held_out & set(store.holdout_train.index["group"]) and set(store.holdout_train.labels) == {0, 1}


@BOTH
def test_clips_that_are_missing_or_too_many_are_named(
    dataset: ModuleType, small: dict[str, int], tmp_path: Path, clip: Path
) -> None:
    raw = write_hmdb(tmp_path, small, link_to(clip), train=5, test=3)
    folder = raw / "hmdb51_org" / "pour"
    (folder / f"{clip_name('pour', 6)}.avi").unlink()  # a test clip
    (folder / f"{clip_name('pour', 11)}.avi").unlink()  # one that only hmdb51_sdd uses
    (folder / "Home video (1).avi").hardlink_to(clip)
    (folder / "._a note of macOS.avi").hardlink_to(clip)
    name = dataset.__name__.rpartition(".")[2]
    with pytest.raises(ValueError, match="must be complete, but") as refusal:
        prepare(name, raw=raw)
    message, sdd = str(refusal.value), dataset is hmdb51_sdd
    assert ("14 of 15 train" if sdd else "10 of 10 train") in message and "5 of 6 test videos" in message
    assert f"{2 if sdd else 1} missing: pour/" in message and clip_name("pour", 6) in message
    assert (clip_name("pour", 11) in message) == sdd
    assert "1 unexpected: pour/Home video (1). Complete" in message


def test_classes_that_are_still_packed_are_named_with_how_to_unpack_them(
    small: dict[str, int], tmp_path: Path, clip: Path
) -> None:
    raw = write_splits(tmp_path / "raw", small, train=5, test=3)
    (raw / "hmdb51_org.rar").touch()
    with pytest.raises(FileNotFoundError, match=r"does not hold HMDB51.*unpack .*hmdb51_org.rar into .*unrar x"):
        prepare("hmdb51", raw=raw)
    (raw / "hmdb51_org" / "pour").mkdir(parents=True)
    (raw / "hmdb51_org" / "kick_ball.rar").touch()
    with pytest.raises(FileNotFoundError, match=r"1 classes in .* still packed: kick_ball; .*for f in \*.rar; do unrar x"):
        prepare("hmdb51", raw=raw)


def test_split_files_that_are_not_the_official_ones_are_refused(small: dict[str, int], tmp_path: Path, clip: Path) -> None:
    raw = write_hmdb(tmp_path, small, link_to(clip), train=5, test=3)
    path = raw / "testTrainMulti_7030_splits" / "pour_test_split1.txt"
    lines = path.read_text().splitlines()
    for changed, reason in (
        (lines[:-1], "11 clips, 5 train, 3 test; the official split has 12, 5, 3"),
        ([lines[0].replace(" 1", " 2"), *lines[1:]], "12 clips, 4 train, 4 test"),
        ([*lines[:-1], lines[0]], "line 12 repeats a clip"),
        ([*lines[:-1], "../../secret.avi 1"], "line 12 is not '<clip>.avi N'"),
        ([*lines[:-1], "clip.avi 3"], "line 12 is not '<clip>.avi N'"),
    ):
        path.write_text("\n".join(changed))
        with pytest.raises(ValueError, match=r"pour_test_split1\.txt") as refusal:
            prepare("hmdb51", raw=raw)
        assert reason in str(refusal.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*pour_test_split1.txt; --raw is the folder.*test_train_splits.rar"):
        prepare("hmdb51", raw=raw)
