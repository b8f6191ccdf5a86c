"""Dry runs, local trees and outboxes: what publishing would do, without doing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import submissions as tiny
from tests.builders.publisher import DESTINATION
from tests.builders.toy_board import (
    RESULTS,
    SPACE,
    commits_of_both,
    files_in,
    files_of_both,
    inventory_on_hub,
    invoke,
    publish_messages,
    to_the_hub,
    toy_records,
)
from tests.tools.hubserver import OLD_UPLOAD, Hub
from vddbench.leaderboard.publish.local_files import gather_files
from vddbench.leaderboard.publish.outbox import write_outbox
from vddbench.leaderboard.publish.publish import plan, write_trees
from vddbench.submissions.manifest import read_manifest

pytestmark = OLD_UPLOAD


def test_a_dry_run_prints_the_commits_and_sends_nothing(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")
    code, output = to_the_hub(root, "--dry-run")
    assert code == 0 and not hub.repos and {method for method, _, _ in hub.asked} <= {"GET", "HEAD"}
    shown = [line.split()[1] for line in output.splitlines() if line.startswith("  + ")]
    assert "space repo lab/vddbench does not exist yet and would be created" in output
    assert (
        'dataset repo lab/vddbench-results: "Add 3 records of toy-ipc1"' in output and "3 commits; nothing was sent" in output
    )
    publish_messages(root)
    assert sorted(shown) == sorted([*files_of_both(hub)[0], *files_of_both(hub)[1]])
    note = inventory_on_hub(hub)
    told_old = note.model_copy(update={"files": (*note.files, "old.html")}).to_bytes()
    hub.put(SPACE, {"old.html": b"", "built.json": told_old}, "spaces")
    toy_records(root, "other", seeds=1)
    before = commits_of_both(hub)
    output = to_the_hub(root, "--dry-run")[1]
    assert "  - old.html" in output and output.count("  + records/") == 2 and commits_of_both(hub) == before
    sizes = {path: data for planned in plan(DESTINATION, [root], []) for path, data in planned.add.items()}
    publish_messages(root)
    assert set(sizes) <= {*files_of_both(hub)[0], *files_of_both(hub)[1]}
    assert to_the_hub(root, "--dry-run") == (0, to_the_hub(root, "--dry-run")[1])
    assert "nothing to publish" in to_the_hub(root, "--dry-run")[1] and "nothing to publish" in to_the_hub(root)[1]


def test_local_trees_are_what_would_be_published(hub: Hub, tmp_path: Path) -> None:
    root, out = toy_records(tmp_path / "results"), tmp_path / "out"
    assert to_the_hub(root, "--local", out)[0] == 0 and not hub.asked
    toy_records(root, "other")
    write_trees(DESTINATION, [root], [], out)
    assert not hub.asked
    publish_messages(root)
    results, space = files_of_both(hub)
    assert results.pop("MAINTAINERS") == b"owner\n"  # without a network nobody knows who publishes
    assert (files_in(out / "datasets" / RESULTS), files_in(out / "spaces" / SPACE)) == (results, space)
    assert not [path for path in out.rglob(".*")]


@pytest.mark.parametrize("name", ["/etc/skel", "..", "../x", "a/../b", "a/..", "a", "a//b"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for given in (name, str(kept)):
        code, output = invoke("--results-repo", given, "--space", SPACE, "--local", tmp_path / "out", "--results", tmp_path)
        assert code == 2 and "OWNER/NAME" in output and kept.is_dir() and not (tmp_path / "out").exists()


def test_an_outbox_grows_and_is_published_elsewhere(hub: Hub, tmp_path: Path) -> None:
    folder = tiny.written(tmp_path / "submissions")
    sha = read_manifest(folder).sha256
    root, out = toy_records(tmp_path / "results", task="tiny-ipc1", submission_sha256=sha), tmp_path / "outbox"
    assert invoke("--outbox", out, "--results", root, "--submissions", tmp_path / "submissions")[0] == 0 and not hub.asked
    before = files_in(out)
    assert write_outbox(out, [root], [tmp_path / "submissions"]) == 0
    toy_records(root, "other", seeds=1)
    assert write_outbox(out, [root], []) == 2
    assert {path: data for path, data in files_in(out).items() if path in before} == before
    publish_messages(root, submissions=(tmp_path / "submissions",))
    direct = hub.repo(RESULTS).files()
    assert f"submissions/tiny-ipc1/mine@{sha[:8]}/manifest.json" in direct
    assert (out / "submissions/tiny-ipc1/mine/data.safetensors").is_file()  # for the previews
    assert publish_messages(out / "records", submissions=(out / "submissions",)) == []
    hub.repos.clear()
    publish_messages(out / "records", submissions=(out / "submissions",))
    assert hub.repo(RESULTS).files() == direct


def test_an_outbox_half_written_is_completed(tmp_path: Path) -> None:
    root, out = toy_records(tmp_path / "results"), tmp_path / "outbox"
    write_outbox(out, [root], [])
    whole = files_in(out)
    for path in list(out.rglob("seed1*.json")) + list(out.rglob("seed2*")):  # as a killed process leaves it: no JSON first
        path.unlink()
    assert len(gather_files([out / "records"], []).files) == 2
    write_outbox(out, [root], [])
    assert files_in(out) == whole


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--results-repo", RESULTS], 2, "--space"),
        (["--results-repo", "a/../b", "--space", SPACE], 2, "OWNER/NAME"),
        (["--results-repo", RESULTS, "--space", SPACE, "--dry-run", "--outbox", "x"], 2, "give one of them"),
        (["--results-repo", RESULTS, "--space", SPACE, "--dry-run", "--tag", "v1"], 2, "--tag names"),
        (["--results-repo", RESULTS, "--space", SPACE, "--local", "x", "--previews"], 2, "needs a network"),
        (["--results-repo", RESULTS, "--space", SPACE, "--results", "nowhere"], 1, "no folder nowhere"),
        (["--results-repo", RESULTS, "--space", SPACE, "--results", "."], 1, "no valid records"),
    ],
)
def test_wrong_usage_ends_in_a_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    exit_code, output = invoke(*arguments)
    assert exit_code == code and sentence in output, output
