"""`prepare --hub`: the store that local files give, from a repo of files or of parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.hubserver import Hub, at, serving
from tests.hubvideos import (
    REPO,
    binary_column,
    cut_hmdb,
    cut_ucf,
    files_of,
    publish,
    rows_of,
    shards,
    video_column,
    with_ids,
    write_small_hmdb,
    write_ucf,
)
from vddbench import hub as door
from vddbench.inventory import verify
from vddbench.prepare import prepare_named
from vddbench.store import Store, store_path


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(door, "FIRST_WAIT_SECONDS", 0.01)
    cut_hmdb(monkeypatch)
    cut_ucf(monkeypatch)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Hub]:
    with serving() as found, at(found.url, tmp_path / "hf"):
        yield found


@pytest.fixture(scope="module")
def hmdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_hmdb(tmp_path_factory.mktemp("hmdb"))


@pytest.fixture(scope="module")
def ucf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ucf(tmp_path_factory.mktemp("ucf"))


@pytest.fixture(scope="module")
def digests(hmdb: Path, ucf: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What local files give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VDDBENCH_HOME", str(tmp_path_factory.mktemp("local")))
        cut_hmdb(patch)
        cut_ucf(patch)
        raws = {"hmdb51": hmdb, "ucf101": ucf}
        return {name: prepare_named(name, raw=raw, workers=1).store.digest for name, raw in raws.items()}


def from_hub(name: str = "hmdb51", **options: object) -> Store:
    return prepare_named(name, hub=REPO, **{"workers": 1, **options}).store


def left_over() -> list[str]:
    return sorted(path.name for path in store_path("x").parent.iterdir() if not path.name.endswith(".lock"))


def as_shipped(path: str) -> str:
    return path


def in_classes(path: str) -> str:
    return path.removeprefix("hmdb51_org/").removeprefix("UCF-101/")


def nested(path: str) -> str:
    return f"data/v1/{path}"


def flat(path: str) -> str:
    return f"videos/{path.rpartition('/')[2]}" if path.endswith(".avi") else path


@pytest.mark.parametrize("place", [as_shipped, in_classes, nested, flat])
@pytest.mark.parametrize("name", ["hmdb51", "ucf101"])
def test_files_of_a_repo_give_the_store_of_local_files(
    board: Hub, hmdb: Path, ucf: Path, digests: dict[str, str], name: str, place: Callable[[str], str]
) -> None:
    raw = {"hmdb51": hmdb, "ucf101": ucf}[name]
    sha = publish(board, {place(path): data for path, data in files_of(raw).items()} | {"README.md": b"#", "sample.json": b"{}"})
    store = from_hub(name)
    assert store.digest == digests[name] and left_over() == [name]
    told = json.loads((store.path / "spec.json").read_bytes())
    assert told["origin"] == f"{board.url}/datasets/{REPO} at commit {sha}" and store.spec.origin == told["origin"]
    verify(name)
    assert prepare_named(name, raw=raw, workers=1).already and prepare_named(name, hub=REPO).already


TABLES: dict[str, Callable[[list[tuple[str, bytes]]], pa.Table]] = {
    "a Video column": video_column, "bytes and a path": binary_column, "bytes and an id": with_ids,
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("name", ["hmdb51", "ucf101"])
def test_parquet_of_a_repo_gives_the_store_of_local_files(
    board: Hub, hmdb: Path, ucf: Path, digests: dict[str, str], name: str, table: Callable[[list[tuple[str, bytes]]], pa.Table]
) -> None:
    raw = {"hmdb51": hmdb, "ucf101": ucf}[name]
    lists = {path: data for path, data in files_of(raw).items() if path.endswith(".txt")}
    sha = publish(board, shards(rows_of(raw), table) | lists)
    store = from_hub(name)
    assert store.digest == digests[name] and left_over() == [name]
    assert store.spec.origin == f"{board.url}/datasets/{REPO} at commit {sha}"
    verify(name)
