"""A record's student trained again gives the record again, and what came out is said and kept, once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import published
from tests.builders.published import BOARD, as_stranger, claimed, ran, submitted
from tests.builders.records import GOOD, a_record
from tests.tools.hubserver import OLD_UPLOAD, Hub
from vddbench import hub as door
from vddbench.data.store import Store
from vddbench.evaluation import evaluate as evaluating
from vddbench.leaderboard.exchange import mirror, rerun
from vddbench.leaderboard.exchange import payload_download as sets
from vddbench.leaderboard.exchange import reproduce as reproducing
from vddbench.leaderboard.exchange.reproduce import reproduce
from vddbench.leaderboard.reviews import reviews
from vddbench.records.files import read_record, write_record
from vddbench.spec import Manifest, Payload

pytestmark = OLD_UPLOAD
board, entry, results = published.board, published.entry, published.entry_trained
trained = published.trained


def seed0(results: Path) -> Path:
    return next(results.glob("*/*/*/seed0.json"))


def again(record: Path, submissions: Path, results: Path, **more: Any) -> list[str]:
    """What it prints."""
    told: list[str] = []
    options: dict[str, Any] = {"by": "somebody", "push": False, "results_repo": None, **more}
    reproduce(record, submissions=submissions, results=results, echo=told.append, **options)
    return told


def test_a_record_comes_out_again_to_the_bit_and_the_board_counts_it_once(
    entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = again(seed0(results), entry.parents[1], results)
    told = "\n".join(first)
    assert "inside the 95 % prediction interval" in told and "identical to the bit" in told and told.count("top-1") == 2
    counted, refused = reviews([results])
    [[one]] = counted.values()
    assert (one.kind, one.by, one.inside, one.student, one.seed, refused) == (
        "reproduced",
        "somebody",
        True,
        "convnet3d",
        0,
        [],
    )
    assert (seed0(results).parent / "seed0.rerun1.json").is_file()
    before = sorted(results.parent.rglob("*"))
    monkeypatch.setattr(evaluating, "train", None)
    assert again(seed0(results), entry.parents[1], results) == first
    assert sorted(results.parent.rglob("*")) == before


def test_killed_before_the_review_the_same_rerun_is_gone_on_with_and_no_other(
    entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in (".json", ".safetensors"):  # somebody's evaluation of the same cell, from before
        shutil.copy(seed0(results).with_suffix(suffix), seed0(results).with_name(f"seed0.rerun1{suffix}"))

    def killed(*_: object) -> Path:
        raise KeyboardInterrupt

    ran(results, entry, seed0(results), 4)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reproducing, "write_review", killed)
        again(seed0(results), entry.parents[1], results)
    monkeypatch.setattr(evaluating, "train", None)
    assert "seed0.rerun2.json" in "\n".join(again(seed0(results), entry.parents[1], results))
    assert len(list(results.glob("*/*/*/seed0.rerun*.json"))) == 2 and len(list(results.parent.glob("reviews/*/*/*/*"))) == 1
    assert not list(results.glob(f"*/*/*/*{rerun.RERUNNING}"))


def test_another_number_is_said_to_be_outside(tiny: Store, entry: Path, results: Path) -> None:
    """A record that answers everything right, beside others that agree with each other."""
    for seed in range(published.SEEDS):
        path = seed0(results).with_name(f"seed{seed}.json")
        record, found = read_record(path)
        right = found.label[:, None] + np.arange(5, dtype=np.int32)
        better = type(found)(**{**vars(found), "top5": (right % 8).astype(np.int32), "centre_top1": found.label})
        path.unlink()
        write_record(results, record.model_copy(update=better.scores()), better)
    ran(results, entry, seed0(results), 3)
    told = "\n".join(again(seed0(results), entry.parents[1], results))
    assert "OUTSIDE the 95 % prediction interval" in told and "videos answered differently" in told
    counted, _ = reviews([results])
    assert [one.inside for [one] in counted.values()] == [False]


def test_a_collapsed_student_is_reproduced_and_alone_it_has_no_interval(entry: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    [path] = claimed(results, entry, [0])
    record, found = read_record(path)
    nothing, none = np.full_like(found.top5, -1), np.zeros_like(found.true_probability)
    found = type(found)(**{**vars(found), "top5": nothing, "centre_top1": nothing[:, 0], "true_probability": none})
    record = record.model_copy(update={**found.scores(), "checks": {"finite": False}})
    path.unlink()
    rerun.begin(results, rerun.one(write_record(results, record, found)))
    write_record(results, record.model_copy(update={"train_seconds": 7.0}), found, beside=True)
    told = "\n".join(again(path, entry.parents[1], results))
    assert told.count("collapsed (NaN)") == 2 and "identical to the bit" in told
    assert "one student alone tells nothing of its spread" in told


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
    entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: Any, words: str
) -> None:
    monkeypatch.setattr(evaluating, "train", None)
    path = seed0(results)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "store_fingerprint": None, field: value}))
    with pytest.raises(ValueError, match=words):
        again(path, entry.parents[1], results)


def test_predictions_for_other_labels_are_refused(entry: Path, results: Path) -> None:
    record, found = read_record(seed0(results))
    other = type(found)(**{**vars(found), "label": np.roll(found.label, 1)})
    shutil.rmtree(results)
    path = write_record(results, record.model_copy(update=other.scores()), other)
    with pytest.raises(ValueError, match=r"other test videos \(label\)"):
        again(path, entry.parents[1], results)


def test_a_record_whose_headline_disagrees_is_refused(entry: Path, results: Path) -> None:
    path = seed0(results)
    path.write_text(path.read_text().replace('"top1":', '"top1": 0.9, "top5":', 1).replace('"top5":', '"top5_":', 1))
    with pytest.raises(ValueError, match="not valid"):
        again(path, entry.parents[1], results)


def test_without_the_submission_it_says_where_it_looked(tmp_path: Path) -> None:
    path = write_record(tmp_path / "results", a_record(), GOOD)
    with pytest.raises(FileNotFoundError, match=r"no submission with sha256 abab.*vddbench pull"):
        again(path, tmp_path / "submissions", tmp_path / "results")
    with pytest.raises(FileNotFoundError, match="no record at"):
        again(tmp_path / "nosuch.json", tmp_path, tmp_path)


def test_names_that_no_review_can_bear_and_pushing_for_others(entry: Path, results: Path, board: Hub) -> None:
    with pytest.raises(LookupError, match="a user name of the Hub"):
        again(seed0(results), entry.parents[1], results, by="two words")
    with pytest.raises(LookupError, match="--results-repo"):
        again(seed0(results), entry.parents[1], results, push=True)
    with pytest.raises(LookupError, match="opened by owner"):
        again(seed0(results), entry.parents[1], results, push=True, results_repo=BOARD)


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
    mine = tmp_path / "mine" / "results"
    ran(mine, entry, record, 3)
    options = {"by": None, "push": True, "results_repo": BOARD}
    told = again(record, tmp_path / "submissions", mine, **options)
    assert told[-1] == f"{board.url}/datasets/{BOARD}/discussions/2"
    sha8 = record.parents[1].name.partition("@")[2]
    assert (tmp_path / f"published/sets/{sha8}/tiny-ipc1/mine/data.safetensors").is_file()
    assert (mine / record.relative_to(tmp_path / "published/records").parent / "seed1.json").is_file()
    new = set(board.repo(BOARD).files("refs/pr/2")) - set(board.repo(BOARD).files())
    assert sorted(path.split("/")[0] for path in new) == ["records", "records", "reviews"]
    assert again(record, tmp_path / "submissions", mine, **options) == told and len(board.repo(BOARD).discussions) == 2
    monkeypatch.setenv("HF_TOKEN", "hf_owner")
    door.api().merge_pull_request(BOARD, 2, repo_type="dataset")
    as_stranger(monkeypatch)
    assert "already" in again(record, tmp_path / "submissions", mine, **options)[-1]
    mirror.pull(door.Repo(BOARD), tmp_path / "published")
    counted, refused = reviews([tmp_path / "published/records"])
    assert [(one.by, one.inside) for [one] in counted.values()] == [("stranger", True)] and not refused


def test_text_of_a_record_is_no_markup_in_a_pull_request_of_the_reproducers(
    board: Hub, entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "cpu\n\n@all ![x](https://evil.example/p)\n\n# VERIFIED\x1b[31m\n```\n"
    theirs, mine = tmp_path / "theirs" / "results", tmp_path / "mine" / "results"
    [path] = claimed(theirs, entry, [10], environment=a_record().environment.model_copy(update={"device": evil}))
    submitted(entry, theirs)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    ran(mine, entry, path, 11)
    as_stranger(monkeypatch)
    told = again(path, entry.parents[1], mine, by=None, push=True, results_repo=BOARD)
    assert "\n" not in "".join(told)
    text = board.repo(BOARD).discussions[1]["events"][0]["data"]["latest"]["raw"]
    before, fence, inside, end, after = re.split(r"^(`{3,})", text, flags=re.MULTILINE)
    assert fence == end and "@all" in inside and not {"@all", "evil", "VERIFIED"} & set((before + after).split())
    assert "\x1b" not in text and "\n# VERIFIED" not in text and len(fence) > 3


def test_a_record_that_is_not_published_is_not_reviewed_there(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "train", None)
    with pytest.raises(ValueError, match="vddbench submit"):
        again(seed0(results), entry.parents[1], results, by=None, push=True, results_repo=BOARD)


def pinned_manifest(entry: Path, url: str, revision: str) -> Manifest:
    told = Manifest.model_validate_json((entry / "manifest.json").read_bytes())
    return told.model_copy(update={"payload": Payload.model_construct(url=url, revision=revision)})


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/datasets/a/b",
        "file:///etc/passwd",
        "https://evil.example/datasets/a/b",
        "https://huggingface.co.evil.example/datasets/a/b",
        "https://huggingface.co@evil.example/datasets/a/b",
        "https://huggingface.co/datasets/../../api/whoami-v2",
        "https://huggingface.co/datasets/a..b/c",
        "https://huggingface.co/datasets/a/b/resolve/main/data.safetensors",
        "https://huggingface.co/datasets/a/b?x=1",
        "https://huggingface.co/a/b",
        "https://huggingface.co/spaces/a/b",
    ],
)
def test_a_set_is_fetched_from_a_dataset_repo_of_this_hub_only(board: Hub, tiny: Store, entry: Path, url: str) -> None:
    asked = len(board.asked)
    with pytest.raises(ValueError, match=r"payload\.url"):
        sets.fetch(pinned_manifest(entry, url, "a" * 40), Path("sets"), tiny.spec)
    assert len(board.asked) == asked and not Path("sets").exists()


@pytest.mark.parametrize("revision", ["main", "", "a" * 39, "refs/pr/1", "A" * 40, "a" * 40 + "\n"])
def test_a_revision_that_moves_is_refused(tiny: Store, entry: Path, revision: str) -> None:
    with pytest.raises(ValueError, match=r"payload\.revision"):
        sets.pinned(pinned_manifest(entry, "https://huggingface.co/datasets/a/b", revision))


def test_a_manifest_that_points_to_a_file_is_no_manifest(entry: Path, tmp_path: Path) -> None:
    told = json.loads((entry / "manifest.json").read_bytes())
    place = tmp_path / f"tiny-ipc1/mine@{told['sha256'][:8]}/manifest.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({**told, "payload": {"url": "file:///etc/passwd", "revision": "a" * 40}}))
    with pytest.raises(ValueError, match=r"payload\.url"):
        sets.manifest_at(place)


def uploaded(board: Hub, data: bytes) -> str:
    door.create(door.Repo("owner/set"))
    board.put("owner/set", {"data.safetensors": data})
    return board.repo("owner/set").at("main").sha


def test_a_set_larger_than_its_budget_is_never_downloaded(board: Hub, tiny: Store, entry: Path) -> None:
    most = sets.most_bytes(sets.Task.parse("tiny-ipc1"), tiny.spec)
    sha = uploaded(board, bytes(most + 1))
    with pytest.raises(ValueError, match=rf"has {most + 1:,} bytes; allowed: {most:,}"):
        sets.fetch(pinned_manifest(entry, "https://huggingface.co/datasets/owner/set", sha), Path("sets"), tiny.spec)
    assert not [path for method, path, _ in board.asked if "/resolve/" in path] and not Path("sets").exists()


@pytest.mark.parametrize("data", [b"other bytes", b"../../../../etc/passwd"])  # a link in git is a file that says where to
def test_other_bytes_are_no_set(board: Hub, tiny: Store, entry: Path, data: bytes) -> None:
    sha = uploaded(board, data)
    with pytest.raises(ValueError, match="not the set that was evaluated"):
        sets.fetch(pinned_manifest(entry, "https://huggingface.co/datasets/owner/set", sha), Path("sets"), tiny.spec)
    assert not Path("sets").exists()


def test_a_link_where_the_set_is_to_lie_is_replaced_not_followed(board: Hub, tiny: Store, entry: Path, tmp_path: Path) -> None:
    sha = uploaded(board, (entry / "data.safetensors").read_bytes())
    manifest = pinned_manifest(entry, "https://huggingface.co/datasets/owner/set", sha)
    (tmp_path / "precious").write_bytes(b"mine")
    folder = tmp_path / "sets" / manifest.sha256[:8] / "tiny-ipc1" / "mine"
    folder.mkdir(parents=True)
    for name in ("data.safetensors", "manifest.json"):
        (folder / name).symlink_to(tmp_path / "precious")
    assert sets.fetch(manifest, tmp_path / "sets", tiny.spec) == folder
    assert (tmp_path / "precious").read_bytes() == b"mine" and not (folder / "data.safetensors").is_symlink()
