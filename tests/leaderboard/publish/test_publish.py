"""Publishing adds what is new, makes the tables of all there is, and comes out the same whatever happens on the way."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from huggingface_hub import HfApi, constants
from typer.testing import CliRunner

from tests.builders.hub import Peer
from tests.builders.publisher import DESTINATION, stub_site_files
from tests.builders.records import GOOD, a_record
from tests.tools import hubserver
from tests.tools.hubserver import OWNER_TOKEN, STRANGER_TOKEN, Hub, environment
from vddbench.commands.publish import publish as command
from vddbench.hub import Repo, client, commits
from vddbench.leaderboard.publish import contents, publish
from vddbench.leaderboard.publish.destination import Destination
from vddbench.leaderboard.publish.local_files import gather_files
from vddbench.leaderboard.publish.outbox import write_outbox
from vddbench.leaderboard.publish.publish import plan, write_trees
from vddbench.leaderboard.site.inventory import Inventory, parse_inventory
from vddbench.records.files import write_record

hub, pytestmark = hubserver.hub, hubserver.OLD_UPLOAD
ROOT = Path(__file__).parents[3]
RESULTS, SPACE = DESTINATION.results.id, DESTINATION.space.id
COMMIT = r"/commit/"
REAL_SITE = contents.site_files


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The board in no time, waits short, a cache of its own for each test."""
    monkeypatch.setattr(contents, "site_files", stub_site_files)
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))


def recorded(root: Path, method: str = "mine", seeds: int = 3, **fields: Any) -> Path:
    """Records of one submission in a results folder."""
    for seed in range(seeds):
        write_record(root, a_record(**{"method": method, "submission_sha256": sha_of(method), "seed": seed, **fields}), GOOD)
    return root


def sha_of(method: str) -> str:
    return (method.encode().hex() * 64)[:64]


def publishing(*results: Path, tag: str | None = None, submissions: tuple[Path, ...] = ()) -> list[str]:
    """Messages of the commits made."""
    return [planned.message for planned in publish.publish(DESTINATION, results, submissions, tag)]


def table(hub: Hub, name: str = "leaderboard") -> list[dict[str, Any]]:
    data = hub.repo(RESULTS).files()[f"tables/{name}.parquet"]
    return list(pq.read_table(io.BytesIO(data)).to_pylist())


def both(hub: Hub) -> tuple[dict[str, bytes], dict[str, bytes]]:
    return hub.repo(RESULTS).files(), hub.repo(SPACE, "spaces").files()


def all_commits(hub: Hub) -> tuple[list[str], list[str]]:
    return hub.commits(RESULTS), hub.commits(SPACE, "spaces")


def test_records_tables_card_and_board_are_published_once(hub: Hub, tmp_path: Path) -> None:
    root = recorded(recorded(tmp_path / "results"), "random")
    assert publishing(root) == ["Add 6 records of toy-ipc1", "Regenerate the tables", "Regenerate the board"]
    results, space = both(hub)
    names = [path for path in results if path.startswith("records/")]
    assert len(names) == 12 and names[0].startswith("records/toy-ipc1/mine@6d696e65/convnet3d/seed0.")
    assert {path for path in results if path not in names} == {
        "MAINTAINERS", "README.md", "tables/leaderboard.parquet", "tables/records.parquet", "tables/reported.parquet"
    }  # fmt: skip
    assert b"| mine" in results["README.md"] and b"sdk: static" in space["README.md"] and space["index.html"]
    before = all_commits(hub)
    assert publishing(root) == [] and all_commits(hub) == before
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(OWNER_TOKEN.encode() in data for data in (*results.values(), *space.values(), *kept))


def test_the_real_board_is_what_the_space_holds(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "site_files", REAL_SITE)
    root = recorded(tmp_path / "results")
    publishing(root)
    space = hub.repo(SPACE, "spaces").files()
    assert {"README.md", "index.html", "protocol.html", "s/toy-ipc1/mine@6d696e65/index.html"} <= set(space)
    assert publishing(root) == []


def test_clips_of_published_sets_are_shown_when_they_are_asked_for(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "site_files", REAL_SITE)
    bundled = ROOT / "submissions/movingshapes-ipc1/random_still"
    HfApi(endpoint=hub.url).create_repo("lab/set", repo_type="dataset")
    hub.put("lab/set", {"data.safetensors": (bundled / "data.safetensors").read_bytes()})
    payload = {"url": "https://huggingface.co/datasets/lab/set", "revision": hub.repo("lab/set").at("main").sha}
    manifest = {**json.loads((bundled / "manifest.json").read_text()), "payload": payload}
    cell = f"movingshapes-ipc1/random_still@{manifest['sha256'][:8]}"
    shutil.copytree(ROOT / "leaderboard/results" / cell, tmp_path / "results" / cell)
    publishing(tmp_path / "results")
    hub.put(RESULTS, {f"submissions/{cell}/manifest.json": json.dumps(manifest).encode()})
    publishing(tmp_path / "results")
    assert not [path for path in hub.repo(SPACE, "spaces").files() if path.endswith(".webp")]
    wanted = Destination(DESTINATION.results, DESTINATION.space, with_sets=True)
    publish.publish(wanted, [tmp_path / "results"], [])
    assert f"s/{cell}/class0000.webp" in hub.repo(SPACE, "spaces").files()
    assert publish.publish(wanted, [tmp_path / "results"], []) == []


def test_publishers_with_and_without_payloads_end_with_the_same_board(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "site_files", REAL_SITE)
    bundled = ROOT / "submissions/movingshapes-ipc1/random_still"
    manifest = json.loads((bundled / "manifest.json").read_bytes())
    cell = f"movingshapes-ipc1/random_still@{manifest['sha256'][:8]}"
    shutil.copytree(ROOT / "leaderboard/results" / cell, tmp_path / "results" / cell)
    shutil.copytree(bundled, tmp_path / "submissions/movingshapes-ipc1/random_still")
    with_payloads = (tmp_path / "results", tmp_path / "submissions")

    def by(who: str, results: Path, *submissions: Path) -> list[str]:
        monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / who))
        return publishing(results, submissions=submissions)

    assert by("without", tmp_path / "results") and not noted(hub).pages
    assert by("with", *with_payloads) == ["Add 1 manifest of movingshapes-ipc1", "Regenerate the board"]
    before = both(hub)
    clips = {path: data for path, data in before[1].items() if path.endswith(".webp")}
    assert len(clips) == 8
    for who, folders in (("without", with_payloads[:1]), ("with", with_payloads), ("new", with_payloads[:1])):
        assert by(who, *folders) == [] and both(hub) == before
    other = recorded(tmp_path / "other", "other", student="convnet_gru")
    assert by("without", other) and clips.items() <= both(hub)[1].items()
    assert b"class0000.webp" in both(hub)[1][f"s/{cell}/index.html"]
    hub.put(SPACE, {f"s/{cell}/class0000.webp": None}, "spaces")  # somebody's mistake
    by("without", other)
    assert by("with", *with_payloads) == ["Regenerate the board"]
    assert {path: data for path, data in both(hub)[1].items() if path.endswith(".webp")} == clips


@pytest.mark.parametrize("peer", ["yardstick"], indirect=True)
def test_another_server_takes_it_as_well(peer: Peer, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results")
    target = Destination(Repo(f"{peer.user}/vddbench-results"), Repo(f"{peer.user}/vddbench", "space"))
    sent = [planned.message for planned in publish.publish(target, [root], [], "v1")]
    assert sent == ["Add 3 records of toy-ipc1", "Regenerate the tables", "Regenerate the board"]
    assert publish.publish(target, [root], [], "v1") == []
    recorded(root, "other", seeds=1)
    assert len(publish.publish(target, [root], [])) == 3


def test_the_default_dataset_is_the_leaderboard_with_native_types(hub: Hub, tmp_path: Path) -> None:
    publishing(recorded(recorded(tmp_path / "results"), "random", seeds=1))
    code = (
        f"import datasets, json; board = datasets.load_dataset({RESULTS!r}, split='train'); "
        f"records = datasets.load_dataset({RESULTS!r}, 'records', split='train'); "
        "print(json.dumps([{k: str(f.dtype) if hasattr(f, 'dtype') else 'list' for k, f in board.features.items()}, "
        "board[0], len(records)], default=str))"
    )
    told = {**os.environ, **environment(hub.url, tmp_path / "other", STRANGER_TOKEN)}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    types, first, num_records = json.loads(done.stdout)
    assert (types["rank"], types["top1"], types["method"]) == ("int64", "float64", "string")
    assert types["date"].startswith("timestamp") and types["flags"] == types["sha256"] == "list"
    assert (first["method"], first["rank"], first["top1"], first["date"][:10]) == ("mine", 1, 0.5, "2026-01-01")
    assert num_records == 4


def test_a_new_record_is_all_that_is_sent(hub: Hub, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results")
    publishing(root)
    before = hub.repo(RESULTS).files()
    recorded(root, "other", seeds=1)
    assert publishing(root) == ["Add 1 record of toy-ipc1", "Regenerate the tables", "Regenerate the board"]
    after = hub.repo(RESULTS).files()
    assert len(after) == len(before) + 2
    made_again = {path for path, data in before.items() if after[path] != data}
    assert made_again == {"README.md", "tables/leaderboard.parquet", "tables/records.parquet"}
    assert {row["method"] for row in table(hub)} == {"mine", "other"}


def test_a_record_is_whole_in_every_commit(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "COMMIT_FILES", 5)
    publishing(recorded(tmp_path / "results", seeds=7))
    history = hub.repo(RESULTS).history()
    assert len(history) > 4
    for commit in history:
        names = {path for path in commit.tree if path.startswith("records/")}
        assert names == {f"{path.rsplit('.', 1)[0]}.{suffix}" for path in names for suffix in ("json", "safetensors")}


def test_a_merged_record_of_another_store_is_named_and_left_out(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = recorded(recorded(tmp_path / "results"), "random")
    publishing(root)
    before = table(hub)
    publishing(recorded(tmp_path / "theirs", "other", store_digest="9" * 64))
    assert table(hub) == before and sum(row["counts"] for row in table(hub, "records")) == 6
    assert len(table(hub, "records")) == 9
    assert "left out: record toy-ipc1/other@6f746865/convnet3d/seed0: its store_digest is 99999999" in capsys.readouterr().err


def test_records_are_ranked_once_for_tables_and_board(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vddbench.leaderboard.site.board as board_module
    from vddbench.leaderboard import evidence
    from vddbench.leaderboard.publish import parquet

    monkeypatch.setattr(contents, "site_files", REAL_SITE)
    root = recorded(tmp_path / "results")
    publishing(root)
    counts: dict[str, int] = {}

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*args: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return real(*args)

        monkeypatch.setattr(module, name, call)

    for module, name in (
        (contents, "board_of"),
        (board_module, "aggregate"),
        (evidence, "read_record"),
        (parquet, "read_record"),
    ):
        counted(module, name)
    publishing(root)
    assert counts == {"board_of": 1, "aggregate": 1, "read_record": 3}


def test_what_others_published_is_in_the_tables(hub: Hub, tmp_path: Path) -> None:
    publishing(recorded(tmp_path / "ours"))
    publishing(recorded(tmp_path / "theirs", "other"))
    assert {row["method"] for row in table(hub)} == {"mine", "other"}
    assert "Regenerate the tables" not in publishing(tmp_path / "ours")


def test_of_two_labs_records_of_a_cell_both_stay_and_the_earlier_counts(hub: Hub, tmp_path: Path) -> None:
    publishing(recorded(tmp_path / "late", seeds=1, date="2026-02-01T00:00:00Z"))
    publishing(recorded(tmp_path / "early", seeds=1, date="2026-01-01T00:00:00Z"))
    rows = table(hub, "records")
    assert sorted((row["date"].month, row["counts"]) for row in rows) == [(1, True), (2, False)]
    assert isinstance(rows[0]["date"], datetime) and [row["seeds"] for row in table(hub)] == [1]


def test_a_strangers_record_that_does_not_verify_is_named_and_left_out(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = recorded(tmp_path / "results")
    publishing(root)
    [lie] = [path for path in gather_files([recorded(tmp_path / "lie", "liar", seeds=1)], []).files if path.endswith(".json")]
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
    assert publishing(root) == []  # its records are those there were
    told = capsys.readouterr().err
    assert "liar" in told and "2,000,000 bytes" in told
    assert {row["method"] for row in table(hub)} == {"mine"} and not list(tmp_path.rglob("escaped.json"))


def test_a_record_that_somebody_damaged_is_made_good(hub: Hub, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results")
    publishing(root)
    whole = hub.repo(RESULTS).files()
    predictions = next(path for path in whole if path.endswith(".safetensors"))
    hub.put(RESULTS, {predictions: b"something else"})
    (tmp_path / "home/hub/lab--vddbench-results" / predictions).write_bytes(b"something else")  # so is the copy here
    assert publishing(root) == ["Add 1 record of toy-ipc1"]
    assert hub.repo(RESULTS).files() == whole


def noted(hub: Hub) -> Inventory:
    """What the Space says of its board."""
    note = parse_inventory(hub.repo(SPACE, "spaces").files()["built.json"])
    assert note is not None
    return note


def test_what_is_no_longer_made_goes_and_what_others_added_stays(hub: Hub, tmp_path: Path) -> None:
    publishing(recorded(tmp_path / "results"))
    note = noted(hub)
    old = note.model_copy(update={"files": (*note.files, "s/toy-ipc1/old@00000000/index.html", "app.py", "../index.html")})
    added = {"app.py": b"a", "data/x.csv": b"x", "stray.webp": b"w"}
    hub.put(SPACE, {"s/toy-ipc1/old@00000000/index.html": b"old", "built.json": old.to_bytes(), **added}, "spaces")
    hub.put(RESULTS, {"tables/aggregate.parquet": b"old", "tables/mine.parquet": b"mine", "notes.md": b"a maintainer's"})
    assert publishing(tmp_path / "results") == ["Regenerate the tables", "Regenerate the board"]
    results, space = both(hub)
    assert "tables/aggregate.parquet" not in results and results["tables/mine.parquet"] == b"mine" and "notes.md" in results
    assert set(space) == {"README.md", "built.json", "index.html", "s/toy-ipc1/mine@6d696e65/index.html", *added}
    assert publishing(tmp_path / "results") == []


@pytest.mark.parametrize("card", [b"# my Space", None])
@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_what_is_not_ours_is_left_as_it_is(hub: Hub, tmp_path: Path, kind: str, card: bytes | None) -> None:
    name = RESULTS if kind == "datasets" else SPACE
    HfApi(endpoint=hub.url).create_repo(name, repo_type=kind[:-1], space_sdk="static" if kind == "spaces" else None)
    theirs = {"app.py": b"a", "data/x.csv": b"x", "tables/mine.parquet": b"p", "index.html": b"i"}
    hub.put(name, {**theirs, **({"README.md": card} if card else {})}, kind)
    before = hub.repo(name, kind).files()
    code, told = to_the_hub(recorded(tmp_path / "results"))
    assert code == 1 and "did not put there: " in told and "app.py, data/x.csv" in told and "Take another name" in told
    assert to_the_hub(tmp_path / "results", "--dry-run")[0] == 1
    assert hub.repo(name, kind).files() == before and len(hub.repos) == 1


def test_a_set_of_our_own_is_no_results_repo(hub: Hub, tmp_path: Path) -> None:
    """Its card has the tag vddbench as well."""
    HfApi(endpoint=hub.url).create_repo(RESULTS, repo_type="dataset")
    hub.put(RESULTS, {"README.md": b"---\ntags:\n- vddbench\n- video\n---\n", "data.safetensors": b"data"})
    code, told = to_the_hub(recorded(tmp_path / "results"))
    assert code == 1 and "README.md, data.safetensors" in told


def test_a_space_as_the_hub_makes_it_is_taken(hub: Hub, tmp_path: Path) -> None:
    client = HfApi(endpoint=hub.url)
    client.create_repo(SPACE, repo_type="space", space_sdk="static")
    client.create_repo(RESULTS, repo_type="dataset")
    for repo, names in (
        (hub.repo(SPACE, "spaces"), ("README.md", "index.html", "style.css")),
        (hub.repo(RESULTS), ("README.md",)),
    ):
        tree = {**repo.at("main").tree, **{name: hubserver.Blob(b"of the Hub", lfs=False) for name in names}}
        repo.refs.clear()
        repo.add("refs/heads/main", tree, "initial commit", "", "owner")
    assert len(publishing(recorded(tmp_path / "results"))) == 3
    assert hub.repo(SPACE, "spaces").files()["index.html"] != b"of the Hub"
    assert publishing(tmp_path / "results") == []


def test_a_board_in_many_commits_is_ours_after_each(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "COMMIT_FILES", 2)
    root = tmp_path / "results"
    for name in ("a", "b", "c"):
        recorded(root, name, seeds=1)
    hub.fail("POST", f"spaces/{SPACE}{COMMIT}", status=403, times=1, when="before")
    for _ in range(3):  # refused at its first commit to the Space, at its second, ...
        with pytest.raises(PermissionError):
            publishing(root)
        hub.watch("POST", f"spaces/{SPACE}{COMMIT}", lambda: hub.fail("POST", f"spaces/{SPACE}{COMMIT}", status=403))
    hub.faults.clear()
    publishing(root)
    files = hub.repo(SPACE, "spaces").files()
    assert set(noted(hub).files) | {"README.md", "built.json"} == set(files) and len(files) == 6
    assert publishing(root) == []


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
    publishing(recorded(tmp_path / "results"))
    assert all_commits(hub) == (["Add 3 records of toy-ipc1", "Regenerate the tables"], ["Regenerate the board"])
    assert len(table(hub, "records")) == 3
    assert "the Hub did not answer" in capsys.readouterr().err


def test_an_upload_that_is_refused_is_a_sentence(hub: Hub, tmp_path: Path) -> None:
    hub.fail("PUT", "/lfs/", status=403, times=9)
    code, told = to_the_hub(recorded(tmp_path / "results"))
    assert code == 1 and "you may not write" in told and "Traceback" not in told


def test_the_time_the_hub_asks_for_is_waited(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("vddbench.hub.client.time.sleep", waited.append)
    hub.fail("POST", COMMIT, status=429, headers={"Retry-After": "17"})
    publishing(recorded(tmp_path / "results"))
    assert max(waited) == 17


@pytest.mark.parametrize("repo", ["results", "space"])
def test_tables_are_made_again_when_somebody_was_faster(hub: Hub, tmp_path: Path, repo: str) -> None:
    root = recorded(tmp_path / "results")
    publishing(root)
    theirs = gather_files([recorded(tmp_path / "theirs", "other")], []).files
    others = {path: file.read_bytes() for path, file in theirs.items()}
    recorded(root, "third")

    def faster() -> None:
        hub.put(RESULTS, others)
        if repo == "space":
            hub.put(SPACE, {"index.html": b"of all four"}, "spaces")

    first = f"datasets/{RESULTS}{COMMIT}" if repo == "results" else f"spaces/{SPACE}{COMMIT}"
    if repo == "results":  # after the records, before the tables
        hub.watch("POST", first, lambda: hub.watch("POST", first, faster))
    else:
        hub.watch("POST", first, faster)
    publishing(root)
    assert 412 in [status for _, _, status in hub.asked]
    assert {row["method"] for row in table(hub)} == {"mine", "third", "other"}
    assert b"other@" in hub.repo(SPACE, "spaces").files()["index.html"]


def test_it_gives_up_in_words_when_others_never_stop(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "ROUNDS", 2)
    hub.fail("POST", f"spaces/{SPACE}{COMMIT}", status=412, times=9)
    with pytest.raises(ConnectionError, match=r"others published 2 times.*run the same command again"):
        publishing(recorded(tmp_path / "results"))


def child(hub: Hub, tmp_path: Path, results: Path) -> subprocess.Popen[bytes]:
    told = {**os.environ, **environment(hub.url, tmp_path / "hf"), "VDDBENCH_HOME": str(results.with_suffix(".home"))}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.builders.publisher", results], env=told, cwd=ROOT, stderr=subprocess.DEVNULL
    )


def test_two_publishers_at_once_end_with_the_union(hub: Hub, tmp_path: Path) -> None:
    hub.commit_seconds = 0.1
    running = [child(hub, tmp_path, recorded(tmp_path / name, name)) for name in ("one", "two")]
    assert [process.wait() for process in running] == [0, 0]
    hub.commit_seconds = 0
    assert {row["method"] for row in table(hub)} == {"one", "two"} and len(table(hub, "records")) == 6
    index = hub.repo(SPACE, "spaces").files()["index.html"]
    assert b"one@" in index and b"two@" in index
    before = all_commits(hub)
    assert publishing(tmp_path / "one") == publishing(tmp_path / "two") == [] and all_commits(hub) == before


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [1, 2, 3])
def test_a_publisher_killed_at_a_commit_has_lost_and_doubled_nothing(hub: Hub, tmp_path: Path, commit: int, when: Any) -> None:
    root = recorded(tmp_path / "results")
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
    assert running[0].wait() == -signal.SIGKILL
    assert sum(map(len, all_commits(hub))) == commit - (when == "before")
    publishing(root)
    assert all_commits(hub) == (["Add 3 records of toy-ipc1", "Regenerate the tables"], ["Regenerate the board"])
    assert len(table(hub, "records")) == 3 and publishing(root) == []


def invoke(*arguments: str | Path) -> tuple[int, str]:
    """(exit code, all that was printed)."""
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def to_the_hub(root: Path, *more: str | Path) -> tuple[int, str]:
    return invoke("--results-repo", RESULTS, "--space", SPACE, "--results", root, *more)


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
def test_what_stops_it_is_a_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, sentence: str
) -> None:
    root = recorded(tmp_path / "results")
    publishing(root)
    before = both(hub)
    recorded(root, "other")
    fault(monkeypatch, hub)
    code, told = to_the_hub(root)
    assert code == 1 and sentence in told, told
    assert "Traceback" not in told and os.environ["HF_TOKEN"] not in told
    assert both(hub) == before


def test_a_dry_run_prints_the_commits_and_sends_nothing(hub: Hub, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results")
    code, told = to_the_hub(root, "--dry-run")
    assert code == 0 and not hub.repos and {method for method, _, _ in hub.asked} <= {"GET", "HEAD"}
    shown = [line.split()[1] for line in told.splitlines() if line.startswith("  + ")]
    assert "space repo lab/vddbench does not exist yet and would be created" in told
    assert 'dataset repo lab/vddbench-results: "Add 3 records of toy-ipc1"' in told and "3 commits; nothing was sent" in told
    publishing(root)
    assert sorted(shown) == sorted([*both(hub)[0], *both(hub)[1]])
    note = noted(hub)
    told_old = note.model_copy(update={"files": (*note.files, "old.html")}).to_bytes()
    hub.put(SPACE, {"old.html": b"", "built.json": told_old}, "spaces")
    recorded(root, "other", seeds=1)
    before = all_commits(hub)
    told = to_the_hub(root, "--dry-run")[1]
    assert "  - old.html" in told and told.count("  + records/") == 2 and all_commits(hub) == before
    sizes = {path: data for planned in plan(DESTINATION, [root], []) for path, data in planned.add.items()}
    publishing(root)
    assert set(sizes) <= {*both(hub)[0], *both(hub)[1]}
    assert to_the_hub(root, "--dry-run") == (0, to_the_hub(root, "--dry-run")[1])
    assert "nothing to publish" in to_the_hub(root, "--dry-run")[1] and "nothing to publish" in to_the_hub(root)[1]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_local_trees_are_what_would_be_published(hub: Hub, tmp_path: Path) -> None:
    root, out = recorded(tmp_path / "results"), tmp_path / "out"
    assert to_the_hub(root, "--local", out)[0] == 0 and not hub.asked
    recorded(root, "other")
    write_trees(DESTINATION, [root], [], out)
    assert not hub.asked
    publishing(root)
    results, space = both(hub)
    assert results.pop("MAINTAINERS") == b"owner\n"  # without a network nobody knows who publishes
    assert (files_of(out / "datasets" / RESULTS), files_of(out / "spaces" / SPACE)) == (results, space)
    assert not [path for path in out.rglob(".*")]


@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_a_local_folder_that_no_call_wrote_is_left_alone(tmp_path: Path, kind: str) -> None:
    root, out = recorded(tmp_path / "results"), tmp_path / "out"
    folder = out / kind / (RESULTS if kind == "datasets" else SPACE)
    (folder / "tables").mkdir(parents=True)
    write_trees(DESTINATION, [root], [], out)  # an empty one is taken
    precious = folder / "tables/mine.csv"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("precious")
    code, told = to_the_hub(root, "--local", out)
    assert code == 1 and "tables/mine.csv" in told and precious.read_text() == "precious"
    shutil.rmtree(folder)
    precious.parent.mkdir(parents=True)
    (folder / "README.md").write_text("# mine")
    before = files_of(out)
    assert to_the_hub(root, "--local", out)[0] == 1 and files_of(out) == before


@pytest.mark.parametrize("name", ["/etc/skel", "..", "../x", "a/../b", "a/..", "a", "a//b"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for given in (name, str(kept)):
        code, told = invoke("--results-repo", given, "--space", SPACE, "--local", tmp_path / "out", "--results", tmp_path)
        assert code == 2 and "OWNER/NAME" in told and kept.is_dir() and not (tmp_path / "out").exists()


def test_a_folder_that_is_no_outbox_is_left_alone(tmp_path: Path) -> None:
    from tests.builders import submissions as tiny

    other = {"clips": tiny.clips(seed=1), "labels": tiny.LABELS}
    theirs = tiny.written(tmp_path / "out" / "submissions", other)
    ours = tiny.written(tmp_path / "submissions")
    root = recorded(tmp_path / "results", task="tiny-ipc1", submission_sha256=sha_of("mine"))
    before = files_of(tmp_path / "out")
    code, told = invoke("--outbox", tmp_path / "out", "--results", root, "--submissions", ours.parents[1])
    assert code == 1 and "submissions" in told and files_of(tmp_path / "out") == before and theirs.is_dir()


def test_an_outbox_grows_and_is_published_elsewhere(hub: Hub, tmp_path: Path) -> None:
    from tests.builders import submissions as tiny
    from vddbench.submissions.manifest import read_manifest

    folder = tiny.written(tmp_path / "submissions")
    sha = read_manifest(folder).sha256
    root, out = recorded(tmp_path / "results", task="tiny-ipc1", submission_sha256=sha), tmp_path / "outbox"
    assert invoke("--outbox", out, "--results", root, "--submissions", tmp_path / "submissions")[0] == 0 and not hub.asked
    before = files_of(out)
    assert write_outbox(out, [root], [tmp_path / "submissions"]) == 0
    recorded(root, "other", seeds=1)
    assert write_outbox(out, [root], []) == 2
    assert {path: data for path, data in files_of(out).items() if path in before} == before
    publishing(root, submissions=(tmp_path / "submissions",))
    direct = hub.repo(RESULTS).files()
    assert f"submissions/tiny-ipc1/mine@{sha[:8]}/manifest.json" in direct
    assert (out / "submissions/tiny-ipc1/mine/data.safetensors").is_file()  # for the previews
    assert publishing(out / "records", submissions=(out / "submissions",)) == []
    hub.repos.clear()
    publishing(out / "records", submissions=(out / "submissions",))
    assert hub.repo(RESULTS).files() == direct


def test_an_outbox_half_written_is_completed(tmp_path: Path) -> None:
    root, out = recorded(tmp_path / "results"), tmp_path / "outbox"
    write_outbox(out, [root], [])
    whole = files_of(out)
    for path in list(out.rglob("seed1*.json")) + list(out.rglob("seed2*")):  # as a killed process leaves it: no JSON first
        path.unlink()
    assert len(gather_files([out / "records"], []).files) == 2
    write_outbox(out, [root], [])
    assert files_of(out) == whole


def test_re_runs_are_published_as_records_and_those_by_maintainers_verify(hub: Hub, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results", seeds=1)
    again = {"submission_sha256": sha_of("mine"), "date": "2026-03-01T00:00:00Z"}
    for by, seconds in (("owner", 2.0), ("jane", 3.0)):
        write_record(tmp_path / by, a_record(**again, train_seconds=seconds, by=by), GOOD)
    assert publishing(root, tmp_path / "owner", tmp_path / "jane")[0] == "Add 3 records of toy-ipc1"
    assert [(row["verified_by"], row["reproductions"]) for row in table(hub)] == [(["owner"], 1)]
    assert sorted(str(row["by"]) for row in table(hub, "records")) == ["None", "jane", "owner"]
    assert publishing(root, tmp_path / "owner", tmp_path / "jane") == []


def test_who_publishes_becomes_a_maintainer_and_others_stay(hub: Hub, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results")
    publishing(root)
    assert hub.repo(RESULTS).files()["MAINTAINERS"] == b"owner\n"
    hub.put(RESULTS, {"MAINTAINERS": b"somebody\n"})
    assert publishing(root) == ["Regenerate the tables"]
    assert hub.repo(RESULTS).files()["MAINTAINERS"] == b"owner\nsomebody\n"


def test_a_release_is_a_tag_that_does_not_move(hub: Hub, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results")
    publishing(root, tag="v1")
    publishing(root, tag="v1")
    repo = hub.repo(RESULTS)
    assert repo.refs["refs/tags/v1"] == repo.refs["refs/heads/main"]
    recorded(root, "other")
    before = dict(repo.refs)
    with pytest.raises(ValueError, match=r"nothing was published: .* has a tag 'v1'"):
        publishing(root, tag="v1")
    assert dict(repo.refs) == before


def test_eval_yaml_is_pushed_only_when_asked_for(hub: Hub, tmp_path: Path) -> None:
    root = recorded(tmp_path / "results")
    publishing(root)
    assert "eval.yaml" not in hub.repo(RESULTS).files()
    publish.publish(Destination(Repo(RESULTS), Repo(SPACE, "space"), with_eval=True), [root], [])
    assert b"- id: toy-ipc1" in hub.repo(RESULTS).files()["eval.yaml"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--results-repo", RESULTS], 2, "--space"),
        (["--results-repo", "a/../b", "--space", SPACE], 2, "OWNER/NAME"),
        (["--results-repo", RESULTS, "--space", SPACE, "--dry-run", "--outbox", "x"], 2, "one of them at a time"),
        (["--results-repo", RESULTS, "--space", SPACE, "--dry-run", "--tag", "v1"], 2, "--tag names"),
        (["--results-repo", RESULTS, "--space", SPACE, "--local", "x", "--previews"], 2, "needs a network"),
        (["--results-repo", RESULTS, "--space", SPACE, "--results", "nowhere"], 1, "no folder nowhere"),
        (["--results-repo", RESULTS, "--space", SPACE, "--results", "."], 1, "no valid records"),
    ],
)
def test_wrong_usage_is_a_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found, told = invoke(*arguments)
    assert found == code and sentence in told, told


def test_publishing_starts_without_torch() -> None:
    code = "import sys, vddbench.leaderboard.publish.publish, vddbench.commands.publish; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
