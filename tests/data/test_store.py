"""Reading a prepared store: every clip is whole, of one video, and the right one."""

from __future__ import annotations

import hashlib
import json
import mmap
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pyarrow.parquet import ParquetFile
from torch.utils.data import DataLoader

from vddbench.data import store_files
from vddbench.data.build import build_store
from vddbench.data.sources.folder import checked_spec
from vddbench.data.store import Store, load, open_train, store_path
from vddbench.data.store_files import DIGESTED, read_index, store_digest, write_index
from vddbench.spec import Video
from vddbench.system.allocator import new_memory
from vddbench.system.files import canonical_json

T, SIZE = 4, 8
LENGTHS = (4, 5, 9, 12)


def render(video: Video) -> np.ndarray:
    """Frame t of video v holds 20*v + t everywhere."""
    number = int(video.id[1:])
    frames = np.arange(LENGTHS[number % 4], dtype=np.uint8) + 20 * number
    return np.broadcast_to(frames[:, None, None, None], (len(frames), SIZE, SIZE, 3)).copy()


@pytest.fixture(scope="module")
def store(home: Path) -> Iterator[Store]:
    spec = checked_spec(
        class_names=("a", "b"), frames=T, size=SIZE, stride=1, resize=None, hflip_keeps_label=False,
        num_videos=None, validation_groups=("g1",), student_steps={"1": 1}, source="", licence="",
    )  # fmt: skip
    videos = [
        Video(id=f"v{i:02d}", path=None, label=i % 2, split="train" if i < 8 else "test", group=f"g{i // 2}") for i in range(12)
    ]
    built = build_store("counted", spec, videos, render=render).store
    yield built
    shutil.rmtree(built.path)  # tests of other files list the prepared datasets


def test_every_clip_of_every_video_is_the_right_frames(store: Store) -> None:
    for split in (store.train, store.test):
        for row, last in enumerate(split.last_starts.tolist()):
            starts = np.arange(last + 1)
            clips = split.clips(np.full(last + 1, row), starts).numpy()
            assert clips.shape == (last + 1, T, SIZE, SIZE, 3) and clips.dtype == np.uint8
            number = int(split.index["video"][row][1:])
            expected = 20 * number + starts[:, None] + np.arange(T)
            assert (clips == expected[:, :, None, None, None]).all()


def test_a_clip_never_crosses_into_the_next_video(store: Store) -> None:
    for start in (-1, int(store.train.last_starts[0]) + 1):
        with pytest.raises(IndexError, match="leave its video"):
            store.train.clips(np.array([0]), np.array([start]))


def test_starts_are_inside_every_video(store: Store) -> None:
    split = store.train
    even = split.even_starts(3)
    assert (even[:, 0] == 0).all() and (even[:, 2] == split.last_starts).all()
    assert (even[:, 1] == split.last_starts // 2).all() and (even[:, 1] == split.centre_starts(np.arange(len(split)))).all()
    assert (split.even_starts(1) == 0).all()
    videos = np.repeat(np.arange(len(split)), 200)
    drawn = split.random_starts(videos, np.random.default_rng(0)).reshape(len(split), 200)
    assert (drawn.min(1) == 0).all() and (drawn.max(1) == split.last_starts).all()


def test_the_splits_share_no_video_and_validation_shares_no_group_with_the_rest_of_train(store: Store) -> None:
    names = [set(split.index["video"]) for split in (store.holdout_train, store.validation, store.test)]
    assert len(set.union(*names)) == sum(map(len, names)) == 12
    assert set(store.train.index["video"]) == names[0] | names[1]
    assert set(store.validation.index["group"]) == {"g1"}
    assert "g1" not in set(store.holdout_train.index["group"])


def test_only_keeps_the_chosen_videos_and_their_clips(store: Store) -> None:
    train = store.train
    odd = train.only(train.labels == 1)
    assert len(odd) == 4 and set(odd.labels.tolist()) == {1}
    first = odd.clips(np.array([0]), np.array([0])).numpy()
    assert first[0, 0, 0, 0, 0] == 20 * int(odd.index["video"][0][1:])


def test_open_train_gives_no_way_to_the_test_videos(store: Store) -> None:
    train = open_train("counted")
    assert set(train.index["split"]) == {"train"}
    for split in (train, store.holdout_train, store.validation, train.only(train.labels == 1)):
        base: object = split.frames
        while isinstance(base, np.ndarray):
            frames, base = base, base.base
            assert frames.nbytes == store.train.index["num_frames"].sum() * SIZE * SIZE * 3
        assert isinstance(base, mmap.mmap) and len(base) == frames.nbytes
        assert bytes(base) == (store.path / "frames.bin").read_bytes()[: len(base)]
    assert len(store.test.frames) == store.test.index["num_frames"].sum()


def test_a_store_that_was_never_prepared_says_how_to_make_it(store: Store) -> None:
    with pytest.raises(LookupError, match=r"no prepared dataset named 'hmdb51'.*; run: vddbench prepare hmdb51$"):
        Store.open("hmdb51")


def test_a_name_that_no_dataset_has_is_compared_with_prepared_and_bundled_ones(store: Store) -> None:
    with pytest.raises(LookupError, match=r"did you mean counted.*; your own: vddbench prepare conted --folder DIR$"):
        Store.open("conted")
    with pytest.raises(LookupError, match=r"no dataset named 'movingshape'; did you mean movingshapes\b"):
        Store.open("movingshape")


def damaged(store: Store, tmp_path: Path) -> Path:
    copy = tmp_path / "counted"
    shutil.copytree(store.path, copy)
    return copy


def test_an_incomplete_store_is_refused(store: Store, tmp_path: Path) -> None:
    path = damaged(store, tmp_path)
    (path / "done.json").unlink()
    with pytest.raises(ValueError, match=r"incomplete.*prepare counted` again to resume"):
        Store.open("counted", path)


def test_a_store_with_missing_frames_is_refused(store: Store, tmp_path: Path) -> None:
    path = damaged(store, tmp_path)
    with (path / "frames.bin").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match=r"frames.bin has 1,000 bytes, its index says 17,280.*--force"):
        Store.open("counted", path)


@pytest.mark.parametrize("name", ["spec.json", "index.parquet", "done.json"])
def test_a_store_with_a_spoilt_file_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    path = damaged(store, tmp_path)
    (path / name).write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"is damaged.*--force"):
        Store.open("counted", path)


@pytest.mark.parametrize(
    ("name", "value"), [("digest", "abc"), ("fingerprint", "any text"), ("num_missing", "many"), ("num_missing", -1)]
)
def test_a_store_whose_done_json_has_a_value_of_the_wrong_form_is_refused(
    store: Store, tmp_path: Path, name: str, value: object
) -> None:
    path = damaged(store, tmp_path)
    done = json.loads((path / "done.json").read_text())
    (path / "done.json").write_text(json.dumps({**done, name: value}))
    with pytest.raises(ValueError, match=re.escape(f"is damaged ({name} is {value!r}: ")):
        Store.open("counted", path)


def test_a_store_with_an_edited_recipe_is_refused(store: Store, tmp_path: Path) -> None:
    path = damaged(store, tmp_path)
    spec = json.loads((path / "spec.json").read_text())
    spec["student_steps"]["1"] = 2
    (path / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match=r"is damaged \(spec.json or index.parquet was changed: digest .*--force"):
        Store.open("counted", path)


@pytest.mark.parametrize("column", ["label", "split", "validation", "group", "offset", "num_frames", "frames_sha256"])
def test_a_store_with_an_edited_index_is_refused(store: Store, tmp_path: Path, column: str) -> None:
    path = damaged(store, tmp_path)
    index = pd.read_parquet(path / "index.parquet")
    index[column] = index[column].to_numpy()[::-1]
    index.to_parquet(path / "index.parquet")
    with pytest.raises(ValueError, match=r"is damaged.*--force"):
        Store.open("counted", path)


def test_the_digest_of_a_store_stays_what_it_was(store: Store) -> None:
    assert store.digest == "ee683b21bca2f5dc60bfd81fdd1515751e235f53913331676edea874dd2478cd"


def test_a_store_describes_itself(store: Store) -> None:
    assert {p.name for p in store.path.iterdir()} == {"frames.bin", "index.parquet", "spec.json", "done.json", "problems.csv"}
    assert Store.open("counted", store_path("counted")).spec == store.spec
    done = json.loads((store.path / "done.json").read_text())
    assert done["digest"] == store.digest and done["num_videos"] == 12 and done["num_missing"] == 0


def test_an_index_is_written_read_and_hashed_in_parts_to_the_same_digest(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = store.index[DIGESTED].to_numpy(object).tolist()
    whole = hashlib.sha256(canonical_json([store.spec.model_dump(mode="json"), rows])).hexdigest()
    for rows_at_once in (1, 5, 12, 100):
        monkeypatch.setattr(store_files, "ROWS_AT_ONCE", rows_at_once)
        assert store_digest(store.spec, store.index) == whole == store.digest
        with (tmp_path / "index.parquet").open("wb") as file:
            write_index(store.index, file)
        assert ParquetFile(tmp_path / "index.parquet").num_row_groups == -(-12 // rows_at_once)
        pd.testing.assert_frame_equal(read_index(tmp_path / "index.parquet"), store.index)


@pytest.mark.parametrize("shape", [(0, 4, 8, 8, 3), (2, 4, 8, 8, 3), (5, 1 << 20), (4, 1 << 20)])
def test_memory_for_clips_has_its_shape_and_can_be_written(shape: tuple[int, ...]) -> None:
    memory = new_memory(shape)
    assert memory.shape == shape and memory.dtype == np.uint8 and not memory.any()
    memory[:] = 7
    assert torch.from_numpy(memory).sum() == 7 * memory.size


# As a dataset of torch and of `datasets`


def test_a_split_is_a_dataset_of_centre_clips_and_labels(store: Store) -> None:
    train = load("counted", "train")
    items = list(train)
    assert len(items) == len(train) == 8 and [label for _, label in items] == train.labels.tolist()
    centre = train.centre_starts(np.arange(8))
    for clip, expected in zip([clip for clip, _ in items], train.clips(np.arange(8), centre), strict=True):
        assert clip.dtype == torch.uint8 and torch.equal(clip, expected)
    assert torch.equal(train[-1][0], items[-1][0])
    assert load("counted", "test").index.equals(store.test.index) and len(load("counted", "validation")) == 2
    with pytest.raises(LookupError, match="no split named 'tests'; allowed: train, validation, test"):
        load("counted", "tests")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_a_dataloader_reads_a_split(store: Store, workers: int) -> None:
    loader = DataLoader(store.test, batch_size=3, num_workers=workers, multiprocessing_context="spawn" if workers else None)
    clips, labels = next(iter(loader))
    assert clips.shape == (3, T, SIZE, SIZE, 3) and labels.tolist() == store.test.labels[:3].tolist()
    assert torch.equal(clips, store.test.clips(np.arange(3), store.test.centre_starts(np.arange(3))))


def test_a_pickled_split_holds_no_frames_and_a_copy_reads_the_same_ones(store: Store) -> None:
    pickled = pickle.dumps(store.test)
    copy = pickle.loads(pickled)  # noqa: S301 - our own
    assert isinstance(copy.frames, np.memmap) and bytes(store.test.frames[0]) not in pickled
    assert torch.equal(copy[2][0], store.test[2][0])


def test_a_split_becomes_a_typed_dataset_of_the_datasets_library(store: Store) -> None:
    dataset = store.to_hf("test").with_format("numpy", dtype=np.uint8)
    assert dataset.features["label"].names == ["a", "b"] and dataset.features["clip"].dtype == "uint8"
    assert [row["video"] for row in dataset] == list(store.test.index["video"])
    for row, (clip, label) in zip(dataset, store.test, strict=True):
        assert (row["clip"] == clip.numpy()).all() and row["label"] == label
