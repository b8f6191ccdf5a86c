"""Files that `publish` did not write are neither replaced nor deleted, on the Hub or in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.builders import submissions as tiny
from tests.builders.publisher import DESTINATION
from tests.builders.toy_board import (
    RESULTS,
    SPACE,
    files_in,
    files_of_both,
    inventory_on_hub,
    invoke,
    publish_messages,
    sha_of,
    to_the_hub,
    toy_records,
)
from tests.tools import hubserver
from tests.tools.hubserver import OLD_UPLOAD, Hub
from vddbench.leaderboard.publish.publish import write_trees

pytestmark = OLD_UPLOAD


def test_obsolete_files_are_deleted_and_files_of_others_stay(hub: Hub, tmp_path: Path) -> None:
    publish_messages(toy_records(tmp_path / "results"))
    note = inventory_on_hub(hub)
    old = note.model_copy(update={"files": (*note.files, "s/toy-ipc1/old@00000000/index.html", "app.py", "../index.html")})
    added = {"app.py": b"a", "data/x.csv": b"x", "stray.webp": b"w"}
    hub.put(SPACE, {"s/toy-ipc1/old@00000000/index.html": b"old", "built.json": old.to_bytes(), **added}, "spaces")
    hub.put(RESULTS, {"tables/aggregate.parquet": b"old", "tables/mine.parquet": b"mine", "notes.md": b"a maintainer's"})
    assert publish_messages(tmp_path / "results") == ["Regenerate the tables", "Regenerate the board"]
    results, space = files_of_both(hub)
    assert "tables/aggregate.parquet" not in results and results["tables/mine.parquet"] == b"mine" and "notes.md" in results
    assert set(space) == {"README.md", "built.json", "index.html", "s/toy-ipc1/mine@6d696e65/index.html", *added}
    assert publish_messages(tmp_path / "results") == []


@pytest.mark.parametrize("card", [b"# my Space", None])
@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_repos_of_somebody_else_are_refused_and_stay_as_they_are(
    hub: Hub, tmp_path: Path, kind: str, card: bytes | None
) -> None:
    name = RESULTS if kind == "datasets" else SPACE
    HfApi(endpoint=hub.url).create_repo(name, repo_type=kind[:-1], space_sdk="static" if kind == "spaces" else None)
    theirs = {"app.py": b"a", "data/x.csv": b"x", "tables/mine.parquet": b"p", "index.html": b"i"}
    hub.put(name, {**theirs, **({"README.md": card} if card else {})}, kind)
    before = hub.repo(name, kind).files()
    code, output = to_the_hub(toy_records(tmp_path / "results"))
    assert code == 1 and "did not put there: " in output and "app.py, data/x.csv" in output and "Choose another name" in output
    assert to_the_hub(tmp_path / "results", "--dry-run")[0] == 1
    assert hub.repo(name, kind).files() == before and len(hub.repos) == 1


def test_the_repo_of_a_distilled_set_is_not_a_results_repo(hub: Hub, tmp_path: Path) -> None:
    """Its card has the tag vddbench as well."""
    HfApi(endpoint=hub.url).create_repo(RESULTS, repo_type="dataset")
    hub.put(RESULTS, {"README.md": b"---\ntags:\n- vddbench\n- video\n---\n", "data.safetensors": b"data"})
    code, output = to_the_hub(toy_records(tmp_path / "results"))
    assert code == 1 and "README.md, data.safetensors" in output


def test_repos_that_the_hub_just_made_are_accepted(hub: Hub, tmp_path: Path) -> None:
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
    assert len(publish_messages(toy_records(tmp_path / "results"))) == 3
    assert hub.repo(SPACE, "spaces").files()["index.html"] != b"of the Hub"
    assert publish_messages(tmp_path / "results") == []


@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_local_refuses_a_folder_that_it_did_not_write(tmp_path: Path, kind: str) -> None:
    root, out = toy_records(tmp_path / "results"), tmp_path / "out"
    folder = out / kind / (RESULTS if kind == "datasets" else SPACE)
    (folder / "tables").mkdir(parents=True)
    write_trees(DESTINATION, [root], [], out)  # an empty one is taken
    precious = folder / "tables/mine.csv"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("precious")
    code, output = to_the_hub(root, "--local", out)
    assert code == 1 and "tables/mine.csv" in output and precious.read_text() == "precious"
    shutil.rmtree(folder)
    precious.parent.mkdir(parents=True)
    (folder / "README.md").write_text("# mine")
    before = files_in(out)
    assert to_the_hub(root, "--local", out)[0] == 1 and files_in(out) == before


def test_outbox_refuses_a_folder_that_is_not_an_outbox(tmp_path: Path) -> None:
    other = {"clips": tiny.clips(seed=1), "labels": tiny.LABELS}
    theirs = tiny.written(tmp_path / "out" / "submissions", other)
    ours = tiny.written(tmp_path / "submissions")
    root = toy_records(tmp_path / "results", task="tiny-ipc1", submission_sha256=sha_of("mine"))
    before = files_in(tmp_path / "out")
    code, output = invoke("--outbox", tmp_path / "out", "--results", root, "--submissions", ours.parents[1])
    assert code == 1 and "submissions" in output and files_in(tmp_path / "out") == before and theirs.is_dir()
