"""A pull request is refused for anything but a submission's honest files; claims must be as good as a maintainer's re-runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders import published
from tests.builders.commands import call
from tests.builders.published import BOARD, RIGHT, as_stranger, claimed, ran, ran_fresh, submitted
from tests.builders.published import ENTRY_SET as SET
from tests.tools.hubserver import OLD_UPLOAD, Blob, Hub
from vddbench import hub as door
from vddbench.evaluation import referee
from vddbench.leaderboard.evidence import load
from vddbench.leaderboard.exchange import mirror, ownership, payload_download, rerun
from vddbench.leaderboard.exchange import verify as verifying
from vddbench.leaderboard.exchange.proposal import proposal
from vddbench.leaderboard.exchange.reproduce import reproduce
from vddbench.leaderboard.exchange.verify import verify_folder, verify_pull_request
from vddbench.leaderboard.rank import rank
from vddbench.records.files import path_of, read_record, write_record
from vddbench.records.fresh_seeds import FIRST, first_fresh_seed
from vddbench.submissions.manifest import read_manifest
from vddbench.system import home

pytestmark = OLD_UPLOAD
own_home = published.own_home
board, entry, results = published.board, published.entry, published.entry_results
trained, entry_trained = published.trained, published.entry_trained
REPO = door.Repo(BOARD)


@pytest.fixture(autouse=True)
def maintained(board: Hub) -> None:
    """`owner` is a maintainer of the results repo."""
    board.put(BOARD, {"MAINTAINERS": b"owner\n"})


def verified(number: int = 1, count: int = 3, *, push: bool = False, merge: bool = False) -> list[str]:
    """What it prints, run by the owner with nothing but a prepared store."""
    lines: list[str] = []
    verify_pull_request(
        number, REPO, count=count, submissions=Path("maintainer/submissions"), into=Path("verifying"),
        then="merge" if merge else "push" if push else "nothing", echo=lines.append,
    )  # fmt: skip
    return lines


def head(board: Hub) -> str:
    return board.repo(BOARD).at("refs/pr/1").sha


def pushed_by_stranger(add: dict[str, bytes], delete: tuple[str, ...] = ()) -> None:
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        door.commit(REPO, add, "more", delete=delete, revision="refs/pr/1")


def run_before(results: Path, entry: Path, right: Sequence[int] = (11, 10, 10)) -> None:
    """The maintainer's machine has drawn seeds and trained so many students before."""
    ran_fresh(entry, next(results.glob("*/*/*/seed?.json")), right)


def test_from_pull_request_to_a_verified_row(board: Hub, entry: Path, results: Path, tmp_path: Path) -> None:
    submitted(entry, results)
    run_before(results, entry, (11, 10, 9))
    lines = verified(push=True)
    assert any("claimed - own: +1.0 points, 95 % interval -" in line for line in lines)
    assert "verified: 3 students trained" in lines[-3] and "pushed 6 files" in lines[-2]
    assert f"to merge it: `vddbench verify 1 --merge`, or check that its newest commit is {head(board)}" in lines[-1]
    assert "has these re-runs already" in verified(push=True)[-2]
    board.put(BOARD, {"README.md": b"# newer\n"})  # main moves on meanwhile
    assert "merged as" in verified(merge=True)[-1]
    assert board.repo(BOARD).files()["README.md"] == b"# newer\n"
    mirror.pull(REPO, tmp_path / "published")
    loaded = load([tmp_path / "published/records"])
    row, _ = rank(loaded.evaluated).to_dict("records")  # of division ipc, then of open
    assert (row["basis"], row["seeds"], row["top1"]) == ("verified", 3, pytest.approx(30 / 96)) and not loaded.refused
    assert {one.owner for one in loaded.evaluated} == {"stranger"}
    with pytest.raises(ValueError, match="is merged"):
        verified()


def test_seeds_are_drawn_once_by_a_commit_that_names_the_payload(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is made after the pull request; who repeats the command gets the same seeds."""
    monkeypatch.setattr(rerun, "evaluate_cell", lambda *_, **told: drawn.append(told["drawn_from"]) or pytest.fail("stop"))
    drawn: list[str] = []
    submitted(entry, results)
    for _ in range(2):
        with pytest.raises(pytest.fail.Exception, match="stop"):
            verified()
    sha256 = read_manifest(entry.resolve()).sha256
    [commit] = [one for sha, one in board.repo(BOARD).commits.items() if one.title.startswith("Draw seeds")]
    assert drawn == [commit.sha] * 2 and commit.title == f"Draw seeds for {sha256}" and commit.author == "owner"
    assert board.repo(BOARD).files()["SEEDS"].startswith(sha256.encode()) and commit.sha == board.repo(BOARD).at("main").sha


def test_what_strangers_put_into_folders_is_never_taken_for_work_of_this_machine(
    entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records with the maintainer's name and half-trained students lie wherever a stranger's archive can put them."""
    theirs = Path(shutil.copytree(entry, tmp_path / "unpacked" / "tiny-ipc1" / "mine"))
    [claim, *_] = sorted(results.glob("*/*/*/seed0.json"))
    record, answers = read_record(claim)
    seed = first_fresh_seed(record.submission_sha256, "d" * 40)
    for root in (theirs, theirs.parents[1], theirs.parents[1] / "reruns/owner", theirs.parents[1] / "verifying/1/own"):
        for fields in ({}, *({"seed": seed + i, "drawn_from": "d" * 40} for i in range(3))):
            write_record(root, record.model_copy(update={"by": "owner", **fields}), answers)
            path_of(root, record.model_copy(update=fields)).with_suffix(".unfinished").write_bytes(b"half-trained")
    monkeypatch.chdir(theirs.parents[1])
    asked: list[tuple[Path, int]] = []

    def trained(scored: Any, student: str, seed: int, results: Path, *_: Any, **__: Any) -> Path:
        asked.append((results, seed))
        pytest.fail("trains")

    monkeypatch.setattr(rerun, "evaluate_cell", trained)
    with pytest.raises(pytest.fail.Exception, match="trains"):
        verify_folder(theirs, by="owner", count=3, results=results, reruns=Path("reruns/owner"), echo=print)
    [(private, drawn)] = asked
    assert private.is_relative_to(tmp_path / "home/own-runs/owner") and not list(private.iterdir()) and drawn != seed


def test_own_work_in_a_folder_that_others_can_write_is_refused(
    entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.private_folder("own-runs").chmod(0o777)
    with pytest.raises(PermissionError, match=r"others can write to it, so what is in it may not come from you: chmod -R go-w"):
        verify_folder(entry, by="owner", count=3, results=results, reruns=tmp_path / "reruns", echo=print)


def test_a_folder_is_verified_with_its_records(
    entry: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran_fresh(entry, next(results.glob("*/*/*/seed?.json")), [9, 10, 11], by="somebody", where="")
    monkeypatch.setattr(referee, "train", None)
    command = ["verify", entry, "--by", "somebody", "--results", results]
    code, shown = call(*command)
    assert code == 0 and "verified: 3 students trained" in shown
    (tmp_path / "stranger/MAINTAINERS").write_text("somebody\n")
    row, _ = rank(load([results, Path("reruns/somebody")]).evaluated).to_dict("records")  # of division ipc, then of open
    assert (row["basis"], row["seeds"]) == ("verified", 3)
    assert call(*command)[0] == 0


@pytest.mark.parametrize(
    ("add", "delete", "words"),
    [
        ({"README.md": b"# mine\n"}, (), "changed: README.md"),
        ({}, ("README.md",), "deleted: README.md"),
        ({"tables/leaderboard.parquet": b"x"}, (), "added: tables/leaderboard.parquet"),
        ({"records/tiny-ipc1/mine@00000000/convnet3d/seed0.json": b"{}"}, (), "known form"),
        ({"submissions/tiny-ipc1/other@00000000/manifest.json": b"{}"}, (), "of 2 submissions"),
        ({"reviews/tiny-ipc1/mine@00000000/convnet3d/seed0.0123456789abcdef.json": b"{}"}, (), "known form"),
        ({"records/tiny-ipc5/mine@00000000/convnet3d/seed0.0123456789abcdef.json": b"{}"}, (), "of 2 submissions"),
        ({"MAINTAINERS": b"owner\nstranger\n"}, (), "changed: MAINTAINERS"),
        ({}, ("MAINTAINERS",), "deleted: MAINTAINERS"),
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
    assert not [path for _, path, _ in board.asked[asked:] if "/resolve/" in path] and not list(
        Path("verifying").rglob("*.json")
    )


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
    monkeypatch.setattr(referee, "train", None)
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
    predictions = board.repo(BOARD).files("refs/pr/1")[path[:-5] + ".safetensors"]
    new = path.rpartition("/")[0] + f"/seed0.{address}"
    pushed_by_stranger({f"{new}.json": data, f"{new}.safetensors": predictions})
    with pytest.raises(ValueError, match=r"says top1 = 0\.99; its predictions give"):
        verified()


def test_predictions_without_their_record_are_refused(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
    [path] = [path for path in board.repo(BOARD).files("refs/pr/1") if "/seed0." in path and path.endswith(".json")]
    pushed_by_stranger({}, (path,))
    with pytest.raises(ValueError, match="has no record beside it"):
        verified()


def test_a_pull_request_cannot_bring_a_list_of_maintainers_to_a_repo_without_one(
    board: Hub, entry: Path, results: Path
) -> None:
    board.put(BOARD, {"MAINTAINERS": None})
    submitted(entry, results)
    pushed_by_stranger({"MAINTAINERS": b"stranger\n"})
    with pytest.raises(ValueError, match="added: MAINTAINERS"):
        verified()


def test_only_maintainers_verify_for_others(board: Hub, entry: Path, results: Path) -> None:
    submitted(entry, results)
    board.put(BOARD, {"MAINTAINERS": b"somebody\n"})
    with pytest.raises(PermissionError, match=r"owner is not in MAINTAINERS .* `vddbench publish` adds"):
        verified(push=True)


def rerun_of(board: Hub, entry: Path, folder: Path, **fields: Any) -> dict[str, bytes]:
    """A re-run of the first record of pull request 1, by its paths."""
    files = board.repo(BOARD).files("refs/pr/1")
    path = next(path for path in sorted(files) if "/seed0." in path and path.endswith(".json"))
    original = folder / "original" / Path(path).relative_to("records")
    original.parent.mkdir(parents=True)
    for file in (name for name in files if name.startswith(path.removesuffix("json"))):
        original.with_name(Path(file).name).write_bytes(files[file])
    record, predictions = read_record(original)
    told = {"date": "2026-02-01T00:00:00Z", "train_seconds": 7.0, "by": "stranger", **fields}
    made = write_record(folder / "own", record.model_copy(update=told), predictions)
    return {path: file.read_bytes() for path, file in mirror.files_of(made, read_record(made)[0]).items()}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"by": "somebody"}, "is a re-run by somebody; the pull request is by stranger"),
        ({"by": "owner"}, "is a re-run by owner; the pull request is by stranger"),
        ({}, "is a re-run by stranger, who uploaded the set itself"),
        ({}, "is a re-run of a record that main does not have"),
        ({"by": None}, "the pull request has two records of this student and seed"),
    ],
)
def test_re_runs_that_nobody_may_bring(
    board: Hub, entry: Path, results: Path, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    submitted(entry, results)
    pushed_by_stranger(rerun_of(board, entry, tmp_path, **fields))
    with pytest.raises(ValueError, match=words):
        verified()


def proposed_by_stranger(add: dict[str, bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        door.pull_request(REPO, add, "re-runs", "")


def test_a_copied_record_is_not_a_re_run(board: Hub, entry: Path, results: Path, tmp_path: Path) -> None:
    submitted(entry, results)
    copied = rerun_of(
        board, entry, tmp_path, train_seconds=read_record(next(results.glob("*/*/*/seed0.json")))[0].train_seconds
    )
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    proposed_by_stranger(copied)
    with pytest.raises(ValueError, match="a copy, not a re-run"):
        verified(2)


def test_claims_that_are_too_high_are_not_verified_and_nothing_is_pushed(
    board: Hub, entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "stranger" / "results"
    claimed(results, entry, [32] * 6)
    submitted(entry, results)
    run_before(results, entry, [10] * 6)
    monkeypatch.setattr(referee, "train", None)
    before = head(board)
    command = ["verify", "1", "--results-repo", BOARD, "--merge"]
    code, shown = call(*command)
    assert code == 1 and " top-1 31.25%" in shown and head(board) == before
    with pytest.raises(ValueError, match=r"not verified: convnet3d: the claim is too high, claimed - own: \+68\.8 points"):
        verified(push=True)
    assert head(board) == before


def test_claims_that_are_lower_than_the_own_result_are_verified(board: Hub, entry: Path, tmp_path: Path) -> None:
    results = tmp_path / "stranger" / "results"
    claimed(results, entry, [4, 5, 4])
    submitted(entry, results)
    run_before(results, entry, [20, 21, 20])
    assert "verified: 3" in verified()[-1]


def test_a_pull_request_that_changed_since_is_not_pushed_to(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(entry, results)
    run_before(results, entry)
    train_fresh = rerun.OwnRuns.train_fresh

    def meanwhile(*given: Any) -> Any:
        pushed_by_stranger({"README.md": b"# mine now\n"})
        return train_fresh(*given)

    monkeypatch.setattr(rerun.OwnRuns, "train_fresh", meanwhile)
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
        ("rival/set", "the method 'mine' belongs to rival"),
        (None, "the method 'mine' belongs to the maintainers"),
        ("x/../y", "belongs to the maintainers"),
        ("Stranger/other", None),
    ],
)
def test_nobody_joins_anothers_method(
    board: Hub, entry: Path, results: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, words: str | None
) -> None:
    submitted(entry, results)
    on_main(board, entry, "mine", url)  # meanwhile
    run_before(results, entry)
    monkeypatch.setattr(referee, "train", None)
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
    ownership.check_name(REPO, main, manifest, "owner")  # a maintainer
    as_stranger(monkeypatch)
    with pytest.raises(ValueError, match=f"'{name}' is the name of a bundled baseline"):
        ownership.check_name(REPO, main, manifest, "stranger")
    ownership.check_name(REPO, main, manifest.model_copy(update={"method": f"{name}_of_mine"}), "stranger")


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
        told = manifest.model_copy(update={"payload": payload_download.payload_of(repo, sha)}).model_dump_json().encode()
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
    with pytest.raises(ValueError, match="belongs to lab, owner; the pull request is by stranger"):
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
    assert ownership.taken(mirror.publishable([other])[0], door.listing(REPO))


def test_a_reproduction_of_a_record_on_main_is_verified(board: Hub, entry: Path, results: Path, tmp_path: Path) -> None:
    """The set was uploaded by `owner`; the stranger's re-run is compared together with two of main's records."""
    submitted(entry, results, who="owner")
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    mirror.pull(REPO, tmp_path / "published")
    path = next((tmp_path / "published/records").glob("*/*/*/seed0.*.json"))
    own = tmp_path / "reruns" / "stranger"
    ran(entry, path, 11, by="stranger")
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch)
        reproduce(path, by="stranger", reruns=own, submissions=entry.parents[1], push_to=REPO, echo=print)
    run_before(results, entry, (10, 11, 11))
    assert "verified: 3 students trained" in verified(2, push=True)[-3]


def test_the_author_of_a_set_cannot_reproduce_it(board: Hub, entry: Path, results: Path, tmp_path: Path) -> None:
    submitted(entry, results)
    own = rerun_of(board, entry, tmp_path)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    proposed_by_stranger(own)
    with pytest.raises(ValueError, match="who uploaded the set itself; only others can reproduce it"):
        verified(2)


def test_dates_in_the_future_are_refused(board: Hub, entry: Path, tmp_path: Path) -> None:
    claimed(tmp_path / "results", entry, RIGHT, date="2999-01-01T00:00:00Z")
    submitted(entry, tmp_path / "results")
    with pytest.raises(ValueError, match="is dated 2999-01-01T00:00:00Z, which is in the future"):
        verified()


def test_two_students_with_other_answers_prove_nothing(
    board: Hub, entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    claimed(results, entry, [4, 32])
    submitted(entry, results)
    run_before(results, entry, [5, 4])
    monkeypatch.setattr(referee, "train", None)
    with pytest.raises(
        ValueError, match=r"no interval: it needs 3 students and 2 groups of test videos; use --seeds 3 or more"
    ):
        verified(count=2)


def test_claims_that_spread_do_not_widen_the_interval(board: Hub, entry: Path, tmp_path: Path) -> None:
    """12.5 % is true, 100 % is not; by their own spread the claims could be anything."""
    results = tmp_path / "results"
    claimed(results, entry, [4, 5, 4, 32, 31])
    submitted(entry, results)
    run_before(results, entry, [4, 5, 5, 4, 3])
    with pytest.raises(ValueError, match=r"the claim is too high, claimed - own: \+34\.4 points"):
        verified(count=5)


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
    assert door.discussed(REPO, 1).status == "open" and list(board.repo(BOARD).files()) == ["MAINTAINERS", "README.md"]


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
    train_fresh = rerun.OwnRuns.train_fresh

    def meanwhile(*given: Any) -> Any:
        on_main(board, entry, "mine", "rival/set")
        return train_fresh(*given)

    monkeypatch.setattr(rerun.OwnRuns, "train_fresh", meanwhile)
    with pytest.raises(ValueError, match=r"not merged, main has moved since:\n.*belongs to rival"):
        verified(merge=True)


def test_only_maintainers_say_where_a_set_of_main_lies(board: Hub, entry: Path, results: Path) -> None:
    manifest = read_manifest(entry.resolve())
    cell = f"submissions/tiny-ipc1/mine@{manifest.sha256[:8]}/manifest.json"
    records = {path: file.read_bytes() for path, file in mirror.publishable([results])[0].items()}
    board.put(BOARD, {cell: manifest.model_dump_json().encode(), **records})
    submit_unchecked(entry, results)
    assert proposal(REPO, 1).added == [cell]
    with pytest.raises(ValueError, match="the method 'mine' belongs to the maintainers"):
        verified()
    told = board.repo(BOARD).files("refs/pr/1")[cell]
    door.pull_request(REPO, {cell: told}, "where it lies", "")
    with pytest.raises(ValueError, match="belongs to stranger; the pull request is by owner"):
        verified(2)
    ours = door.Repo("lab/set")
    door.create(ours)
    sha = door.commit(ours, {"data.safetensors": entry / "data.safetensors"}, "ours").sha
    told = manifest.model_copy(update={"payload": payload_download.payload_of(ours, sha)}).model_dump_json().encode()
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
        verify_folder(bad, by="me", count=3, results=results, reruns=tmp_path / "own", echo=print)


@pytest.mark.parametrize("name", ["rand0m", "ran_dom", "d_m", "fu11", "random_s1", "dm_fa5t"])
def test_a_name_that_looks_like_a_baselines_is_refused(board: Hub, entry: Path, name: str) -> None:
    manifest = read_manifest(entry.resolve()).model_copy(update={"method": name})
    [problem] = ownership.name_problems(REPO, door.listing(REPO), manifest, "stranger")
    assert f"'{name}' looks like the bundled baseline" in problem


def test_a_name_that_looks_like_anothers_is_refused(board: Hub, entry: Path) -> None:
    on_main(board, entry, "m1ne", "rival/set")
    manifest = read_manifest(entry.resolve())
    [problem] = ownership.name_problems(REPO, door.listing(REPO), manifest, "stranger")
    assert problem.startswith("the method 'm1ne' belongs to rival (tiny-ipc1/m1ne-s3@00000000), not to stranger; 'mine' looks")
    assert not ownership.name_problems(REPO, door.listing(REPO), manifest, "rival")
    mining = manifest.model_copy(update={"method": "mining"})
    assert not ownership.name_problems(REPO, door.listing(REPO), mining, "stranger")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"drawn_from": "c" * 40}, "names the commit of a draw; only students that `vddbench verify` trains"),
        ({"seed": FIRST}, "has the seed 1,048,576; allowed for claims: 0, 1, 2, ..., below 1,048,576"),
    ],
)
def test_claims_cannot_look_verified(board: Hub, entry: Path, tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    claimed(tmp_path / "results", entry, [10], **fields)
    submitted(entry, tmp_path / "results")
    with pytest.raises(ValueError, match=words):
        verified()


def test_a_payload_is_copied_at_the_merge_and_verified_again_from_the_copy(
    board: Hub, entry: Path, results: Path, tmp_path: Path
) -> None:
    """Its author deletes the set after the merge."""
    submitted(entry, results)
    run_before(results, entry)
    lines = verified(merge=True)
    sha256 = read_manifest(entry.resolve()).sha256
    assert lines[-2].endswith(f"/datasets/{BOARD}-payloads as {sha256}.safetensors")
    assert hashlib.sha256(board.repo(f"{BOARD}-payloads").files()[f"{sha256}.safetensors"]).hexdigest() == sha256
    del board.repos["datasets", SET]
    pulled = mirror.pull(REPO, tmp_path / "published")
    [manifest] = [path for path in pulled.paths if path.endswith("manifest.json")]
    copies = payload_download.copies_of(REPO)
    assert payload_download.fetch_all(tmp_path / "published", [manifest]) == 0
    assert payload_download.fetch_all(tmp_path / "published", [manifest], copies) == 1
    board.put(copies.id, {f"{sha256}.safetensors": b"damaged"})
    shutil.rmtree(tmp_path / "published" / payload_download.SETS)
    assert payload_download.fetch_all(tmp_path / "published", [manifest], copies) == 0
