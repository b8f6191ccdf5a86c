"""`prepare --hub`: the store that local files give, from a repo of files or of parquet."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.builders.hub_videos import (
    REPO,
    Table,
    binary_column,
    cut_hmdb,
    cut_ucf,
    files_of,
    left_over,
    publish,
    rows_of,
    shards,
    video_column,
    with_ids,
    write_small_hmdb,
)
from tests.builders.layouts import write_kinetics_lists, write_ssv2_lists
from tests.builders.videos import write_folder, write_video
from tests.tools.hubserver import Hub
from vddbench import hub as door
from vddbench.data.datasets import kinetics400, ssv2
from vddbench.data.inventory import verify
from vddbench.data.listing import sizes
from vddbench.data.prepare import prepare
from vddbench.data.sources.hub import prepared, standins
from vddbench.data.sources.hub.standins import StandIns
from vddbench.data.sources.hub.videos import builtin_videos
from vddbench.data.store import Store, store_path
from vddbench.hub import client
from vddbench.lookup import load


@pytest.fixture(autouse=True)
def small_datasets(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    cut_hmdb(monkeypatch)
    cut_ucf(monkeypatch)


@pytest.fixture(scope="module")
def hmdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_hmdb(tmp_path_factory.mktemp("hmdb"))


@pytest.fixture(scope="module")
def raws(hmdb: Path, ucf: Path) -> dict[str, Path]:
    return {"hmdb51": hmdb, "ucf101": ucf}


@pytest.fixture(scope="module")
def digests(hmdb: Path, ucf_digest: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of the stores of local files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VDDBENCH_HOME", str(tmp_path_factory.mktemp("local")))
        cut_hmdb(patch)
        return {"hmdb51": prepare("hmdb51", raw=hmdb, workers=1).store.digest, "ucf101": ucf_digest}


def from_hub(name: str = "hmdb51", **options: object) -> Store:
    return prepare(name, hub=REPO, **{"workers": 1, **options}).store


def as_shipped(path: str) -> str:
    return path


def in_classes(path: str) -> str:
    return path.removeprefix("hmdb51_org/").removeprefix("UCF-101/")


def nested(path: str) -> str:
    return f"data/v1/{path}"


def flat(path: str) -> str:
    return f"videos/{path.rpartition('/')[2]}" if path.endswith(".avi") else path


@pytest.mark.parametrize(("name", "place"), [("hmdb51", as_shipped), ("ucf101", in_classes)])
def test_files_of_a_repo_give_the_store_of_local_files(
    board: Hub, raws: dict[str, Path], digests: dict[str, str], name: str, place: Callable[[str], str]
) -> None:
    files = {place(path): data for path, data in files_of(raws[name]).items()}
    sha = publish(board, files | {"README.md": b"#", "sample.json": b"{}"})
    store = from_hub(name)
    assert store.digest == digests[name] and left_over() == [name]
    told = json.loads((store.path / "spec.json").read_bytes())
    assert told["origin"] == f"{board.url}/datasets/{REPO} at commit {sha}" and store.spec.origin == told["origin"]
    verify(name)
    assert prepare(name, raw=raws[name], workers=1).already and prepare(name, hub=REPO).already
    assert left_over() == [name]


@pytest.mark.parametrize("place", [as_shipped, in_classes, nested, flat])
@pytest.mark.parametrize("name", ["hmdb51", "ucf101"])
def test_videos_are_known_by_their_names_in_any_folders(
    board: Hub, raws: dict[str, Path], tmp_path: Path, name: str, place: Callable[[str], str]
) -> None:
    publish(board, {place(path): data for path, data in files_of(raws[name]).items()})
    listing, module = door.listing(door.Repo(REPO)), load("dataset", name)
    spec, videos, unlisted, source = builtin_videos(
        module, door.Repo(REPO), listing, None, StandIns(tmp_path / "standins", "the repo")
    )
    local = list(module.videos(raws[name]))
    assert [replace(video, path=None) for video in videos] == [replace(video, path=None) for video in local]
    assert [Path(place(str(video.path and video.path.relative_to(raws[name])))) for video in local] == [v.path for v in videos]
    assert source.sizes({video.id: video for video in videos}) == sizes({video.id: video for video in local})
    assert unlisted == [] and spec.validation_groups
    assert not board.asked_for(r"/resolve/.*avi")


TABLES: dict[str, Table] = {
    "a Video column": video_column, "bytes and a path": binary_column, "bytes and an id": with_ids,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "table"), [("hmdb51", "a Video column"), ("ucf101", "bytes and a path"), ("ucf101", "bytes and an id")]
)
def test_parquet_of_a_repo_gives_the_store_of_local_files(
    board: Hub, raws: dict[str, Path], digests: dict[str, str], name: str, table: str
) -> None:
    lists = {path: data for path, data in files_of(raws[name]).items() if path.endswith(".txt")}
    rows = rows_of(raws[name])
    files = shards(rows, TABLES[table]) | lists
    sha = publish(board, files)
    store = from_hub(name)
    assert store.digest == digests[name] and left_over() == [name]
    assert store.spec.origin == f"{board.url}/datasets/{REPO} at commit {sha}"
    verify(name)
    size = sum(len(data) for data in files.values() if data)
    assert board.sent_bytes < 4 * size  # the footer, and a row group twice that has train and test
    assert prepare(name, hub=REPO).already


def test_kinetics_is_found_in_any_folders_and_what_is_missing_is_counted(
    board: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = {"class_names": ("archery", "hurling"), "num_videos": {"train": 4, "test": 2}}
    monkeypatch.setattr(kinetics400, "SPEC", kinetics400.SPEC.model_copy(update=cut))
    train = [("archery", "-3B32lodo2M", 0), ("hurling", "--aaaaaaaa0", 110), ("hurling", "bbbbbbbbbb1", 1)]
    test = [("archery", "cccccccccc2", 7), ("hurling", "dddddddddd3", 1234)]
    raw = tmp_path / "raw"
    for i, (label, video, start) in enumerate([train[0], train[2], *test]):
        write_video(raw / "videos" / label / f"{video}_{start:06d}_{start + 10:06d}.mp4", 16, first=i)
    write_kinetics_lists(raw / "annotations", train, test)
    local = prepare("kinetics400", raw=raw, workers=1).store
    (local.path).rename(tmp_path / "local")
    publish(board, files_of(raw))
    store = from_hub("kinetics400")
    assert store.digest == local.digest and store.num_missing == 2 == local.num_missing
    assert store.spec.num_missing == {"train": 2, "test": 0}
    problems = (store.path / "problems.csv").read_text().splitlines()
    assert problems == ["path,reason", "train/--aaaaaaaa0_000110_000120,not there"]


def test_ssv2_in_parquet_with_numbers_for_names(board: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = "Pushing [something] from right to left", "Pushing [something] from left to right"
    classes = tuple(sorted(map(ssv2.class_of, (left, right))))
    cut = {"class_names": classes, "num_videos": {"train": 2, "test": 2}}
    monkeypatch.setattr(ssv2, "SPEC", ssv2.SPEC.model_copy(update=cut))
    for video in (2, 10, 61, 7, 99):
        write_video(tmp_path / "raw" / "20bn-something-something-v2" / f"{video}.webm", 16, first=video % 10)
    write_ssv2_lists(tmp_path / "raw", [(2, left), (10, right)], [(61, right), (7, left)])
    local = prepare("ssv2", raw=tmp_path / "raw", workers=1).store
    local.path.rename(tmp_path / "local")
    rows = rows_of(tmp_path / "raw")
    columns = {"id": [int(Path(path).stem) for path, _ in rows], "video": [data for _, data in rows], "label": [right] * 5}
    publish(board, shards(list(columns), lambda _: pa.table(columns), count=1))
    with pytest.raises(FileNotFoundError, match=r"no something-something-v2-train.json in dataset repo lab/videos at .*"
                       r"With --hub, give the lists that the repo lacks as --raw DIR"):  # fmt: skip
        from_hub("ssv2")
    assert from_hub("ssv2", raw=tmp_path / "raw").digest == local.digest


def test_the_users_own_videos_in_a_repo_are_read_like_a_folder(board: Hub, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", train=3, test=1)
    (folder / "groups.csv").write_text("path,group\ntrain/left/0.avi,ann\ntrain/right/1.avi,bob\n")
    options = {"frames": 8, "size": 32, "stride": 1, "workers": 1}
    (folder / "train" / "left" / "9.avi").write_bytes(b"no video")
    local = prepare("mine", folder=folder, **options).store
    publish(board, files_of(folder))
    store = prepare("theirs", hub=REPO, **options).store
    assert store.digest == local.digest and store.spec.validation_groups and store.num_missing == 1
    assert "\ntrain/left/9.avi,cannot be decoded" in (store.path / "problems.csv").read_text()


# What is refused, before any video is fetched


def refused(board: Hub, words: str, name: str = "ucf101", kind: type[Exception] = ValueError, **options: object) -> str:
    with pytest.raises(kind, match=words) as refusal:
        from_hub(name, **options)
    assert not board.asked_for(r"/resolve/.*(avi|mp4)") and not store_path(name).exists() and left_over() == []
    return str(refusal.value)


def renamed(files: dict[str, bytes], **names: str | None) -> dict[str, bytes | None]:
    """v_Archery_g06_c01=... goes to another path, or is missing."""
    found: dict[str, bytes | None] = {}
    for path, data in files.items():
        stem = Path(path).stem
        if stem not in names:
            found[path] = data
        elif (path_now := names[stem]) is not None:
            found[path_now] = data
    return found


@pytest.mark.parametrize("as_parquet", [False, True])
def test_missing_and_extra_videos_are_named(board: Hub, ucf: Path, as_parquet: bool) -> None:
    extra = "UCF-101/Archery/v_Archery_g26_c01.avi"
    files = renamed(files_of(ucf), v_Archery_g06_c01=None, v_Archery_g08_c01=None) | {extra: b"RIFF"}
    if as_parquet:
        rows = [(path, data) for path, data in files.items() if data is not None]
        publish(board, shards(rows, video_column))
    else:
        publish(board, files)
    told = refused(board, "ucf101 must be complete, but 5 of 6 train videos, 3 of 4 test videos")
    assert "2 missing: v_Archery_g06_c01, v_Archery_g08_c01; 1 unexpected: v_Archery_g26_c01" in told


def test_two_files_of_one_name_are_named(board: Hub, ucf: Path) -> None:
    again = "copies/Archery/v_Archery_g06_c01.avi"
    publish(board, files_of(ucf) | {again: b"RIFF"})
    assert again in refused(board, r"two files are Archery/v_Archery_g06_c01.avi: UCF-101/Archery/.* and copies/.*allowed: one")
    board.put(REPO, {again: None, "UCF-101/archery/V_ARCHERY_G07_C01.avi": b""})
    publish(board, {"UCF-101/Archery/v_archery_g06_c01.avi": b"RIFF"})
    refused(board, r"two files are video v_Archery_g06_c01: dataset repo lab/videos at [0-9a-f]{8}: Archery/v_Archery_g06")


def test_a_row_that_appears_twice_is_named(board: Hub, ucf: Path) -> None:
    rows = rows_of(ucf)
    publish(board, shards([*rows, rows[0]], binary_column))
    refused(
        board, r"two files are .*: data/train-00000-of-00002.parquet row 0 of row group 0 and .*-00001-.* row . of row group 1"
    )


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"UCF101.zip": b"PK", "parts/a.tar.gz": b"", "b.tar.gz": b""},
            r"neither video files .*but 2 .tar.gz, 1 .zip.*Archives",
        ),
        ({}, "neither video files .* nor parquet files, but nothing"),
        ({"a.mp4": b"x"}, "lab/videos at [0-9a-f]{8} does not hold UCF101"),
        ({"data/train.parquet": b"PAR1" * 9}, "data/train.parquet can't be read as parquet: "),
        ({"data/train.parquet": b"x"}, "data/train.parquet can't be read as parquet: "),
        ({"data/train.parquet": b"x" * 90 + (40).to_bytes(4, "little") + b"PAR1"}, "can't be read as parquet: "),
    ],
)
def test_a_repo_without_videos_is_refused(board: Hub, files: dict[str, bytes], words: str) -> None:
    publish(board, files)
    refused(board, words, kind=FileNotFoundError if "does not hold" in words else ValueError)


def test_parquet_is_read_for_built_in_datasets_only(board: Hub, ucf: Path) -> None:
    publish(board, shards(rows_of(ucf), video_column))
    told = refused(board, "has its videos in parquet files", name="mine")
    assert "hmdb51, hmdb51_sdd, kinetics400, miniucf, ssv2, ucf101 only" in told


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image": [b"x"], "label": [1]}, r"has the columns image \(binary\), label \(int64\); needed: .*video_id"),
        ({"path": ["a.avi"], "text": ["x"]}, r"has the columns path \(string\), text \(string\); needed:"),
        ({"path": ["a.avi"], "a": [b"x"], "b": [b"x"]}, "2 columns may be the videos, name it 'video'"),
        ({"path": ["a", None], "video": [b"x", b"y"]}, "has the columns"),
        ({"video": [{"bytes": b"x", "path": None}]}, "has the columns video \\(struct"),
        ({"video": [b"x"], "file": [""]}, "row 0 of row group 0 has no name in file"),
        ({"video": [b"x"], "file": ["Archery/\x1b[2J.avi"]}, "is not a relative path of printable letters"),
        ({"video": [b"x"], "file": ["Archery/" + "x" * 300]}, "is not a relative path of printable letters"),
    ],
)
def test_parquet_without_names_or_videos_is_refused_with_what_is_there(
    board: Hub, columns: dict[str, list[object]], words: str
) -> None:
    publish(board, shards([("", b"")], lambda _: pa.table(columns), count=1))
    assert "\x1b" not in refused(board, words)


@pytest.mark.parametrize(
    "path",
    [
        "train/\x1b[2J.avi",
        "train//b.avi",
        "train/a\\b.avi",
        "test/a\n.avi",
        "test/" + "x" * 300 + ".avi",
        "test/" + "a/" * 600 + "b.avi",
    ],
)
def test_a_name_that_is_not_a_relative_path_is_refused(board: Hub, path: str) -> None:
    """git has no such paths; a server could."""
    publish(board, {path: b"RIFF"})
    assert "\x1b" not in refused(board, "is not a relative path of printable letters", name="mine")


def test_a_path_that_leaves_the_folder_is_ignored(board: Hub) -> None:
    publish(board, {"../train/a/b.avi": b"", "train/../../b.avi": b"", ".git/a.avi": b"", "train/.b.avi": b""})
    refused(board, "has neither video files", name="mine")
    for path in ("../train/a/b.avi", "a/../../b.avi", "train/./b.avi", ""):
        with pytest.raises(ValueError, match="is not a relative path of printable letters"):
            standins.check_path(path)


def test_a_video_of_any_size_has_a_stand_in(tmp_path: Path) -> None:
    folder = StandIns(tmp_path / "standins", "the repo")
    folder.add("a/0.avi", 3 * 10**9, "a/0.avi")
    assert (folder.folder / "a" / "0.avi").stat().st_size == 3 * 10**9


def test_a_file_as_a_folder_of_another_is_refused(tmp_path: Path) -> None:
    folder = StandIns(tmp_path / "standins", "the repo")
    folder.add("a/0.avi", 0, "a/0.avi")
    with pytest.raises(ValueError, match=r"the repo: b/1.avi has nearly the name of another file"):
        folder.add("a/0.avi/1.avi", 0, "b/1.avi")
    folder.add("a/1/2.avi", 0, "a/1/2.avi")
    with pytest.raises(ValueError, match="nearly the name"):
        folder.add("a/1", 0, "a/1")


def test_too_many_files_and_lists_of_another_form_are_refused(board: Hub, ucf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(board, files_of(ucf))
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "MAX_FILES", 9)
        refused(board, "has more than 9 files")
    board.put(REPO, {f"UCF-101/ucfTrainTestlist/{part}list01.txt": b"x" * 60 for part in ("train", "test")})
    refused(board, r"dataset repo lab/videos at [0-9a-f]{8}: ucfTrainTestlist/trainlist01.txt line 1 is not <Class>")


def test_wrong_lists_are_refused_from_the_repo_and_from_raw(board: Hub, ucf: Path, tmp_path: Path) -> None:
    lists = {"train": "Archery/v_Archery_g06_c01.avi 1\n", "test": "Archery/v_Archery_g08_c01.avi\n"}  # test is in train
    texts = {f"ucfTrainTestlist/{part}list01.txt": text.encode() for part, text in lists.items()}
    publish(board, files_of(ucf) | texts)
    refused(board, "are not those of split 1: 10 clips are missing or in the wrong part")
    (tmp_path / "ucfTrainTestlist").mkdir()
    for path, text in texts.items():
        (tmp_path / path).write_bytes(text)
    board.put(REPO, dict.fromkeys(texts))
    for raw in (tmp_path, tmp_path / "ucfTrainTestlist"):
        refused(board, "are not those of split 1", raw=raw)


@pytest.mark.parametrize(
    ("name", "options", "kind", "words"),
    [
        ("ucf101", {"folder": Path()}, ValueError, "leave out --folder and --frames-dir"),
        ("ucf101", {"frames_dir": Path()}, ValueError, "leave out --folder and --frames-dir"),
        ("ucf101", {"frames": 8}, ValueError, "--frames: only with --folder, or --hub under your own name"),
        ("ucf101", {"raw": Path("nosuch")}, FileNotFoundError, "--raw nosuch is not a folder"),
        ("mine", {"raw": Path()}, ValueError, "--raw is for the lists of a built-in dataset"),
        ("movingshapes", {}, ValueError, "movingshapes is generated; leave out --hub"),
        ("Mine", {}, ValueError, "up to 40 small letters"),
        ("mine", {"hub": "lab"}, LookupError, "a repo is called OWNER/NAME"),
        ("mine", {"hub": "lab/videos@"}, LookupError, "OWNER/REPO@revision"),
        ("mine", {"hub": "lab/videos@v1"}, FileNotFoundError, "has no such revision"),
        ("mine", {"hub": "lab/nosuch"}, FileNotFoundError, "no dataset repo lab/nosuch on http"),
    ],
)
def test_wrong_options_are_refused(
    board: Hub, name: str, options: dict[str, object], kind: type[Exception], words: str
) -> None:
    publish(board, {})
    with pytest.raises(kind, match=words):
        prepare(name, **{"hub": REPO, **options})
