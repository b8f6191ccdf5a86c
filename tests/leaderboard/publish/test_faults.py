"""Faults of the Hub, of files and of publishers lose nothing, double nothing, and end in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.builders.toy_board import (
    RESULTS,
    SPACE,
    commits_of_both,
    files_of_both,
    inventory_on_hub,
    publish_messages,
    table,
    to_the_hub,
    toy_records,
)
from tests.tools.hubserver import OLD_UPLOAD, STRANGER_TOKEN, Hub, environment
from vddbench.hub import client, commits
from vddbench.leaderboard.publish import publish
from vddbench.leaderboard.publish.local_files import gather_files

pytestmark = OLD_UPLOAD
ROOT = Path(__file__).parents[3]
COMMIT = r"/commit/"
SECONDS = 120  # until a publisher counts as hanging: its client waits for an answer forever


def test_a_merged_record_of_another_store_is_listed_and_left_out(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = toy_records(toy_records(tmp_path / "results"), "random")
    publish_messages(root)
    before = table(hub)
    publish_messages(toy_records(tmp_path / "theirs", "other", store_digest="9" * 64))
    assert table(hub) == before and sum(row["counts"] for row in table(hub, "records")) == 6
    assert len(table(hub, "records")) == 9
    assert "left out: record toy-ipc1/other@6f746865/convnet3d/seed0: its store_digest is 99999999" in capsys.readouterr().err


def test_a_strangers_invalid_record_is_listed_and_left_out(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root)
    [lie] = [
        path for path in gather_files([toy_records(tmp_path / "lie", "liar", seeds=1)], []).files if path.endswith(".json")
    ]
    text = next((tmp_path / "lie").rglob("seed0.json")).read_bytes()
    hub.put(
        RESULTS,
        {
            lie: text.replace(b'"top1": 0.5', b'"top1": 0.9'),
            lie.replace(".json", ".safetensors"): b"no tensors",
            "records/toy-ipc1/mine@6d696e65/convnet3d/seed9.0123456789abcdef.json": b"x" * 2_000_000,
            "records/../../../escaped.json": b"{}",
            "submissions/toy-ipc1/mine@6d696e65/manifest.json": b"[" * 1000,
        },
    )
    assert publish_messages(root) == []
    output = capsys.readouterr().err
    assert "liar" in output and "2,000,000 bytes" in output
    assert {row["method"] for row in table(hub)} == {"mine"} and not list(tmp_path.rglob("escaped.json"))


def test_a_damaged_record_is_replaced(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root)
    whole = hub.repo(RESULTS).files()
    predictions = next(path for path in whole if path.endswith(".safetensors"))
    hub.put(RESULTS, {predictions: b"something else"})
    (tmp_path / "home/hub/lab--vddbench-results" / predictions).write_bytes(b"something else")  # so is the copy here
    assert publish_messages(root) == ["Add 1 record of toy-ipc1"]
    assert hub.repo(RESULTS).files() == whole


def test_a_board_of_several_commits_can_be_interrupted_after_each(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "COMMIT_FILES", 2)
    root = tmp_path / "results"
    for name in ("a", "b", "c"):
        toy_records(root, name, seeds=1)
    hub.fail("POST", f"spaces/{SPACE}{COMMIT}", status=403, times=1, when="before")
    for _ in range(3):  # refused at its first commit to the Space, at its second, ...
        with pytest.raises(PermissionError):
            publish_messages(root)
        hub.watch("POST", f"spaces/{SPACE}{COMMIT}", lambda: hub.fail("POST", f"spaces/{SPACE}{COMMIT}", status=403))
    hub.faults.clear()
    publish_messages(root)
    files = hub.repo(SPACE, "spaces").files()
    assert set(inventory_on_hub(hub).files) | {"README.md", "built.json"} == set(files) and len(files) == 6
    assert publish_messages(root) == []


@pytest.mark.parametrize("place", ["the records", "the tables", "the board"])
@pytest.mark.parametrize("fault", [409, 429, 500, 503, "dropped before", "dropped after"])
def test_a_fault_of_the_hub_changes_nothing_in_the_end(
    hub: Hub, tmp_path: Path, place: str, fault: int | str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = fault if isinstance(fault, int) else None
    when: Any = "after" if fault == "dropped after" else "before"
    headers = {"Retry-After": "0"} if fault == 429 else {}

    def injected() -> None:
        hub.fail("POST", COMMIT, status=status, headers=headers, when=when)

    if place == "the records":
        injected()
    else:
        hub.watch("POST", f"datasets/{RESULTS}{COMMIT}", injected if place == "the tables" else lambda: hub.watch(
            "POST", f"datasets/{RESULTS}{COMMIT}", injected))  # fmt: skip
    publish_messages(toy_records(tmp_path / "results"))
    assert commits_of_both(hub) == (["Add 3 records of toy-ipc1", "Regenerate the tables"], ["Regenerate the board"])
    assert len(table(hub, "records")) == 3
    assert "the Hub did not answer" in capsys.readouterr().err


def test_a_refused_upload_ends_in_a_sentence(hub: Hub, tmp_path: Path) -> None:
    hub.fail("PUT", "/lfs/", status=403, times=9)
    code, output = to_the_hub(toy_records(tmp_path / "results"))
    assert code == 1 and "you may not write" in output and "Traceback" not in output


def test_retries_wait_as_long_as_the_hub_asks(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("vddbench.hub.client.time.sleep", waited.append)
    hub.fail("POST", COMMIT, status=429, headers={"Retry-After": "17"})
    publish_messages(toy_records(tmp_path / "results"))
    assert max(waited) == 17


@pytest.mark.parametrize("repo", ["results", "space"])
def test_tables_are_generated_again_if_somebody_was_faster(hub: Hub, tmp_path: Path, repo: str) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root)
    theirs = gather_files([toy_records(tmp_path / "theirs", "other")], []).files
    others = {path: file.read_bytes() for path, file in theirs.items()}
    toy_records(root, "third")

    def faster() -> None:
        hub.put(RESULTS, others)
        if repo == "space":
            hub.put(SPACE, {"index.html": b"of all four"}, "spaces")

    first = f"datasets/{RESULTS}{COMMIT}" if repo == "results" else f"spaces/{SPACE}{COMMIT}"
    if repo == "results":  # after the records, before the tables
        hub.watch("POST", first, lambda: hub.watch("POST", first, faster))
    else:
        hub.watch("POST", first, faster)
    publish_messages(root)
    assert 412 in [status for _, _, status in hub.asked]
    assert {row["method"] for row in table(hub)} == {"mine", "third", "other"}
    assert b"other@" in hub.repo(SPACE, "spaces").files()["index.html"]


def test_it_gives_up_with_a_sentence_if_others_keep_publishing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "ROUNDS", 2)
    hub.fail("POST", f"spaces/{SPACE}{COMMIT}", status=412, times=9)
    with pytest.raises(ConnectionError, match=r"others published 2 times.*run the same command again"):
        publish_messages(toy_records(tmp_path / "results"))


def child(hub: Hub, tmp_path: Path, results: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, **environment(hub.url, tmp_path / "hf"), "VDDBENCH_HOME": str(results.with_suffix(".home"))}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.builders.publisher", results], env=env, cwd=ROOT, stderr=subprocess.DEVNULL
    )


@pytest.mark.long
def test_two_publishers_at_once_end_with_the_union(hub: Hub, tmp_path: Path) -> None:
    hub.commit_seconds = 0.1
    running = [child(hub, tmp_path, toy_records(tmp_path / name, name)) for name in ("one", "two")]
    assert [process.wait(timeout=SECONDS) for process in running] == [0, 0]
    hub.commit_seconds = 0
    assert {row["method"] for row in table(hub)} == {"one", "two"} and len(table(hub, "records")) == 6
    index = hub.repo(SPACE, "spaces").files()["index.html"]
    assert b"one@" in index and b"two@" in index
    before = commits_of_both(hub)
    assert publish_messages(tmp_path / "one") == publish_messages(tmp_path / "two") == [] and commits_of_both(hub) == before


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [1, 2, 3])
def test_a_publisher_killed_at_a_commit_loses_and_doubles_nothing(hub: Hub, tmp_path: Path, commit: int, when: Any) -> None:
    root = toy_records(tmp_path / "results")
    running: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        running[0].send_signal(signal.SIGKILL)
        running[0].wait()

    def arm(left: int) -> None:
        if left > 1:
            hub.watch("POST", COMMIT, lambda: arm(left - 1))
        else:
            hub.fail("POST", COMMIT, when=when, then=kill)

    arm(commit)
    running.append(child(hub, tmp_path, root))
    assert running[0].wait(timeout=SECONDS) == -signal.SIGKILL
    assert sum(map(len, commits_of_both(hub))) == commit - (when == "before")
    publish_messages(root)
    assert commits_of_both(hub) == (["Add 3 records of toy-ipc1", "Regenerate the tables"], ["Regenerate the board"])
    assert len(table(hub, "records")) == 3 and publish_messages(root) == []


def other_token(value: str) -> Callable[[pytest.MonkeyPatch, Hub], None]:
    return lambda patch, hub: patch.setenv("HF_TOKEN", value)


def made_private(patch: pytest.MonkeyPatch, hub: Hub) -> None:
    hub.repo(RESULTS).private = True
    patch.setenv("HF_TOKEN", STRANGER_TOKEN)


def offline(patch: pytest.MonkeyPatch, hub: Hub) -> None:
    patch.setattr(constants, "HF_HUB_OFFLINE", True)


def down(patch: pytest.MonkeyPatch, hub: Hub) -> None:
    patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def busy(patch: pytest.MonkeyPatch, hub: Hub) -> None:
    patch.setattr(client, "TRIES", 2)
    hub.fail("POST", COMMIT, status=409, times=99)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (other_token("hf_secret_of_nobody"), "the Hub does not know this token"),
        (other_token(STRANGER_TOKEN), "you may not write to dataset repo lab/vddbench-results"),
        (made_private, "you may not write to dataset repo lab/vddbench-results"),
        (offline, "HF_HUB_OFFLINE is set"),
        (down, "can't be reached"),
        (busy, "the Hub is busy (409)"),
    ],
)
def test_an_error_of_the_user_or_the_network_ends_in_a_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, sentence: str
) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root)
    before = files_of_both(hub)
    toy_records(root, "other")
    fault(monkeypatch, hub)
    code, output = to_the_hub(root)
    assert code == 1 and sentence in output, output
    assert "Traceback" not in output and os.environ["HF_TOKEN"] not in output
    assert files_of_both(hub) == before
