"""A pull request is refused for anything but a submission's honest files; what a maintainer draws must come out again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import published
from tests.builders.published import BOARD, RIGHT, as_stranger, claimed, ran, scored, submitted
from tests.builders.published import ENTRY_SET as SET
from tests.tools.hubserver import OLD_UPLOAD, Blob, Hub
from vddbench import hub as door
from vddbench.evaluation import evaluate as evaluating
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.exchange import ownership as claims
from vddbench.leaderboard.exchange import payload_download as sets
from vddbench.leaderboard.exchange import verify as verifying
from vddbench.leaderboard.exchange.proposal import proposal
from vddbench.leaderboard.exchange.reproduce import reproduce
from vddbench.leaderboard.exchange.rerun import one
from vddbench.leaderboard.exchange.sampling import Claimed, drawn, how_many, judged
from vddbench.leaderboard.exchange.verify import verify_pull_request, verify_submission
from vddbench.leaderboard.reviews import path_in, reviews
from vddbench.records.files import published_path, read_record
from vddbench.records.record import Record, Review
from vddbench.submissions.manifest import read_manifest

pytestmark = OLD_UPLOAD
board, entry, results = published.board, published.entry, published.entry_results
trained, entry_trained = published.trained, published.entry_trained
MAINTAINER = Path("maintainer/results")
REPO = door.Repo(BOARD)


def verified(number: int = 1, count: int = 3, *, push: bool = False, merge: bool = False) -> list[str]:
    """What it prints, run by the owner with nothing but a prepared store."""
    told: list[str] = []
    verify_pull_request(
        number,
        REPO,
        count=count,
        submissions=Path("maintainer/submissions"),
        results=MAINTAINER,
        into=Path("verifying"),
        push=push,
        merge=merge,
        echo=told.append,
    )
    return told


def head(board: Hub) -> str:
    return board.repo(BOARD).at("refs/pr/1").sha


def pushed_by_stranger(add: dict[str, bytes], delete: tuple[str, ...] = ()) -> None:
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        door.commit(REPO, add, "more", delete=delete, revision="refs/pr/1")


def run_before(results: Path, entry: Path, right: Sequence[int] = (11, 10, 10)) -> None:
    """The maintainer's machine has trained them all, if they are drawn; by seed."""
    for path, count in zip(sorted(results.glob("*/*/*/seed?.json")), right, strict=True):
        ran(MAINTAINER, entry, path, count)


def test_from_pull_request_to_a_verified_row(board: Hub, entry: Path, results: Path, tmp_path: Path) -> None:
    submitted(entry, results)
    run_before(results, entry)
    told = verified(push=True)
    assert any("inside the 95 % prediction interval" in line for line in told)
    assert "mean of 3 students claimed 32.3%, run again 32.3%, at most" in told[-3]
    assert "verified: 3 students run again" in told[-2] and "pushed 9 files" in told[-1]
    assert f"merge it with `vddbench verify 1 --merge`, or see that its newest commit is {head(board)}" in told[-1]
    assert "has these reviews already" in verified(push=True)[-1]  # and nothing is drawn anew
    board.put(BOARD, {"README.md": b"# newer\n"})  # main moves on meanwhile
    assert "merged as" in verified(merge=True)[-1]
    assert board.repo(BOARD).files()["README.md"] == b"# newer\n"
    mirror.pull(REPO, tmp_path / "published")
    counted, refused = reviews([tmp_path / "published/records"])
    assert [(one.kind, one.by, one.inside) for [one, *_] in counted.values()] == [("verified", "owner", True)] and not refused
    assert {one.seed for several in counted.values() for one in several} == {0, 1, 2}
    with pytest.raises(ValueError, match="is merged"):
        verified()


def test_a_folder_is_verified_with_its_records(entry: Path, entry_trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One student is enough where it answers the same to the bit."""
    next(entry_trained.glob("*/*/*/seed1.json")).unlink()
    told: list[str] = []
    [path] = verify_submission(entry, by="somebody", count=1, results=entry_trained, echo=told.append)
    assert path.is_relative_to(entry_trained.parent / "reviews") and "verified: 1" in told[-1] and "to the bit" in told[-2]
    monkeypatch.setattr(evaluating, "train", None)
    assert verify_submission(entry, by="somebody", count=1, results=entry_trained, echo=told.append) == [path]


@pytest.mark.parametrize(
    ("add", "delete", "words"),
    [
        ({"README.md": b"# mine\n"}, (), "changed: README.md"),
        ({}, ("README.md",), "deleted: README.md"),
        ({"tables/leaderboard.parquet": b"x"}, (), "added: tables/leaderboard.parquet"),
        ({"records/tiny-ipc1/mine@00000000/convnet3d/seed0.json": b"{}"}, (), "known form"),
        ({"submissions/tiny-ipc1/other@00000000/manifest.json": b"{}"}, (), "of 2 submissions"),
        ({"reviews/tiny-ipc5/mine@00000000/convnet3d/seed0.0123456789abcdef.json": b"{}"}, (), "of 2 submissions"),
        ({"records/tiny-ipc1/old@00000000/convnet3d/seed0.0123456789abcdef.json": b"[]"}, (), "changed: records/tiny-ipc1/old"),
        ({}, ("records/tiny-ipc1/old@00000000/convnet3d/seed0.0123456789abcdef.json",), "deleted: records/tiny-ipc1/old"),
        ({"CELL/convnet3d/seed9.0123456789abcdef.json": bytes(1_000_001)}, (), "too large"),
    ],
)
def test_a_pull_request_may_bring_one_submission_and_nothing_else(
    board: Hub, entry: Path, results: Path, add: dict[str, bytes], delete: tuple[str, ...], words: str
) -> None:
    board.put(BOARD, {"records/tiny-ipc1/old@00000000/convnet3d/seed0.0123456789abcdef.json": b"{}"})
    submitted(entry, results)
    cell = next(path.rpartition("/convnet3d/")[0] for path in board.repo(BOARD).files("refs/pr/1") if "mine" in path[:30])
    pushed_by_stranger({path.replace("CELL", cell): data for path, data in add.items()}, delete)
    asked = len(board.asked)
    with pytest.raises(ValueError, match="refused") as error:
        verified()
    assert words in str(error.value)
    assert not [path for _, path, _ in board.asked[asked:] if "/resolve/" in path] and not Path("verifying").exists()


def test_a_path_that_climbs_is_refused_though_the_client_would_never_send_it(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
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
        ({"revision": "0" * 40}, "commit 00000000 is not on main of"),
        ({"url": "https://huggingface.co/datasets/nobody/nothing"}, "no dataset repo nobody/nothing"),
        (None, "'payload' is missing"),
    ],
)
def test_a_manifest_that_points_elsewhere_is_refused(
    board: Hub, entry: Path, results: Path, payload: dict[str, str] | None, words: str
) -> None:
    submitted(entry, results)
    rewritten(board, lambda told: {**told, "payload": payload and {**told["payload"], **payload}})
    with pytest.raises((ValueError, OSError), match=words):
        verified()


def test_a_manifest_that_claims_more_than_its_bytes_is_refused(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
    rewritten(board, lambda told: {**told, "method": "better"})
    with pytest.raises(ValueError, match="it belongs in tiny-ipc1/better@"):
        verified()


def test_other_bytes_at_the_pinned_commit_are_refused(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
    board.put(SET, {"data.safetensors": b"other"})
    rewritten(board, lambda told: {**told, "payload": {**told["payload"], "revision": board.repo(SET).at("main").sha}})
    with pytest.raises(ValueError, match="not the set that was evaluated"):
        verified()


def test_another_prepared_store_is_refused_before_training(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "train", None)
    for path in results.glob("*/*/*/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "store_digest": "9" * 64}))
    submitted(entry, results)
    with pytest.raises(ValueError, match=r"nothing was trained:\n.*store_digest 9999"):
        verified()


def test_a_record_whose_headline_disagrees_is_refused(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
    [path] = [path for path in board.repo(BOARD).files("refs/pr/1") if "/seed0." in path and path.endswith(".json")]
    told = json.loads(board.repo(BOARD).files("refs/pr/1")[path])
    data = json.dumps({**told, "top1": 0.99}).encode()
    address = hashlib.sha256(data).hexdigest()[:16]
    npz = board.repo(BOARD).files("refs/pr/1")[path[:-5] + ".safetensors"]
    new = path.rpartition("/")[0] + f"/seed0.{address}"
    pushed_by_stranger({f"{new}.json": data, f"{new}.safetensors": npz})
    with pytest.raises(ValueError, match=r"says top1 = 0\.99; its predictions give"):
        verified()


def test_predictions_without_their_record_are_refused(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
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


def with_rerun(results: Path, entry: Path) -> None:
    """The stranger made a second record of seed 0."""
    ran(results, entry, next(results.glob("*/*/*/seed0.json")), 10)


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
    board: Hub, entry: Path, results: Path, second: str, fields: dict[str, str], words: str
) -> None:
    with_rerun(results, entry)
    submitted(entry, results)
    if second == "rerun":
        record, _ = read_record(path := next(results.glob("*/*/*/seed0.rerun1.json")))
        second = published_path(record, path.read_bytes()).stem
    path_, data = review_of(board, "seed0", second.removesuffix(".json"), **fields)
    pushed_by_stranger({path_: data})
    with pytest.raises(ValueError, match=words):
        verified()


def test_scores_that_do_not_come_out_are_not_verified_and_nobody_draws_until_they_do(
    board: Hub, entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "stranger" / "results"
    claimed(results, entry, [32] * 6)
    submitted(entry, results)
    run_before(results, entry, [10] * 6)
    monkeypatch.setattr(evaluating, "train", None)
    with pytest.raises(ValueError, match=r"not verified: .* 100\.00% became 31\.25%") as first:
        verified(push=True)
    assert str(first.value).count("became") == 3 and len(board.repo(BOARD).history("refs/pr/1")) == 3
    assert not list(Path("maintainer").glob("reviews/*/*/*/*"))
    with pytest.raises(ValueError) as second:
        verified(push=True)
    assert str(second.value) == str(first.value)  # the same ones


def test_a_pull_request_that_changed_since_is_not_pushed_to(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(entry, results)
    run_before(results, entry)
    run_again = verifying.run_again

    def meanwhile(*given: Any) -> Any:
        pushed_by_stranger({"README.md": b"# mine now\n"})
        return run_again(*given)

    monkeypatch.setattr(verifying, "run_again", meanwhile)
    with pytest.raises(ValueError, match="has changed since it was verified; nothing pushed"):
        verified(push=True)
    monkeypatch.undo()


def on_main(board: Hub, entry: Path, method: str, url: str | None, sha256: str = "0" * 64) -> None:
    """A manifest that was merged before."""
    told = json.loads((entry / "manifest.json").read_bytes())
    payload = url and {"url": f"https://huggingface.co/datasets/{url}", "revision": "a" * 40}
    told |= {"method": method, "sha256": sha256, "payload": payload, "seed": 3}
    board.put(BOARD, {f"submissions/tiny-ipc1/{method}-s3@{sha256[:8]}/manifest.json": json.dumps(told).encode()})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rival/set", "the method 'mine' is rival's"),
        (None, "the method 'mine' is the maintainers'"),
        ("x/../y", "the maintainers'"),
        ("Stranger/other", None),
    ],
)
def test_nobody_joins_anothers_method(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, words: str | None
) -> None:
    submitted(entry, results)
    on_main(board, entry, "mine", url)  # meanwhile
    run_before(results, entry)
    monkeypatch.setattr(evaluating, "train", None)
    if words is None:
        assert "verified: 3" in verified()[-1]
        return
    with pytest.raises(ValueError, match=words):
        verified()
    with pytest.raises(ValueError, match=f"would be refused on(.|\n)*{words}"):
        submitted(entry, results)


@pytest.mark.parametrize("name", ["random", "full", "dm_fast", "mtt_smoke", "frepo"])
def test_a_baselines_name_is_refused_in_a_pull_request_and_before_one(
    board: Hub, entry: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    manifest = read_manifest(entry.resolve()).model_copy(update={"method": name})
    main = door.listing(REPO)
    claims.check_name(REPO, main, manifest, "owner")  # a maintainer
    as_stranger(monkeypatch)
    with pytest.raises(ValueError, match=f"'{name}' is the name of a bundled baseline"):
        claims.check_name(REPO, main, manifest, "stranger")
    claims.check_name(REPO, main, manifest.model_copy(update={"method": f"{name}_of_mine"}), "stranger")


def test_a_baseline_of_a_strangers_is_refused(board: Hub, tiny_random: Path, trained: Path) -> None:
    submit_unchecked(tiny_random, trained)
    with pytest.raises(ValueError, match="'random' is the name of a bundled baseline"):
        verified()


def submit_unchecked(path: Path, results: Path) -> None:
    """As somebody does who has no vddbench."""
    manifest = read_manifest(path.resolve())
    cell = manifest.cell
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        repo = door.Repo("stranger/set")
        door.create(repo)
        sha = door.commit(repo, {"data.safetensors": path / "data.safetensors"}, "my set").sha
        told = manifest.model_copy(update={"payload": sets.payload_of(repo, sha)}).model_dump_json().encode()
        records = {at: file for at, file in mirror.publishable([results])[0].items() if at.startswith(f"records/{cell}/")}
        door.pull_request(REPO, {f"submissions/{cell}/manifest.json": told, **records}, "mine", "")


@pytest.mark.parametrize(
    ("sha256", "method", "words"),
    [
        ("SHA8" + "0" * 56, "other", "shares its first 8 digits with tiny-ipc1/other-s3@"),
        ("SHA", "other", "its bytes are those of tiny-ipc1/other-s3@"),
    ],
)
def test_a_digest_is_of_one_submission(board: Hub, entry: Path, results: Path, sha256: str, method: str, words: str) -> None:
    own = read_manifest(entry.resolve()).sha256
    submitted(entry, results)
    on_main(board, entry, method, "rival/set", sha256.replace("SHA8", own[:8]).replace("SHA", own))
    with pytest.raises(ValueError, match=words):
        verified()


def test_a_set_is_where_its_submitter_writes(board: Hub, entry: Path, results: Path) -> None:
    """Anybody can open a pull request on a rival's set, and pin its commit."""
    submitted(entry, results)
    theirs = door.Repo("lab/set")
    door.create(theirs)
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        opened = door.pull_request(theirs, {"data.safetensors": entry / "data.safetensors"}, "a gift", "")
    payload = {"url": "https://huggingface.co/datasets/lab/set", "revision": opened.sha}
    rewritten(board, lambda told: {**told, "payload": payload})
    with pytest.raises(ValueError, match="is not on main of dataset repo lab/set"):
        verified()
    payload["revision"] = door.commit(theirs, {"data.safetensors": entry / "data.safetensors"}, "ours").sha
    rewritten(board, lambda told: {**told, "payload": payload})
    with pytest.raises(ValueError, match="was uploaded by owner; the pull request is by stranger"):
        verified()


def merged(entry: Path, results: Path) -> None:
    submitted(entry, results)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")


def test_a_backdated_record_does_not_take_anothers_place(board: Hub, entry: Path, results: Path, tmp_path: Path) -> None:
    merged(entry, results)
    other = tmp_path / "other" / "results"
    claimed(other, entry, [20], date="2020-01-01T00:00:00Z")
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        door.pull_request(REPO, dict(mirror.publishable([other])[0]), "older", "")
    with pytest.raises(ValueError, match="main has a record of this student and seed; another one is a re-run"):
        verified(2)
    assert claims.taken(mirror.publishable([other])[0], door.listing(REPO))


def test_a_reproduction_of_a_record_on_main_is_verified(board: Hub, entry: Path, results: Path, tmp_path: Path) -> None:
    merged(entry, results)
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        mirror.pull(REPO, tmp_path / "published")
        path = next((tmp_path / "published/records").glob("*/*/*/seed0.*.json"))
        mine = tmp_path / "mine" / "results"
        again = ran(mine, entry, path, 11)
        options = {"by": None, "push": True, "results_repo": BOARD}
        reproduce(path, submissions=entry.parents[1], results=mine, echo=print, **options)  # type: ignore[arg-type]
    for each, right in zip([again, *sorted(results.glob("*/*/*/seed[12].json"))], (10, 11, 11), strict=True):
        ran(MAINTAINER, entry, each, right)
    assert "verified: 3 students" in verified(2)[-1]


def test_dates_in_the_future_are_refused(board: Hub, entry: Path, tmp_path: Path) -> None:
    claimed(tmp_path / "results", entry, RIGHT, date="2999-01-01T00:00:00Z")
    submitted(entry, tmp_path / "results")
    with pytest.raises(ValueError, match="is dated 2999-01-01T00:00:00Z, which is in the future"):
        verified()


def test_nobody_reviews_a_record_that_is_not_published(board: Hub, entry: Path, results: Path) -> None:
    with_rerun(results, entry)
    submitted(entry, results)
    rerun = next(results.glob("*/*/*/seed0.rerun1.json"))
    first = next(results.glob("*/*/*/seed0.json"))
    stems = [published_path(read_record(path)[0], path.read_bytes()).stem for path in (first, rerun)]
    path, data = review_of(board, *stems)
    pushed_by_stranger({path: data})
    with pytest.raises(ValueError, match="is of no record on main: records are reviewed by others"):
        verified()


def test_two_students_far_apart_prove_nothing(
    board: Hub, entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """12.5 % is true, 100 % is not: the re-run of either is inside 0.0 % to 100.0 %."""
    results = tmp_path / "results"
    claimed(results, entry, [4, 32])
    submitted(entry, results)
    run_before(results, entry, [5, 4])
    monkeypatch.setattr(evaluating, "train", None)
    with pytest.raises(ValueError, match=r"2 re-runs that are not identical .* run more: --seeds 3"):
        verified(count=1)
    assert "2 of 2 new students are trained again" in capsys.readouterr().err


def test_a_wide_spread_of_many_is_trained_again_as_a_whole(
    board: Hub, entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    claimed(results, entry, [4, 5, 4, 32, 31])
    submitted(entry, results)
    run_before(results, entry, [4, 5, 5, 4, 3])
    with pytest.raises(ValueError, match=r"not verified: .*mean of 5 students claimed 47\.5%, run again 13\.1%, at most"):
        verified(count=1)
    assert "5 of 5 new students are trained again: the claimed students spread so far" in capsys.readouterr().err


def test_of_what_is_claimed_after_the_draw_others_are_drawn(board: Hub, entry: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    first = claimed(results, entry, [10] * 7)
    known = [one(path) for path in first]
    drawn_first = drawn(Claimed(scored(entry), known, known), 3, "me", MAINTAINER)
    assert len(drawn_first) == 3
    assert drawn(Claimed(scored(entry), known, known), 3, "me", MAINTAINER) == drawn_first
    known += [one(path) for path in claimed(results, entry, [10] * 5, first_seed=7)]
    then = {each.record.seed for each in drawn(Claimed(scored(entry), known, known), 3, "me", MAINTAINER)}
    assert then >= {each.record.seed for each in drawn_first} and len(then - set(range(7))) == 3


def simulated(rng: np.random.Generator, students: int, spread: float, cheat: float, videos: int = 200) -> bool:
    """Does a submission whose every second student, the first one included, is claimed `cheat` higher pass?"""

    def scores() -> list[float]:
        return (np.round(np.clip(rng.normal(0.4, spread, students), 0, 1) * videos) / videos).tolist()

    told = [min(1.0, score + cheat * (i % 2 == 0)) for i, score in enumerate(scores())]
    again, (num, _) = scores(), how_many(students, told, videos, 3)
    lot = rng.choice(students, num, replace=False)
    return judged(told, [(told[i], again[i]) for i in lot], videos, [False] * num).holds


@pytest.mark.parametrize(("students", "spread"), [(3, 0.01), (5, 0.01), (5, 0.02), (10, 0.03), (20, 0.045)])
def test_honest_claims_pass_and_half_of_them_inflated_do_not(students: int, spread: float) -> None:
    """Spreads as those of the bundled records: 1 to 4 points of students of one set."""
    rng = np.random.default_rng(1)
    assert np.mean([simulated(rng, students, spread, 0) for _ in range(500)]) >= 0.95 - 0.01  # 500 draws leave 1 % open
    assert np.mean([simulated(rng, students, spread, 0.3) for _ in range(200)]) <= 0.1
    assert np.mean([simulated(rng, students, 2 * spread, 0.3) for _ in range(200)]) <= 0.1  # no more where nobody can tell


def test_reruns_that_would_not_tell_a_cheat_verify_nothing() -> None:
    far_apart = [0.1, 0.5, 0.9]
    found = judged(far_apart, [(score, score) for score in far_apart], 100, [False] * 3)
    assert not found.outside and found.difference == 0 and not found.tells and not found.holds
    assert judged(far_apart, [(score, score) for score in far_apart], 100, [True] * 3).holds


def test_a_pull_request_that_changed_after_the_push_is_not_merged(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(entry, results)
    run_before(results, entry)
    push = verifying.pushed

    def then_more(*given: Any) -> Any:
        done = push(*given)
        one_of_them = next(path for path in board.repo(BOARD).files("refs/pr/1") if path.startswith("records/"))
        pushed_by_stranger({f"{one_of_them.partition('/seed')[0]}/seed9.0123456789abcdef.json": b"{}"})
        return done

    monkeypatch.setattr(verifying, "pushed", then_more)
    with pytest.raises(ValueError, match="has changed since it was verified; not merged"):
        verified(merge=True)
    assert door.discussed(REPO, 1).status == "open" and list(board.repo(BOARD).files()) == ["README.md"]


def test_a_push_at_the_moment_of_the_merge_is_said(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
    run_before(results, entry)
    board.watch("POST", "/merge", lambda: commit_of_stranger(board))
    with pytest.raises(ValueError, match="was pushed to while it was merged"):
        verified(merge=True)


def commit_of_stranger(board: Hub) -> None:
    repo = board.repo(BOARD)
    repo.add("refs/pr/1", {**repo.at("refs/pr/1").tree, "x": Blob(b"1", lfs=False)}, "more", "", "stranger")


def test_what_main_got_meanwhile_is_looked_at_before_merging(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(entry, results)
    run_before(results, entry)
    run_again = verifying.run_again

    def meanwhile(*given: Any) -> Any:
        on_main(board, entry, "mine", "rival/set")
        return run_again(*given)

    monkeypatch.setattr(verifying, "run_again", meanwhile)
    with pytest.raises(ValueError, match=r"not merged, main has moved since:\n.*is rival's"):
        verified(merge=True)


def test_only_maintainers_say_where_a_set_of_main_lies(board: Hub, entry: Path, results: Path) -> None:
    manifest = read_manifest(entry.resolve())
    cell = f"submissions/tiny-ipc1/mine@{manifest.sha256[:8]}/manifest.json"
    records = {path: file.read_bytes() for path, file in mirror.publishable([results])[0].items()}
    board.put(BOARD, {cell: manifest.model_dump_json().encode(), **records})
    submit_unchecked(entry, results)
    assert proposal(REPO, 1).added == [cell]
    with pytest.raises(ValueError, match="the method 'mine' is the maintainers'"):
        verified()
    told = board.repo(BOARD).files("refs/pr/1")[cell]
    door.pull_request(REPO, {cell: told}, "where it lies", "")
    with pytest.raises(ValueError, match="was uploaded by stranger; the pull request is by owner"):
        verified(2)
    ours = door.Repo("lab/set")
    door.create(ours)
    sha = door.commit(ours, {"data.safetensors": entry / "data.safetensors"}, "ours").sha
    told = manifest.model_copy(update={"payload": sets.payload_of(ours, sha)}).model_dump_json().encode()
    door.commit(REPO, {cell: told}, "ours", revision="refs/pr/2")
    assert "merged as" in verified(2, merge=True)[-1] and board.repo(BOARD).files()[cell] == told
    with pytest.raises(ValueError, match="changed: submissions/"):  # it has one now
        verified(1)


def test_what_is_no_pull_request_is_said(board: Hub) -> None:
    with pytest.raises(LookupError, match="no pull request 7"):
        verified(7)
    door.api().create_discussion(BOARD, "a question", description="?", repo_type="dataset")
    with pytest.raises(LookupError, match="is a discussion"):
        verified(1)


def test_a_refused_submission_is_refused_with_its_reasons(entry: Path, results: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(entry, tmp_path / "tiny-ipc1" / "mine"))
    with (bad / "data.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"is refused:\n.*followed by bytes"):
        verify_submission(bad, by="me", count=1, results=results, echo=print)
