"""A record's cell, evaluated again with the same seed, gives the score again; the re-run is an ordinary record."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors.torch import load as load_tensors

from tests.builders import published
from tests.builders.commands import call
from tests.builders.published import BOARD, as_stranger, claimed, ran, submitted
from tests.builders.records import GOOD, a_record
from tests.tools.hubserver import OLD_UPLOAD, Hub
from vddbench import hub as door
from vddbench.data.store import Store
from vddbench.evaluation import referee
from vddbench.evaluation.predict import predict
from vddbench.leaderboard.evidence import load
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.exchange.reproduce import reproduce
from vddbench.leaderboard.reruns import reruns
from vddbench.lookup import load as load_module
from vddbench.records.files import read_record, write_record

pytestmark = OLD_UPLOAD
own_home = published.own_home
board, entry, results = published.board, published.entry, published.entry_trained
trained = published.trained


def seed0(results: Path) -> Path:
    return next(results.glob("*/*/*/seed0.json"))


def again(record: Path, submissions: Path, own: Path, by: str = "somebody", push_to: door.Repo | None = None) -> list[str]:
    """What it prints."""
    lines: list[str] = []
    reproduce(record, by=by, reruns=own, submissions=submissions, push_to=push_to, echo=lines.append)
    return lines


def test_a_record_comes_out_again_to_the_bit_and_nothing_is_trained_twice(
    entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "reruns" / "somebody"
    first = again(seed0(results), entry.parents[1], own)
    shown = "\n".join(first)
    assert "claimed and own answer the same videos right" in shown and shown.count("top-1") == 2
    record, predictions = read_record(own / seed0(results).relative_to(results))
    _, claimed_predictions = read_record(seed0(results))
    assert record.by == "somebody" and np.array_equal(predictions.true_probability, claimed_predictions.true_probability)
    [[one]] = reruns(load([results, own]))[0].values()
    assert (one.by, one.inside, one.student, one.seed) == ("somebody", True, "convnet3d", 0)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(referee, "train", None)
    assert again(seed0(results), entry.parents[1], own) == first
    assert sorted(tmp_path.rglob("*")) == before


def test_another_score_is_shown_with_its_interval(entry: Path, tmp_path: Path) -> None:
    """Three students answer everything right, the re-run does not."""
    results, own = tmp_path / "results", tmp_path / "own"
    path, *_ = claimed(results, entry, [32, 31, 32])
    ran(entry, path, 3, by="somebody")
    [*_, last] = again(path, entry.parents[1], own)
    assert re.search(r"claimed - own: \+90\.6 points, 95 % interval \+[0-9.]+ to \+[0-9.]+", last)


def test_a_collapsed_student_is_reproduced_and_alone_it_has_no_interval(entry: Path, tmp_path: Path) -> None:
    results, own = tmp_path / "results", tmp_path / "own"
    [path] = claimed(results, entry, [0])
    record, found = read_record(path)
    nothing, none = np.full_like(found.top5, -1), np.zeros_like(found.true_probability)
    collapsed = type(found)(**{**vars(found), "top5": nothing, "centre_top1": nothing[:, 0], "true_probability": none})
    record = record.model_copy(update={**collapsed.scores(), "checks": {"finite": False}})
    path.unlink()
    write_record(results, record, collapsed)
    ran(entry, path, 5, by="somebody")
    shown = "\n".join(again(path, entry.parents[1], own))
    assert shown.count("collapsed (NaN)") == 1 and "no interval: it needs 3 students" in shown


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("store_digest", "9" * 64, "store_digest 9999999999999999"),
        ("protocol_hash", "9" * 64, "protocol_hash"),
        ("num_missing", 3, "num_missing 3"),
        ("clip_steps", 1, "clip_steps 1"),
        ("holdout", True, "holdout True"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(
    entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: Any, words: str
) -> None:
    monkeypatch.setattr(referee, "train", None)
    path = seed0(results)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "store_fingerprint": None, field: value}))
    with pytest.raises(ValueError, match=words):
        again(path, entry.parents[1], tmp_path / "own")


def test_predictions_for_other_labels_are_refused(entry: Path, results: Path, tmp_path: Path) -> None:
    record, found = read_record(seed0(results))
    other = type(found)(**{**vars(found), "label": np.roll(found.label, 1)})
    shutil.rmtree(results)
    path = write_record(results, record.model_copy(update=other.scores()), other)
    with pytest.raises(ValueError, match="other test videos"):
        again(path, entry.parents[1], tmp_path / "own")


def test_a_record_whose_headline_disagrees_is_refused(entry: Path, results: Path, tmp_path: Path) -> None:
    path = seed0(results)
    path.write_text(json.dumps({**json.loads(path.read_text()), "top1": 0.99}))
    with pytest.raises(ValueError, match=r"says top1 = 0\.99; its predictions give"):
        again(path, entry.parents[1], tmp_path / "own")


def test_a_folder_with_the_authors_own_record_is_not_taken_for_a_re_run(entry: Path, results: Path) -> None:
    ran(entry, seed0(results), 10, by="somebody")
    with pytest.raises(ValueError, match="is not the record that this machine made"):
        again(seed0(results), entry.parents[1], results)


def test_without_the_submission_it_says_where_it_looked(tmp_path: Path) -> None:
    path = write_record(tmp_path / "results", a_record(), GOOD)
    with pytest.raises(FileNotFoundError, match=r"no submission with sha256 abab.*vddbench pull"):
        again(path, tmp_path / "submissions", tmp_path / "own")
    with pytest.raises(FileNotFoundError, match="no record at"):
        again(tmp_path / "nosuch.json", tmp_path, tmp_path)


def test_names_that_no_record_can_have_and_pushing_for_others(entry: Path, results: Path, board: Hub) -> None:
    command = ["reproduce", seed0(results), "--submissions", entry.parents[1]]
    for options, words in (
        (["--by", "two words"], "a user name of the Hub"),
        (["--push"], "--results-repo is missing"),
        (["--push", "--results-repo", BOARD, "--by", "other"], "opened by owner; leave --by out"),
    ):
        code, shown = call(*command, *options)
        assert code == 2 and words in shown


def merged(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")


def test_a_published_record_is_reproduced_from_what_was_pulled(
    board: Hub, entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged(board, entry, results)
    as_stranger(monkeypatch)
    mirror.pull(door.Repo(BOARD), tmp_path / "published")
    record = next((tmp_path / "published/records").glob("*/*/*/seed1.*.json"))
    own = tmp_path / "reruns" / "stranger"
    ran(entry, record, 3, by="stranger")
    options: dict[str, Any] = {"by": "stranger", "push_to": door.Repo(BOARD)}
    shown = again(record, tmp_path / "submissions", own, **options)
    assert shown[-1] == f"{board.url}/datasets/{BOARD}/discussions/2"
    sha8 = record.parents[1].name.partition("@")[2]
    assert (tmp_path / f"published/sets/{sha8}/tiny-ipc1/mine/data.safetensors").is_file()
    new = set(board.repo(BOARD).files("refs/pr/2")) - set(board.repo(BOARD).files())
    assert sorted(path.split("/")[0] for path in new) == ["records", "records"]
    assert again(record, tmp_path / "submissions", own, **options) == shown and len(board.repo(BOARD).discussions) == 2
    monkeypatch.setenv("HF_TOKEN", "hf_owner")
    door.api().merge_pull_request(BOARD, 2, repo_type="dataset")
    as_stranger(monkeypatch)
    assert "already" in again(record, tmp_path / "submissions", own, **options)[-1]
    mirror.pull(door.Repo(BOARD), tmp_path / "published")
    counted, refused = reruns(load([tmp_path / "published/records"]))
    assert [one.by for [one] in counted.values()] == ["stranger"] and not refused


def test_text_of_a_record_is_not_markup_in_a_pull_request_of_who_reproduces_it(
    board: Hub, entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "cpu\n\n@all ![x](https://evil.example/p)\n\n# VERIFIED\x1b[31m\n```\n"
    theirs, own = tmp_path / "theirs" / "results", tmp_path / "own"
    [path] = claimed(theirs, entry, [10], environment=a_record().environment.model_copy(update={"device": evil}))
    submitted(entry, theirs)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    ran(entry, path, 11, by="stranger")
    as_stranger(monkeypatch)
    shown = again(path, entry.parents[1], own, by="stranger", push_to=door.Repo(BOARD))
    assert "\n" not in "".join(shown)
    text = board.repo(BOARD).discussions[1]["events"][0]["data"]["latest"]["raw"]
    before, fence, inside, end, after = re.split(r"^(`{3,})", text, flags=re.MULTILINE)
    assert fence == end and "@all" in inside and not {"@all", "evil", "VERIFIED"} & set((before + after).split())
    assert "\x1b" not in text and "\n# VERIFIED" not in text and len(fence) > 3


def test_a_re_run_of_a_record_that_is_not_published_is_not_proposed(
    board: Hub, entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referee, "train", None)
    with pytest.raises(ValueError, match="vddbench submit"):
        again(seed0(results), entry.parents[1], tmp_path / "own", push_to=door.Repo(BOARD))


@pytest.mark.long
def test_a_trained_student_is_published_as_a_model_whose_answers_are_those_of_its_record(
    board: Hub, tiny: Store, entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(entry, results)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    as_stranger(monkeypatch)
    repo, own = door.Repo("stranger/student", "model"), tmp_path / "own"
    options = ("--submissions", entry.parents[1], "--reruns", own, "--results-repo", BOARD, "--model", repo.id)
    code, output = call("reproduce", seed0(results), *options, "--licence", "mit")
    assert code == 0 and output.endswith(f"{board.url}/stranger/student")
    files = board.repo(repo.id, "models").files()
    assert set(files) == {"model.safetensors", "config.json", "README.md", ".eval_results/vddbench.yaml"}
    network = load_module("student", "convnet3d").build(tiny.spec.clip_shape, tiny.spec.num_classes)
    network.load_state_dict(load_tensors(files["model.safetensors"]))
    record, answers = read_record(own / seed0(results).relative_to(results))
    assert np.array_equal(predict(network, tiny.test, torch.device("cpu")).true_probability, answers.true_probability)
    [score] = parse_eval_result_entries(yaml.safe_load(files[".eval_results/vddbench.yaml"]))
    assert (score.dataset_id, score.task_id, score.value, score.date) == (BOARD, "tiny-ipc1", record.top1, record.date)
    path = score.source_url.partition("/blob/main/")[2]
    assert board.repo(BOARD).files()[path] == seed0(results).read_bytes()
    data = ModelCard(files["README.md"].decode()).data
    assert (data.license, data.datasets) == ("mit", [published.ENTRY_SET]) and data.pipeline_tag == "video-classification"
    monkeypatch.setattr(referee, "train", None)
    assert call("reproduce", seed0(results), *options)[0] == 0 and len(board.commits(repo.id, "models")) == 1


def test_a_model_of_somebody_else_is_not_replaced(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(entry, results)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    as_stranger(monkeypatch)
    door.create(door.Repo("stranger/bert", "model"))
    board.put("stranger/bert", {"model.safetensors": b"theirs"}, "models")
    monkeypatch.setattr(referee, "train", None)
    options = ("--submissions", entry.parents[1], "--results-repo", BOARD, "--model", "stranger/bert")
    code, output = call("reproduce", seed0(results), *options)
    assert code == 1 and "model.safetensors; nothing was trained" in output
    assert board.repo("stranger/bert", "models").files()["model.safetensors"] == b"theirs"
