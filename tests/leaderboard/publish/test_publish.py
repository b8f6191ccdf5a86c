"""Publishing adds what is new and generates tables and board from everything that the repo contains."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub import HfApi

from tests.builders.hub import Peer
from tests.builders.publisher import DESTINATION
from tests.builders.records import GOOD, a_record
from tests.builders.toy_board import (
    RESULTS,
    SPACE,
    commits_of_both,
    files_of_both,
    inventory_on_hub,
    publish_messages,
    sha_of,
    table,
    toy_records,
)
from tests.tools.hubserver import OLD_UPLOAD, OWNER_TOKEN, STRANGER_TOKEN, Hub, environment
from vddbench.hub import Repo, commits
from vddbench.leaderboard.publish import contents, publish
from vddbench.leaderboard.publish.destination import Destination
from vddbench.records.files import write_record
from vddbench.records.fresh_seeds import first_fresh_seed

pytestmark = OLD_UPLOAD
ROOT = Path(__file__).parents[3]


def test_records_tables_card_and_board_are_published_once(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(toy_records(tmp_path / "results"), "random")
    assert publish_messages(root) == ["Add 6 records of toy-ipc1", "Regenerate the tables", "Regenerate the board"]
    results, space = files_of_both(hub)
    names = [path for path in results if path.startswith("records/")]
    assert len(names) == 12 and names[0].startswith("records/toy-ipc1/mine@6d696e65/convnet3d/seed0.")
    assert {path for path in results if path not in names} == {
        "MAINTAINERS", "README.md", "tables/leaderboard.parquet", "tables/records.parquet", "tables/reported.parquet"
    }  # fmt: skip
    assert b"| mine" in results["README.md"] and b"sdk: static" in space["README.md"] and space["index.html"]
    before = commits_of_both(hub)
    assert publish_messages(root) == [] and commits_of_both(hub) == before
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(OWNER_TOKEN.encode() in data for data in (*results.values(), *space.values(), *kept))


def test_only_records_of_entries_count(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")
    toy_records(root, seeds=1, distill_seed=1, submission_sha256="c" * 64)  # rank leaves out a set of fewer than 3 students
    toy_records(root, distill_seed=2)  # the payload of distillation seed 0
    publish_messages(root)
    assert [row["distill_seed"] for row in table(hub, "records") if row["counts"]] == [0, 0, 0]


def test_the_space_contains_the_real_board(hub: Hub, tmp_path: Path, real_board: None) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root)
    space = hub.repo(SPACE, "spaces").files()
    assert {"README.md", "index.html", "protocol.html", "s/toy-ipc1/mine@6d696e65/index.html"} <= set(space)
    assert publish_messages(root) == []


@pytest.mark.long
def test_previews_of_published_sets_are_made_on_request(hub: Hub, tmp_path: Path, real_board: None) -> None:
    bundled = ROOT / "submissions/movingshapes-ipc1/random_still"
    HfApi(endpoint=hub.url).create_repo("lab/set", repo_type="dataset")
    hub.put("lab/set", {"data.safetensors": (bundled / "data.safetensors").read_bytes()})
    payload = {"url": "https://huggingface.co/datasets/lab/set", "revision": hub.repo("lab/set").at("main").sha}
    manifest = {**json.loads((bundled / "manifest.json").read_text()), "payload": payload}
    cell = f"movingshapes-ipc1/random_still@{manifest['sha256'][:8]}"
    shutil.copytree(ROOT / "leaderboard/results" / cell, tmp_path / "results" / cell)
    publish_messages(tmp_path / "results")
    hub.put(RESULTS, {f"submissions/{cell}/manifest.json": json.dumps(manifest).encode()})
    publish_messages(tmp_path / "results")
    assert not [path for path in hub.repo(SPACE, "spaces").files() if path.endswith(".webp")]
    wanted = Destination(DESTINATION.results, DESTINATION.space, with_sets=True)
    publish.publish(wanted, [tmp_path / "results"], [])
    assert f"s/{cell}/class0000.webp" in hub.repo(SPACE, "spaces").files()
    assert publish.publish(wanted, [tmp_path / "results"], []) == []


@pytest.mark.long
def test_publishers_with_and_without_payloads_end_with_the_same_board(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_board: None
) -> None:
    bundled = ROOT / "submissions/movingshapes-ipc1/random_still"
    manifest = json.loads((bundled / "manifest.json").read_bytes())
    cell = f"movingshapes-ipc1/random_still@{manifest['sha256'][:8]}"
    shutil.copytree(ROOT / "leaderboard/results" / cell, tmp_path / "results" / cell)
    shutil.copytree(bundled, tmp_path / "submissions/movingshapes-ipc1/random_still")
    with_payloads = (tmp_path / "results", tmp_path / "submissions")

    def by(who: str, results: Path, *submissions: Path) -> list[str]:
        monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / who))
        return publish_messages(results, submissions=submissions)

    assert by("without", tmp_path / "results") and not inventory_on_hub(hub).pages
    assert by("with", *with_payloads) == ["Add 1 manifest of movingshapes-ipc1", "Regenerate the board"]
    before = files_of_both(hub)
    clips = {path: data for path, data in before[1].items() if path.endswith(".webp")}
    assert len(clips) == 16  # of each of eight classes, playing and still
    for who, folders in (("without", with_payloads[:1]), ("with", with_payloads), ("new", with_payloads[:1])):
        assert by(who, *folders) == [] and files_of_both(hub) == before
    other = toy_records(tmp_path / "other", "other", student="convnet_gru")
    assert by("without", other) and clips.items() <= files_of_both(hub)[1].items()
    assert b"class0000.webp" in files_of_both(hub)[1][f"s/{cell}/index.html"]
    hub.put(SPACE, {f"s/{cell}/class0000.webp": None}, "spaces")  # somebody's mistake
    by("without", other)
    assert by("with", *with_payloads) == ["Regenerate the board"]
    assert {path: data for path, data in files_of_both(hub)[1].items() if path.endswith(".webp")} == clips


@pytest.mark.parametrize("peer", ["yardstick"], indirect=True)
def test_publishing_works_with_another_server(peer: Peer, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")
    target = Destination(Repo(f"{peer.user}/vddbench-results"), Repo(f"{peer.user}/vddbench", "space"))
    sent = [planned.message for planned in publish.publish(target, [root], [], "v1")]
    assert sent == ["Add 3 records of toy-ipc1", "Regenerate the tables", "Regenerate the board"]
    assert publish.publish(target, [root], [], "v1") == []
    toy_records(root, "other", seeds=1)
    assert len(publish.publish(target, [root], [])) == 3


def test_the_default_dataset_is_the_leaderboard_with_native_types(hub: Hub, tmp_path: Path) -> None:
    publish_messages(toy_records(toy_records(tmp_path / "results"), "random", seeds=1))
    code = (
        f"import datasets, json; board = datasets.load_dataset({RESULTS!r}, split='train'); "
        f"records = datasets.load_dataset({RESULTS!r}, 'records', split='train'); "
        "print(json.dumps([{k: str(f.dtype) if hasattr(f, 'dtype') else 'list' for k, f in board.features.items()}, "
        "board[0], len(records)], default=str))"
    )
    env = {**os.environ, **environment(hub.url, tmp_path / "other", STRANGER_TOKEN)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    types, first, num_records = json.loads(done.stdout)
    assert (types["rank"], types["top1"], types["method"]) == ("int64", "float64", "string")
    assert types["date"].startswith("timestamp") and types["flags"] == types["sha256"] == "list"
    assert (first["method"], first["rank"], first["top1"], first["date"][:10]) == ("mine", 1, 0.5, "2026-01-01")
    assert num_records == 4


def test_only_a_new_record_is_sent(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root)
    before = hub.repo(RESULTS).files()
    toy_records(root, "other", seeds=1)
    assert publish_messages(root) == ["Add 1 record of toy-ipc1", "Regenerate the tables", "Regenerate the board"]
    after = hub.repo(RESULTS).files()
    assert len(after) == len(before) + 2
    made_again = {path for path, data in before.items() if after[path] != data}
    assert made_again == {"README.md", "tables/leaderboard.parquet", "tables/records.parquet"}
    assert {row["method"] for row in table(hub)} == {"mine", "other"}


def test_a_record_is_whole_in_every_commit(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "COMMIT_FILES", 5)
    publish_messages(toy_records(tmp_path / "results", seeds=7))
    history = hub.repo(RESULTS).history()
    assert len(history) > 4
    for commit in history:
        names = {path for path in commit.tree if path.startswith("records/")}
        assert names == {f"{path.rsplit('.', 1)[0]}.{suffix}" for path in names for suffix in ("json", "safetensors")}


def test_records_are_ranked_once_for_tables_and_board(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_board: None
) -> None:
    from vddbench.leaderboard import aggregate, evidence
    from vddbench.leaderboard.publish import parquet

    root = toy_records(tmp_path / "results")
    publish_messages(root)
    targets = ((contents, "board_of"), (aggregate, "aggregate"), (evidence, "read_record"), (parquet, "read_record"))
    spies = [Mock(wraps=getattr(module, name)) for module, name in targets]
    for (module, name), spy in zip(targets, spies, strict=True):
        monkeypatch.setattr(module, name, spy)
    publish_messages(root)
    assert [spy.call_count for spy in spies] == [1, 1, 4, 0]  # one record again, for the groups of all


def test_what_others_published_is_in_the_tables(hub: Hub, tmp_path: Path) -> None:
    publish_messages(toy_records(tmp_path / "ours"))
    publish_messages(toy_records(tmp_path / "theirs", "other"))
    assert {row["method"] for row in table(hub)} == {"mine", "other"}
    assert "Regenerate the tables" not in publish_messages(tmp_path / "ours")


def test_of_two_labs_records_of_a_cell_both_stay_and_the_earlier_counts(hub: Hub, tmp_path: Path) -> None:
    publish_messages(toy_records(tmp_path / "late", seeds=1, date="2026-02-01T00:00:00Z"))
    publish_messages(toy_records(tmp_path / "early", seeds=1, date="2026-01-01T00:00:00Z"))
    rows = table(hub, "records")
    assert sorted((row["date"].month, row["counts"]) for row in rows) == [(1, True), (2, False)]
    assert isinstance(rows[0]["date"], datetime) and [(row["division"], row["seeds"]) for row in table(hub)] == [
        ("ipc", 1),
        ("open", 1),
    ]


def test_reruns_are_published_as_records_and_those_by_maintainers_verify(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results", seeds=1)
    again = {"submission_sha256": sha_of("mine"), "date": "2026-03-01T00:00:00Z"}
    write_record(tmp_path / "jane", a_record(**again, train_seconds=3.0, by="jane"), GOOD)
    for seed in range(3):
        fresh = {"seed": first_fresh_seed(sha_of("mine"), "c" * 40) + seed, "drawn_from": "c" * 40, "by": "owner"}
        write_record(tmp_path / "owner", a_record(**again, **fresh, train_seconds=2.0), GOOD)
    assert publish_messages(root, tmp_path / "owner", tmp_path / "jane")[0] == "Add 5 records of toy-ipc1"
    shown = [(row["basis"], row["seeds"], row["verified_by"], row["reproductions"]) for row in table(hub)]
    assert shown == [("verified", 3, ["owner"], 1)] * 2  # in both divisions
    assert sorted(str(row["by"]) for row in table(hub, "records")) == ["None", "jane", "owner", "owner", "owner"]
    assert publish_messages(root, tmp_path / "owner", tmp_path / "jane") == []


def test_whoever_publishes_becomes_a_maintainer_and_others_stay(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root)
    assert hub.repo(RESULTS).files()["MAINTAINERS"] == b"owner\n"
    hub.put(RESULTS, {"MAINTAINERS": b"somebody\n"})
    assert publish_messages(root) == ["Regenerate the tables"]
    assert hub.repo(RESULTS).files()["MAINTAINERS"] == b"owner\nsomebody\n"


def test_a_release_is_a_tag_that_does_not_move(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")
    publish_messages(root, tag="v1")
    publish_messages(root, tag="v1")
    repo = hub.repo(RESULTS)
    assert repo.refs["refs/tags/v1"] == repo.refs["refs/heads/main"]
    toy_records(root, "other")
    before = dict(repo.refs)
    with pytest.raises(ValueError, match=r"nothing was published: .* has a tag 'v1'"):
        publish_messages(root, tag="v1")
    assert dict(repo.refs) == before
