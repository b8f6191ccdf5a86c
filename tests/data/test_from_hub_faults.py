"""`prepare --hub` while the Hub, the network, the repo or this machine misbehave: the same store in the end, or a sentence."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from huggingface_hub import hf_file_system

from tests.builders.hub_videos import (
    REPO,
    binary_column,
    cut_ucf,
    files_of,
    left_over,
    publish,
    rows_of,
    shards,
    video_column,
)
from tests.builders.videos import write_folder
from tests.tools import hubserver
from tests.tools.hubserver import Hub, environment
from vddbench import hub as door
from vddbench.data.datasets import ucf101
from vddbench.data.prepare import prepare
from vddbench.data.sources.hub import files, parquet, shard
from vddbench.data.store import Store, store_path
from vddbench.hub import client

SMALL = {"frames": 8, "size": 32, "stride": 1, "workers": 1}


@pytest.fixture(autouse=True)
def small_datasets(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    cut_ucf(monkeypatch)


def ucf_from_hub(where: str = REPO) -> Store:
    return prepare("ucf101", hub=where, workers=1).store


VIDEO = r"/resolve/.*(avi|parquet)"
SCRIPT = """
import sys
import pytest
from tests.builders.hub_videos import cut_ucf
from vddbench.hub import client
from vddbench.commands.main import main
client.FIRST_WAIT_SECONDS = 0.01
cut_ucf(pytest.MonkeyPatch())
sys.argv = ["vddbench", "prepare", "ucf101", "--workers", "1", "--hub", sys.argv[1]]
main()
"""


def started(board: Hub, home: Path, where: str = REPO, **more: str) -> subprocess.Popen[str]:
    """`vddbench prepare ucf101 --hub` in a process of its own."""
    told = {**os.environ, **environment(board.url, home), **more}
    command = [sys.executable, "-c", SCRIPT, where]
    return subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True, start_new_session=True)


# The repo moves, the connection breaks


@pytest.mark.parametrize("as_parquet", [False, True])
def test_all_videos_are_of_one_commit_and_every_connection_may_break(
    board: Hub,
    ucf: Path,
    ucf_digest: str,
    as_parquet: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = shards(rows_of(ucf), video_column, count=1) if as_parquet else files_of(ucf)
    sha = publish(board, files)
    board.watch("GET", VIDEO, lambda: board.put(REPO, dict.fromkeys(files, b"RIFF") | {"README.md": b"moved"}))
    board.fail("GET", VIDEO + "|/cdn/", times=2)
    board.fail("GET", VIDEO + "|/cdn/", times=2, cut=700)
    board.fail("GET", VIDEO, status=503)
    board.fail("GET", VIDEO, status=429, headers={"Retry-After": "0"})
    board.fail("GET", "/tree/", status=502)
    quick = partial(hf_file_system.http_backoff, base_wait_time=0.01, max_wait_time=0.01)
    monkeypatch.setattr(hf_file_system, "http_backoff", quick)
    store = ucf_from_hub()
    assert store.digest == ucf_digest and store.spec.origin == f"{board.url}/datasets/{REPO} at commit {sha}"
    assert as_parquet or "trying again" in capsys.readouterr().err  # the Hub's client logs its own further tries
    assert left_over() == ["ucf101"]
    assert board.repo(REPO).at("main").sha != sha and not any(fault.times for fault in board.faults)


def test_a_broken_download_resumes_where_it_stopped(board: Hub, ucf: Path) -> None:
    sha = publish(board, files_of(ucf))
    path, data = next(iter(files_of(ucf).items()))
    board.fail("GET", VIDEO, cut=len(data) - 10)
    board.sent_bytes, out, came = 0, io.BytesIO(), list[int]()
    door.copy(door.Repo(REPO), path, sha, 0, len(data), out, came.append)
    assert out.getvalue() == data and board.sent_bytes == sum(came) == len(data)
    with pytest.raises(ValueError, match="can change; allowed: the 40 hex digits"):
        door.copy(door.Repo(REPO), path, "main", 0, 9, out)
    with pytest.raises(OSError, match=rf"ended after {len(data):,} bytes, but the listing at {sha[:8]} says more"):
        door.copy(door.Repo(REPO), path, sha, 0, len(data) + 1, io.BytesIO())


def test_a_server_that_ignores_ranges_is_reported(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubserver, "ranged", lambda asked, data, headers: hubserver.Answer(200, data, headers))
    sha = publish(board, {"a.avi": b"0123456789"})
    out = io.BytesIO()
    door.copy(door.Repo(REPO), "a.avi", sha, 0, 4, out)
    assert out.getvalue() == b"0123"
    with pytest.raises(OSError, match=r"does not serve parts of files \(200\): a.avi"):
        door.copy(door.Repo(REPO), "a.avi", sha, 2, 4, out)


def test_other_bytes_than_listed_are_never_stored(board: Hub, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", train=1)
    for path in folder.rglob("*.avi"):
        path.rename(path.with_suffix(".mp4"))  # large files, with a sha256
    publish(board, files_of(folder))

    def spoil() -> None:
        for sha, data in list(board.uploaded.items()):
            board.uploaded[sha] = bytes(len(data))

    board.watch("GET", "/cdn/", spoil)
    with pytest.raises(OSError, match=r"0.mp4 has other bytes than the listing at [0-9a-f]{8} names"):
        prepare("mine", hub=REPO, **SMALL)
    assert not (store_path("mine") / "done.json").exists() and not (store_path("mine") / "parts").exists()


# Killed, interrupted, and gone on with


@pytest.mark.long
@pytest.mark.parametrize("as_parquet", [False, True])
def test_a_killed_run_resumes_at_its_commit_although_main_moved(
    board: Hub, ucf: Path, ucf_digest: str, tmp_path: Path, as_parquet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    sha = publish(board, shards(rows_of(ucf), video_column, count=4, group=2) if as_parquet else files_of(ucf))
    process = started(board, tmp_path / "hf2")
    journal = store_path("ucf101") / "journal"
    held = threading.Event()

    def hold() -> None:
        while not held.is_set() and journal.is_file() and journal.read_bytes().count(b"\n") > 3:
            time.sleep(0.01)

    board.watch("GET", "/resolve/", hold, times=999)
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 3):
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be stopped"
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=30)
    held.set()
    board.faults.clear()
    board.put(REPO, {"UCF-101/Archery/v_Archery_g06_c01.avi": b"RIFF", "README.md": b"moved"})
    assert ".ucf101.hub" in left_over()
    done = prepare("ucf101", hub=REPO, workers=1)
    assert done.num_resumed >= 3 and done.store.digest == ucf_digest and left_over() == ["ucf101"]
    assert done.store.spec.origin == f"{board.url}/datasets/{REPO} at commit {sha}"
    assert f"at its commit {sha[:8]}; for another one write {REPO}@COMMIT" in capsys.readouterr().err


@pytest.mark.long
def test_ctrl_c_is_obeyed_in_the_middle_of_a_download(board: Hub, ucf: Path, ucf_digest: str, tmp_path: Path) -> None:
    publish(board, files_of(ucf))
    over, reached = threading.Event(), threading.Event()
    board.watch("GET", r"g09_c01.avi", lambda: (reached.set(), over.wait(60)), times=2)
    process = started(board, tmp_path / "hf2")
    assert reached.wait(60)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    begun = time.monotonic()
    _, said = process.communicate(timeout=30)
    over.set()
    assert process.returncode == 130 and time.monotonic() - begun < 15 and "Traceback" not in said, said
    assert "run the same command again to resume" in said
    assert ucf_from_hub().digest == ucf_digest


def test_a_refused_commit_is_not_resumed(board: Hub, ucf: Path, ucf_digest: str) -> None:
    files = files_of(ucf)
    publish(board, files | {"UCF-101/Archery/v_Archery_g06_c01.avi": b"RIFF"})
    with pytest.raises(ValueError, match=r"1 videos of ucf101 could not be read \(v_Archery_g06_c01: cannot be decoded"):
        ucf_from_hub()
    sha = publish(board, files)
    store = ucf_from_hub()
    assert store.digest == ucf_digest and str(store.spec.origin).endswith(sha)


def test_a_revision_can_be_chosen(board: Hub, ucf: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clips", train=1)
    first = publish(board, files_of(folder))
    board.put(REPO, dict.fromkeys(files_of(folder)))
    board.repo(REPO).refs["refs/tags/v1"] = first
    store = prepare("mine", hub=f"{REPO}@v1", **SMALL).store
    assert store.spec.origin == f"{board.url}/datasets/{REPO} at commit {first}"
    assert prepare("mine", hub=f"{REPO}@{first}", **SMALL).already
    with pytest.raises(ValueError, match="has neither video files"):
        prepare("mine", hub=REPO, **SMALL)


# Who may read


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (
            None,
            r"you may not see it: check its name, and your user with `hf auth whoami`; `hf auth login` or HF_TOKEN sign in",
        ),
        ("hf_stranger", "or it is private and you may not see it"),
        ("hf_wrong", "the Hub does not know this token"),
    ],
)
def test_without_permission_to_read_the_error_says_what_to_do(
    board: Hub, monkeypatch: pytest.MonkeyPatch, token: str | None, words: str
) -> None:
    publish(board, {"a.avi": b""})
    board.repo(REPO).private = True
    with monkeypatch.context() as patch, pytest.raises(OSError, match=words):
        patch.setenv("HF_TOKEN", token) if token else patch.delenv("HF_TOKEN")
        ucf_from_hub()
    with pytest.raises(FileNotFoundError, match="does not hold UCF101"):
        ucf_from_hub()


def test_a_refusal_while_reading_does_not_mention_writing(board: Hub, ucf: Path) -> None:
    publish(board, files_of(ucf))
    board.fail("GET", VIDEO, status=403, times=99)
    with pytest.raises(PermissionError, match="you may not read dataset repo lab/videos: ask its owner for access"):
        ucf_from_hub()


# Bounded, whatever the repo


@pytest.mark.long
@pytest.mark.parametrize("as_parquet", [False, True])
def test_few_videos_are_on_the_disk_at_once(
    board: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_parquet: bool
) -> None:
    """120 videos come and go; those that are there are counted with each request."""
    counts = {"Archery": tuple(12 * int(6 <= group <= 10) for group in range(1, 26))}
    counts["Basketball"] = counts["Archery"]
    monkeypatch.setattr(ucf101, "num_clips", lambda: counts)
    cut = {"num_videos": {"train": 72, "test": 48}, "frames": 4, "size": 16, "resize": None}
    monkeypatch.setattr(ucf101, "SPEC", ucf101.SPEC.model_copy(update=cut))
    clip = next(write_folder(tmp_path / "clips", train=1).rglob("*.avi")).read_bytes()
    names = [video.id for video in ucf101.listing(None)]
    rows = [(f"UCF-101/{name.split('_')[1]}/{name}.avi", clip) for name in names]
    publish(board, shards(rows, binary_column, count=3, group=5, use_dictionary=False) if as_parquet else dict(rows))
    most = []

    def count() -> None:
        fetched = store_path("ucf101") / "parts" / "fetched"
        most.append(sum(path.is_file() for path in fetched.rglob("*")) if fetched.is_dir() else 0)

    board.watch("GET", "/resolve/", count, times=9999)
    store = prepare("ucf101", hub=REPO, workers=2).store
    assert (len(store.train), len(store.test)) == (72, 48)
    in_flight = 2 * 4 + 2  # of two workers, and those that they have just finished with
    assert max(most) <= in_flight + (2 * 5 if as_parquet else files.AHEAD)


def as_parquet_of(table: pa.Table, **options: object) -> dict[str, bytes | None]:
    return shards([("", b"")], lambda _: table, count=1, **options)  # type: ignore[arg-type]


def names_of_archery() -> list[str]:
    return [f"v_{name}_g{group:02d}_c01" for name in ("Archery", "Basketball") for group in range(6, 11)]


def test_a_row_group_that_is_too_large_is_refused(board: Hub, ucf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "MAX_ROW_GROUP_BYTES", 20_000)
    publish(board, shards(rows_of(ucf), video_column, group=99, use_dictionary=False, compression="none"))
    with pytest.raises(ValueError, match=r"row group 0 has [0-9,]+ bytes; allowed: 20,000"):
        ucf_from_hub()


def test_names_are_read_without_the_videos(board: Hub) -> None:
    """80 names in two files of 5 MB each."""
    rows = [(f"{i}.avi", random.Random(i).randbytes(125_000)) for i in range(80)]
    sha = publish(board, shards(rows, video_column, group=10))
    sizes = door.listing(door.Repo(REPO)).files
    board.sent_bytes = 0
    source = parquet.HubParquet(door.Repo(REPO), sha, {path: file for path, file in sizes.items() if path.startswith("data/")})
    assert [name for name, _ in source.names()] == [name for name, _ in rows]
    assert board.sent_bytes < 0.02 * 10**7


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_parquet_file_ends_in_an_error_message(board: Hub, ucf: Path, seed: int) -> None:
    """Bytes of its footer and of the pages before it are changed."""
    rng = random.Random(seed)
    content = shards(rows_of(ucf), video_column, count=1).popitem()[1]
    assert content
    for _ in range(40):
        spoilt = bytearray(content)
        for _ in range(rng.choice([1, 3, 30])):
            spoilt[rng.randrange(len(spoilt) - 3000, len(spoilt) - 8)] = rng.randrange(256)
        try:
            with shard.damage_explained("the file"):
                damaged = shard.Shard("the file", io.BytesIO(spoilt))
                columns = damaged.columns()
                for group in range(min(damaged.footer.num_row_groups, 9)):
                    damaged.names(group, columns.name)
                    for value in damaged.values(group, columns.video):
                        value.as_py()
        except ValueError as error:
            assert str(error).startswith("the file")


def test_videos_without_bytes_and_no_videos_are_listed_with_their_reasons(board: Hub) -> None:
    names = names_of_archery()
    publish(board, as_parquet_of(pa.table({"video_id": names, "video": [None, b"", b"no video", *[b"RIFF"] * 7]})))
    with pytest.raises(ValueError, match="10 videos of ucf101 could not be read"):
        ucf_from_hub()
    problems = (store_path("ucf101") / "problems.csv").read_text()
    assert "Archery/v_Archery_g06_c01.avi,empty file\n" in problems and "v_Archery_g08_c01.avi,cannot be decoded" in problems
