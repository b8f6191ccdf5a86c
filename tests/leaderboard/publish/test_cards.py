"""The cards of the results repo and of the Space, and eval.yaml: complete, readable by the Hub's own client, true."""

from __future__ import annotations

import io
from email.message import Message
from importlib import metadata
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard, SpaceCard

from tests.builders.publisher import DESTINATION
from tests.builders.toy_board import (
    RESULTS,
    SPACE,
    commits_of_both,
    files_of_both,
    publish_messages,
    to_the_hub,
    toy_records,
)
from tests.tools.hubserver import OLD_UPLOAD, Hub
from vddbench.leaderboard import project
from vddbench.leaderboard.publish import cards, columns, parquet
from vddbench.leaderboard.publish.destination import is_results_card

pytestmark = OLD_UPLOAD


def test_both_cards_are_complete_and_the_client_of_the_hub_reads_them(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_package = Message()
    of_package["Project-URL"] = "Repository, https://code.example/vddbench"
    monkeypatch.setattr(metadata, "metadata", lambda name: of_package)
    publish_messages(toy_records(tmp_path / "results"))
    results, space = files_of_both(hub)
    card = DatasetCard(results["README.md"].decode())
    card.validate()
    assert (card.data.license, card.data.size_categories) == ("apache-2.0", ["n<1K"])
    assert card.data.task_categories == ["video-classification"] and "leaderboard" in card.data.tags
    tables = {path for path in results if path.startswith("tables/")}
    assert {file["path"] for one in card.data.configs for file in one["data_files"]} == tables
    assert [one["config_name"] for one in card.data.configs if one.get("default")] == ["leaderboard"]
    for words in ("https://code.example/vddbench", "@misc{vddbench,", f"/spaces/{SPACE}", "| `top1` | share, 0 to 1 |"):
        assert words in card.text
    assert is_results_card(results["README.md"]) and cards.space_in(results["README.md"]) == SPACE
    for name in ("leaderboard", "records", "reported"):
        names = pq.read_schema(io.BytesIO(results[f"tables/{name}.parquet"])).names
        assert names and set(names) == columns.COLUMNS[f"{name}.parquet"].keys()
    assert columns.COLUMNS["aggregate.parquet"].keys() == set(parquet.AGGREGATED)
    page = SpaceCard(space["README.md"].decode())
    page.validate()
    assert (page.data.sdk, page.data.app_file, page.data.license) == ("static", "index.html", "apache-2.0")
    assert page.data.datasets == [RESULTS] and len(page.data.short_description) <= 60  # the Hub's limit


def test_a_package_without_an_address_is_named_without_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "metadata", lambda name: Message())
    assert project.code_link().startswith("vddbench ") and "url" not in project.bibtex("2026", "v2")


@pytest.mark.parametrize(("count", "name"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M")])
def test_size_categories_are_the_names_of_the_hub(count: int, name: str) -> None:
    assert project.size_category(count) == name


def test_eval_yaml_is_a_commit_of_its_own_on_request_with_tasks_configs_and_splits_that_exist(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(toy_records(tmp_path / "results"), "few", seeds=1, task="other-ipc1")
    publish_messages(root)
    assert "eval.yaml" not in hub.repo(RESULTS).files()
    assert 'Describe the benchmark in eval.yaml", ' in to_the_hub(root, "--eval-yaml", "--dry-run")[1]
    code, output = to_the_hub(root, "--eval-yaml", "--tag", "v1")
    assert code == 0 and "1 commit" in output
    files = hub.repo(RESULTS).files()
    described = yaml.safe_load(files["eval.yaml"])
    assert described["tasks"] == [{"id": "toy-ipc1", "config": "leaderboard", "split": "train"}]
    assert "leaderboard" in {one["config_name"] for one in DatasetCard(files["README.md"].decode()).data.configs}
    newest = hub.repo(RESULTS).history()[0]
    assert newest.title == "Describe the benchmark in eval.yaml"
    assert hub.repo(RESULTS).refs["refs/tags/v1"] == newest.sha
    assert "nothing to publish" in to_the_hub(root, "--eval-yaml")[1] and publish_messages(root) == []
    assert to_the_hub(root, "--eval-yaml", "--local", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "datasets" / RESULTS / "eval.yaml").read_bytes() == files["eval.yaml"]


def test_a_refused_eval_yaml_leaves_everything_else_published(hub: Hub, tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results")

    def third(left: int) -> None:  # of the commits to the results repo: records, tables, eval.yaml
        if left:
            hub.watch("POST", f"datasets/{RESULTS}/commit/", lambda: third(left - 1))
        else:
            hub.fail("POST", f"datasets/{RESULTS}/commit/", status=400)

    third(2)
    code, output = to_the_hub(root, "--eval-yaml")
    assert code == 1 and "board are published, but eval.yaml is not" in output and "(400)" in output
    assert commits_of_both(hub) == (["Add 3 records of toy-ipc1", "Regenerate the tables"], ["Regenerate the board"])


def test_without_a_ranked_entry_there_is_no_eval_yaml(tmp_path: Path) -> None:
    root = toy_records(tmp_path / "results", seeds=1)
    code, output = to_the_hub(root, "--eval-yaml", "--local", tmp_path / "out")
    assert code == 1 and "leave --eval-yaml out" in output and not (tmp_path / "out").exists()
    assert DESTINATION.with_eval is False
