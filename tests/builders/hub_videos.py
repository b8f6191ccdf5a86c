"""Dataset repos of videos on the test server: the tiny layouts as files, or the same bytes in parquet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders.layouts import numbered, write_hmdb
from tests.builders.videos import write_video
from tests.tools.hubserver import Hub
from vddbench import hub as door
from vddbench.data.datasets import hmdb51, ucf101
from vddbench.data.store import store_path

REPO = "lab/videos"
Files = dict[str, bytes | None]
Table = Callable[[list[tuple[str, bytes]]], pa.Table]
CLIPS = {"pour": 12, "kick_ball": 9}  # of hmdb51, cut down: 5 train and 3 test each
UCF_CLIPS = {"Archery": 5, "Basketball": 5}  # of ucf101, cut down: a clip in groups 6 to 10 each, so 2 test and 3 train


def cut_hmdb(patch: pytest.MonkeyPatch) -> None:
    cut = {"class_names": tuple(sorted(CLIPS)), "num_videos": {"train": 10, "test": 6}}
    patch.setattr(hmdb51, "SPEC", hmdb51.SPEC.model_copy(update=cut))
    patch.setattr(hmdb51, "NUM_CLIPS", CLIPS)
    patch.setattr(hmdb51, "OFFICIAL", {"train": 5, "test": 3})


def cut_ucf(patch: pytest.MonkeyPatch) -> None:
    counts = dict.fromkeys(UCF_CLIPS, tuple(int(6 <= group <= 10) for group in range(1, 26)))
    patch.setattr(ucf101, "num_clips", lambda: counts)
    cut = {"class_names": tuple(UCF_CLIPS), "num_videos": {"train": 6, "test": 4}, "validation_groups": ("Archery_g08",)}
    patch.setattr(ucf101, "SPEC", ucf101.SPEC.model_copy(update=cut))


def write_ucf(raw: Path) -> Path:
    for label, name in enumerate(UCF_CLIPS):
        for group in range(6, 11):
            write_video(raw / "UCF-101" / name / f"v_{name}_g{group:02d}_c01.avi", 70, first=group + 20 * label)
    return raw


def write_small_hmdb(raw: Path) -> Path:
    return write_hmdb(raw, CLIPS, numbered(70), train=5, test=3)


def files_of(raw: Path) -> dict[str, bytes]:
    return {path.relative_to(raw).as_posix(): path.read_bytes() for path in sorted(raw.rglob("*")) if path.is_file()}


def publish(hub: Hub, files: Mapping[str, bytes | None], name: str = REPO) -> str:
    """Commits files to a dataset repo; returns the commit's sha."""
    door.create(door.Repo(name))
    hub.put(name, dict(files))
    return hub.repo(name).at("main").sha


def left_over() -> list[str]:
    """The names of what is in the folder of prepared stores, except locks."""
    return sorted(path.name for path in store_path("x").parent.iterdir() if not path.name.endswith(".lock"))


def rows_of(raw: Path, seed: int = 0) -> list[tuple[str, bytes]]:
    """(path, content) of every video, shuffled."""
    rows = [(path, data) for path, data in files_of(raw).items() if path.endswith((".avi", ".mp4", ".webm"))]
    random.Random(seed).shuffle(rows)
    return rows


def video_column(rows: list[tuple[str, bytes]]) -> pa.Table:
    """A Video feature as `datasets` writes it: the file's name beside its bytes."""
    cells = [{"bytes": data, "path": path.rpartition("/")[2]} for path, data in rows]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.table({"video": pa.array(cells, kind), "label": pa.array([7] * len(rows))})


def binary_column(rows: list[tuple[str, bytes]]) -> pa.Table:
    """Bytes beside a path, as a table written by hand has them."""
    paths = [f"/data/{path}" for path, _ in rows]
    columns: dict[str, Any] = {"text": ["x"] * len(rows), "clip": [data for _, data in rows], "file_name": paths}
    return pa.table(columns)


def with_ids(rows: list[tuple[str, bytes]]) -> pa.Table:
    """Bytes beside a name without folders and extension."""
    names = [Path(path).stem for path, _ in rows]
    return pa.table({"video_id": names, "video": pa.array([data for _, data in rows], pa.large_binary())})


def shards(rows: list[tuple[str, bytes]], table: Table, count: int = 2, group: int = 3, **options: Any) -> Files:
    """The rows in `count` parquet files with row groups of `group`, under the names that `datasets` gives."""
    size, files = -(-len(rows) // count), {}
    for i in range(count):
        out = pa.BufferOutputStream()
        pq.write_table(table(rows[i * size : (i + 1) * size]), out, row_group_size=group, **options)
        files[f"data/train-{i:05d}-of-{count:05d}.parquet"] = out.getvalue().to_pybytes()
    return files
