"""Exports for Every Eval Ever say what the ranked tables say, and are valid by its own schema where that is installed."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders.commands import call
from tests.builders.records import a_record
from tests.builders.toy_board import sha_of, toy_records
from vddbench.leaderboard.every_eval_ever import source_of
from vddbench.leaderboard.site.board import board_of

PATH = r"data/vddbench/vddbench/[a-z0-9_-]+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Records of two ranked methods and of one with a single student, and the folder of their export."""
    root = tmp_path_factory.mktemp("eee")
    toy_records(toy_records(root / "results"), "fast", track="soft")
    toy_records(root / "results", "few", seeds=1)
    arguments = ("--organization", "A lab", "--out", root / "out", "--results", root / "results")
    code, output = call("export", "every-eval-ever", *arguments)
    assert code == 0 and "2 files in" in output
    before = sorted((root / "out").rglob("*"))
    assert call("export", "every-eval-ever", *arguments)[0] == 0 and sorted((root / "out").rglob("*")) == before
    return root / "results", root / "out"


def logs(folder: Path) -> dict[str, dict[str, Any]]:
    """The exported logs, by method."""
    files = {path.relative_to(folder).as_posix(): json.loads(path.read_bytes()) for path in folder.rglob("*.json")}
    assert all(re.fullmatch(PATH, path) and log["model_info"]["id"] in path for path, log in files.items())
    return {log["model_info"]["additional_details"]["method"]: log for log in files.values()}


def test_scores_intervals_and_ranks_are_those_of_the_table(exported: tuple[Path, Path]) -> None:
    results, out = exported
    rows = {row["method"]: row for row in board_of([results]).rows}
    found = logs(out)
    assert set(found) == {"mine", "fast"}  # `few` has no rank
    [result] = found["mine"]["evaluation_results"]
    details = result["score_details"]
    interval = details["uncertainty"]["confidence_interval"]
    assert details["score"] == rows["mine"]["top1"] == 0.5
    assert (interval["lower"], interval["upper"]) == (max(0, rows["mine"]["low"]), min(1, rows["mine"]["high"]))
    assert details["details"]["rank_ipc"] == details["details"]["rank_open"] == "1"
    assert details["details"]["sha256"] == sha_of("mine") and details["uncertainty"]["num_samples"] == 4
    assert all(isinstance(value, str) for value in details["details"].values())
    assert found["mine"]["source_metadata"]["evaluator_relationship"] == "first_party"
    assert found["mine"]["source_metadata"]["source_organization_name"] == "A lab"


def test_a_known_dataset_is_named_by_its_address_and_another_one_by_its_digest() -> None:
    assert source_of(a_record(task="miniucf-ipc1"))["url"] == ["https://www.crcv.ucf.edu/data/UCF101.php"]
    own = source_of(a_record())
    assert own["source_type"] == "other" and own["additional_details"]["store_digest"] == "2" * 64


def test_the_format_itself_accepts_every_file(exported: tuple[Path, Path]) -> None:
    """Its package cannot be a dependency: it needs Python 3.12, and much that vddbench does not."""
    spec = importlib.util.find_spec("every_eval_ever")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the schema: pip install every-eval-ever, with Python 3.12")
    schema = Path(spec.submodule_search_locations[0], "schemas", "eval.schema.json")
    validator = jsonschema.Draft7Validator(json.loads(schema.read_bytes()))
    for log in logs(exported[1]).values():
        assert [error.message for error in validator.iter_errors(log)] == []


def test_an_organization_is_a_name(tmp_path: Path) -> None:
    code, output = call("export", "every-eval-ever", "--organization", "a\nb", "--out", tmp_path)
    assert code == 2 and "printable" in output
