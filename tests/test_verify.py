"""A pull request is refused for anything but a submission's honest files; what a maintainer draws must come out again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaderboard.reviews import path_in, reviews
from tests import published
from tests.hubserver import OLD_UPLOAD, Blob, Hub
from tests.published import BOARD, SET, as_stranger, submitted
from vddbench import evaluate as evaluating
from vddbench import hub as door
from vddbench import mirror
from vddbench import verify as verifying
from vddbench.records import published_path, read_record, write_record
from vddbench.spec import Record, Review
from vddbench.verify import verify_pull_request, verify_submission

pytestmark = OLD_UPLOAD
board, results, trained = published.board, published.results, published.trained
REPO = door.Repo(BOARD)


def verified(number: int = 1, count: int = 1, *, push: bool = False) -> list[str]:
    """What it prints, run by the owner with nothing but a prepared store."""
    told: list[str] = []
    verify_pull_request(
        number,
        REPO,
        count=count,
        submissions=Path("maintainer/submissions"),
        results=Path("maintainer/results"),
        into=Path("verifying"),
        push=push,
        echo=told.append,
    )
    return told


def pushed_by_stranger(add: dict[str, bytes], delete: tuple[str, ...] = ()) -> None:
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        door.commit(REPO, add, "more", delete=delete, revision="refs/pr/1")


def test_from_pull_request_to_a_verified_row(board: Hub, tiny_random: Path, results: Path, tmp_path: Path) -> None:
    submitted(tiny_random, results)
    told = verified(push=True)
    assert any("inside the 95 % prediction interval" in line for line in told)
    assert "verified: 1 students run again" in told[-2] and "pushed 3 files" in told[-1]
    assert verified(push=True)[-1].endswith("has these reviews already")  # and nothing is drawn anew
    board.put(BOARD, {"README.md": b"# newer\n"})  # main moves on meanwhile
    assert verified(push=True)[-1].endswith("has these reviews already")
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    assert board.repo(BOARD).files()["README.md"] == b"# newer\n"
    mirror.pull(REPO, tmp_path / "published")
    counted, refused = reviews([tmp_path / "published/records"])
    assert [(one.kind, one.by, one.inside) for [one] in counted.values()] == [("verified", "owner", True)] and not refused
    with pytest.raises(ValueError, match="is merged"):
        verified()


def test_a_folder_is_verified_with_its_records(tiny_random: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    [path] = verify_submission(tiny_random, by="somebody", count=1, results=results, echo=told.append)
    assert path.is_relative_to(results.parent / "reviews") and "verified: 1" in told[-1]
    monkeypatch.setattr(evaluating, "train", None)
    assert verify_submission(tiny_random, by="somebody", count=1, results=results, echo=told.append) == [path]


@pytest.mark.parametrize(
    ("add", "delete", "words"),
    [
        ({"README.md": b"# mine\n"}, (), "changed: README.md"),
        ({}, ("README.md",), "deleted: README.md"),
        ({"tables/leaderboard.parquet": b"x"}, (), "added: tables/leaderboard.parquet"),
        ({"records/tiny-ipc1/random@00000000/convnet3d/seed0.json": b"{}"}, (), "known form"),
        ({"submissions/tiny-ipc1/other@00000000/manifest.json": b"{}"}, (), "of 2 submissions"),
        ({"reviews/tiny-ipc5/random@00000000/convnet3d/seed0.0123456789abcdef.json": b"{}"}, (), "of 2 submissions"),
        ({"records/tiny-ipc1/old@00000000/convnet3d/seed0.0123456789abcdef.json": b"[]"}, (), "changed: records/tiny-ipc1/old"),
        ({}, ("records/tiny-ipc1/old@00000000/convnet3d/seed0.0123456789abcdef.json",), "deleted: records/tiny-ipc1/old"),
        ({"CELL/convnet3d/seed9.0123456789abcdef.json": bytes(1_000_001)}, (), "too large"),
    ],
)
def test_a_pull_request_may_bring_one_submission_and_nothing_else(
    board: Hub, tiny_random: Path, results: Path, add: dict[str, bytes], delete: tuple[str, ...], words: str
) -> None:
    board.put(BOARD, {"records/tiny-ipc1/old@00000000/convnet3d/seed0.0123456789abcdef.json": b"{}"})
    submitted(tiny_random, results)
    cell = next(path.rpartition("/convnet3d/")[0] for path in board.repo(BOARD).files("refs/pr/1") if "random" in path[:30])
    pushed_by_stranger({path.replace("CELL", cell): data for path, data in add.items()}, delete)
    asked = len(board.asked)
    with pytest.raises(ValueError, match="refused") as error:
        verified()
    assert words in str(error.value)
    assert not [path for _, path, _ in board.asked[asked:] if "/resolve/" in path] and not Path("verifying").exists()


def test_a_path_that_climbs_is_refused_though_the_client_would_never_send_it(
    board: Hub, tiny_random: Path, results: Path
) -> None:
    submitted(tiny_random, results)
    repo = board.repo(BOARD)
    climbing = {"records/../../x.json": Blob(b"{}", lfs=False), "/etc/passwd": Blob(b"x", lfs=False)}
    repo.add("refs/pr/1", {**repo.at("refs/pr/1").tree, **climbing}, "by git", "", "stranger")
    with pytest.raises(ValueError, match=r"added: /etc/passwd.*\n  added: records/\.\./\.\./x\.json"):
        verified()


def rewritten(board: Hub, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The manifest of pull request 1, made anew."""
    path = next(path for path in board.repo(BOARD).files("refs/pr/1") if path.startswith("submissions/"))
    told = json.loads(board.repo(BOARD).files("refs/pr/1")[path])
    pushed_by_stranger({path: json.dumps(change(told)).encode()})


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"url": "http://evil.example/datasets/a/b"}, "payload.url"),
        ({"url": "file:///etc/passwd"}, "payload.url"),
        ({"url": "https://evil.example/datasets/a/b"}, "nothing else is fetched"),
        ({"url": "https://huggingface.co/datasets/a/../b"}, "nothing else is fetched"),
        ({"revision": "main"}, "which can change"),
        ({"revision": "0" * 40}, "no such revision"),
        ({"url": "https://huggingface.co/datasets/nobody/nothing"}, "no dataset repo nobody/nothing"),
        (None, "'payload' is missing"),
    ],
)
def test_a_manifest_that_points_elsewhere_is_refused(
    board: Hub, tiny_random: Path, results: Path, payload: dict[str, str] | None, words: str
) -> None:
    submitted(tiny_random, results)
    rewritten(board, lambda told: {**told, "payload": payload and {**told["payload"], **payload}})
    with pytest.raises((ValueError, OSError), match=words):
        verified()


def test_a_manifest_that_claims_more_than_its_bytes_is_refused(board: Hub, tiny_random: Path, results: Path) -> None:
    submitted(tiny_random, results)
    rewritten(board, lambda told: {**told, "method": "better"})
    with pytest.raises(ValueError, match="it belongs in tiny-ipc1/better@"):
        verified()


def test_other_bytes_at_the_pinned_commit_are_refused(board: Hub, tiny_random: Path, results: Path) -> None:
    submitted(tiny_random, results)
    board.put(SET, {"data.safetensors": b"other"})
    rewritten(board, lambda told: {**told, "payload": {**told["payload"], "revision": board.repo(SET).at("main").sha}})
    with pytest.raises(ValueError, match="not the set that was evaluated"):
        verified()


def test_another_prepared_store_is_refused_before_training(
    board: Hub, tiny_random: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "train", None)
    for path in results.glob("*/*/*/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "store_digest": "9" * 64}))
    submitted(tiny_random, results)
    with pytest.raises(ValueError, match=r"nothing was trained:\n.*store_digest 9999"):
        verified()


def test_a_record_whose_headline_disagrees_is_refused(board: Hub, tiny_random: Path, results: Path) -> None:
    submitted(tiny_random, results)
    [path] = [path for path in board.repo(BOARD).files("refs/pr/1") if "/seed0." in path and path.endswith(".json")]
    told = json.loads(board.repo(BOARD).files("refs/pr/1")[path])
    data = json.dumps({**told, "top1": 0.99}).encode()
    address = hashlib.sha256(data).hexdigest()[:16]
    npz = board.repo(BOARD).files("refs/pr/1")[path[:-5] + ".npz"]
    new = path.rpartition("/")[0] + f"/seed0.{address}"
    pushed_by_stranger({f"{new}.json": data, f"{new}.npz": npz})
    with pytest.raises(ValueError, match=r"says top1 = 0\.99; its predictions give"):
        verified()


def test_predictions_without_their_record_are_refused(board: Hub, tiny_random: Path, results: Path) -> None:
    submitted(tiny_random, results)
    [path] = [path for path in board.repo(BOARD).files("refs/pr/1") if "/seed0." in path and path.endswith(".json")]
    pushed_by_stranger({}, (path,))
    with pytest.raises(ValueError, match="has no record beside it"):
        verified()


def review_of(board: Hub, first: str, second: str, **fields: Any) -> tuple[str, bytes]:
    """A review of two records of the pull request, at the path that is due."""
    files = board.repo(BOARD).files("refs/pr/1")
    of, rerun = (files[next(p for p in files if f"/{name}." in p and p.endswith(".json"))] for name in (first, second))
    sha = [hashlib.sha256(data).hexdigest() for data in (of, rerun)]
    told = {"kind": "reproduced", "by": "stranger", "of": sha[0], "rerun": sha[1], "date": "2026-01-01T00:00:00Z", **fields}
    data = Review(**told).model_dump_json().encode()
    path = path_in(Path("reviews"), Record.model_validate_json(of), data)
    return path.as_posix(), data


def with_rerun(results: Path) -> None:
    """The stranger made a second record of seed 0, with the same answers."""
    path = next(results.glob("*/*/*/seed0.json"))
    record, found = read_record(path)
    write_record(results, record.model_copy(update={"date": "2030-01-01T00:00:00Z"}), found, beside=True)


@pytest.mark.parametrize(
    ("second", "fields", "words"),
    [
        ("seed1", {}, "not two of one cell"),
        ("rerun", {"by": "somebody"}, "by somebody; the pull request is by stranger"),
        ("rerun", {"kind": "verified"}, "verified by stranger; not here"),
        ("rerun", {"kind": "verified", "by": "owner"}, "verified by owner; not here"),
        ("rerun", {"rerun": "9" * 64}, "no valid record has the sha256 9999"),
    ],
)
def test_reviews_that_nobody_may_bring(
    board: Hub, tiny_random: Path, results: Path, second: str, fields: dict[str, str], words: str
) -> None:
    with_rerun(results)
    submitted(tiny_random, results)
    if second == "rerun":
        record, _ = read_record(path := next(results.glob("*/*/*/seed0.rerun1.json")))
        second = published_path(record, path.read_bytes()).stem
    path_, data = review_of(board, "seed0", second.removesuffix(".json"), **fields)
    pushed_by_stranger({path_: data})
    with pytest.raises(ValueError, match=words):
        verified()


def lying(results: Path) -> None:
    """Three records that say nearly everything was right."""
    for path in sorted(results.glob("*/*/*/seed?.json")):
        record, found = read_record(path)
        right = ((found.label[:, None] + np.arange(5)) % 8).astype(np.int32)
        better = type(found)(**{**vars(found), "top5": right, "centre_top1": found.label})
        path.unlink()
        write_record(results, record.model_copy(update=better.scores()), better)


def test_scores_that_do_not_come_out_are_not_verified_and_nobody_draws_until_they_do(
    board: Hub, tiny_random: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(results)
    submitted(tiny_random, results)
    with pytest.raises(ValueError, match=r"not verified: 1 of 1 .* 100.00% became"):
        verified(push=True)
    assert not list(Path("maintainer").glob("reviews/*/*/*/*")) and len(board.repo(BOARD).history("refs/pr/1")) == 3
    monkeypatch.setattr(evaluating, "train", None)  # the same one, without training it again
    with pytest.raises(ValueError, match="not verified: 1 of 1"):
        verified(push=True)


def test_a_pull_request_that_changed_since_is_not_pushed_to(
    board: Hub, tiny_random: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(tiny_random, results)
    run_again = verifying.run_again

    def meanwhile(*given: Any) -> Any:
        pushed_by_stranger({"README.md": b"# mine now\n"})
        return run_again(*given)

    monkeypatch.setattr(verifying, "run_again", meanwhile)
    with pytest.raises(ValueError, match="has changed since it was verified; nothing pushed"):
        verified(push=True)
    monkeypatch.undo()


def test_what_is_no_pull_request_is_said(board: Hub) -> None:
    with pytest.raises(LookupError, match="no pull request 7"):
        verified(7)
    door.api().create_discussion(BOARD, "a question", description="?", repo_type="dataset")
    with pytest.raises(LookupError, match="is a discussion"):
        verified(1)


def test_a_refused_submission_is_refused_with_its_reasons(tiny_random: Path, results: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(tiny_random, tmp_path / "tiny-ipc1" / "random"))
    with (bad / "data.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"is refused:\n.*followed by bytes"):
        verify_submission(bad, by="me", count=1, results=results, echo=print)
