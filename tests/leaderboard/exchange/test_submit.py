"""A submission goes to the Hub once, whatever happens on the way, and nothing in it becomes markup."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import datasets
import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard

from tests.builders import published
from tests.builders.hub import Peer
from tests.builders.published import BOARD, claimed, submitted
from tests.builders.published import ENTRY_SET as SET
from tests.builders.records import a_record
from tests.builders.submissions import edit_manifest
from tests.tools.hubserver import OLD_UPLOAD, Hub, environment
from vddbench import hub as door
from vddbench.data.store import Store
from vddbench.leaderboard.exchange import card, payload_download, upload_plan
from vddbench.leaderboard.exchange import submit as submitting
from vddbench.leaderboard.exchange.proposal import copy, proposal
from vddbench.leaderboard.exchange.submit import submit
from vddbench.records.files import read_record
from vddbench.records.fresh_seeds import FIRST
from vddbench.spec import Manifest, Payload
from vddbench.submissions import submission

pytestmark = OLD_UPLOAD
board, results, trained = published.board, published.entry_trained, published.trained
tiny_random = published.entry  # by a name that a stranger may take


def pull_requests(board: Hub) -> list[str]:
    return [each["title"] for each in board.repo(BOARD).discussions if each["isPullRequest"]]


def test_one_dataset_and_one_pull_request_with_everything(board: Hub, tiny_random: Path, results: Path) -> None:
    [url] = submitted(tiny_random, results)
    assert url == f"{board.url}/datasets/{BOARD}/discussions/1"
    the_set = board.repo(SET).files()
    assert the_set["data.safetensors"] == (tiny_random / "data.safetensors").read_bytes()
    assert the_set["manifest.json"] == (tiny_random / "manifest.json").read_bytes()
    rows = list(csv.DictReader(io.StringIO(the_set["metadata.csv"].decode())))
    assert len(rows) == 8 and all(row["file_name"] in the_set for row in rows)
    proposed = board.repo(BOARD).files("refs/pr/1")
    assert board.repo(BOARD).files() == {"README.md": b"# the board\n"}
    manifest = json.loads((tiny_random / "manifest.json").read_bytes())
    cell = f"tiny-ipc1/mine@{manifest['sha256'][:8]}"
    told = Manifest.model_validate_json(proposed[f"submissions/{cell}/manifest.json"])
    assert told.payload is not None and told.payload.url == f"https://huggingface.co/datasets/{SET}"
    assert told.payload.revision == board.repo(SET).at("main").sha
    assert sum(path.startswith(f"records/{cell}/convnet3d/seed") for path in proposed) == 2 * published.SEEDS
    assert len(proposed) == 2 + 2 * published.SEEDS
    [one] = board.repo(BOARD).discussions
    assert one["author"]["name"] == "stranger" and "accepted" in one["events"][0]["data"]["latest"]["raw"]
    assert str(tiny_random.parent.parent) not in one["events"][0]["data"]["latest"]["raw"]


def test_published_records_verify_where_they_stand(board: Hub, tiny_random: Path, results: Path, tmp_path: Path) -> None:
    submitted(tiny_random, results)
    for path, data in board.repo(BOARD).files("refs/pr/1").items():
        (tmp_path / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / path).write_bytes(data)
    found = sorted((tmp_path / "copy/records").glob("*/*/*/*.json"))
    assert [read_record(path)[0].seed for path in found] == list(range(published.SEEDS))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # `datasets` leaves metadata.csv open
def test_the_published_set_plays_and_loads_as_a_dataset_with_class_names(
    board: Hub, tiny: Store, tiny_random: Path, results: Path, tmp_path: Path
) -> None:
    board.put(BOARD, {"README.md": b"The board: [lab/board](https://huggingface.co/spaces/lab/board).\n"})
    submitted(tiny_random, results)
    root = tmp_path / "the set"
    for path, data in board.repo(SET).files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    loaded = datasets.load_dataset(str(root), split="train", cache_dir=str(tmp_path / "cache"))
    decoded = submission.decode(submission.read(tiny_random, tiny.spec), tiny.spec)
    gc.collect()
    assert loaded.features["label"].names == list(tiny.spec.class_names)
    assert loaded["label"][:] == decoded.labels.tolist() and loaded["clip"][:] == list(range(len(decoded)))
    assert loaded.features["video"] == datasets.Video()
    first = loaded.cast_column("video", datasets.Video(decode=False))[0]["video"]["path"]
    with av.open(first) as video:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    assert frames.shape == tiny.spec.clip_shape
    assert np.abs(frames.astype(int) - decoded.clips[0].numpy().astype(int)).mean() < 20  # 4:2:0 and x264 at crf 23
    text = DatasetCard((root / "README.md").read_text())
    text.validate()
    assert text.data.license == "unknown" and text.data.size_categories == ["n<1K"]
    score = np.mean([read_record(path)[0].top1 for path in results.glob("*/*/*/seed?.json")])
    assert f"| `convnet3d` | {100 * score:.1f} %" in text.text and "/spaces/lab/board#tiny-ipc1>" in text.text
    assert "@misc{vddbench," in text.text and "| clips | uint8 | " in text.text


def test_again_changes_nothing(board: Hub, tiny_random: Path, results: Path) -> None:
    submitted(tiny_random, results)
    before = board.repo(SET).at("main").sha, board.repo(BOARD).at("refs/pr/1").sha
    submitted(tiny_random, results)
    assert (board.repo(SET).at("main").sha, board.repo(BOARD).at("refs/pr/1").sha) == before
    assert pull_requests(board) == [
        f"Add tiny-ipc1/mine@{json.loads((tiny_random / 'manifest.json').read_bytes())['sha256'][:8]}"
    ]


@pytest.mark.parametrize(
    ("method", "pattern", "fault"),
    [
        ("POST", "/repos/create", "lost"),
        ("POST", f"{SET}/commit", "lost"),
        ("POST", f"{BOARD}/commit", "lost"),
        ("PUT", "/lfs/", "lost"),
        ("POST", f"{SET}/commit", "429"),
        ("POST", f"{BOARD}/commit", "429"),
        ("POST", f"{BOARD}/commit", "409"),
    ],
)
def test_faults_on_the_way_double_nothing(
    board: Hub, tiny_random: Path, results: Path, method: str, pattern: str, fault: str
) -> None:
    if fault == "lost":
        board.fail(method, pattern, when="after")
    else:
        board.fail(method, pattern, status=int(fault), headers={"Retry-After": "0"}, times=2)
    submitted(tiny_random, results)
    submitted(tiny_random, results)
    assert len(pull_requests(board)) == len(board.repo(BOARD).discussions) == 1
    assert len(board.commits(SET)) == 1 and len(board.repo(BOARD).history("refs/pr/1")) == 3
    assert len(board.repo(BOARD).files("refs/pr/1")) == 2 + 2 * published.SEEDS


@pytest.mark.long
@pytest.mark.parametrize(("method", "pattern"), [("POST", f"{SET}/commit"), ("POST", f"{BOARD}/commit")])
def test_killed_after_any_step_the_same_command_ends_with_one_of_each(
    board: Hub, tiny_random: Path, results: Path, tmp_path: Path, method: str, pattern: str
) -> None:
    code = "from vddbench.commands.main import main; main()"
    command = [sys.executable, "-c", code, "submit", str(tiny_random), "--results-repo", BOARD, "--results", str(results)]
    told = {**os.environ, **environment(board.url, tmp_path / "hf2", "hf_stranger")}
    process = subprocess.Popen(command, env=told, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    board.fail(method, pattern, when="after", then=lambda: process.send_signal(signal.SIGKILL))
    assert process.wait(timeout=120) == -signal.SIGKILL
    submitted(tiny_random, results)
    assert len(board.repo(BOARD).discussions) == 1 and len(board.commits(SET)) == 1
    assert len(board.repo(BOARD).files("refs/pr/1")) == 2 + 2 * published.SEEDS


def test_a_new_seed_joins_the_open_pull_request_and_later_a_new_one(board: Hub, tiny_random: Path, results: Path) -> None:
    aside = results.parent / "aside"
    moved = [path for path in results.glob("*/*/*/seed1.*")]
    for path in moved:
        (aside / path.relative_to(results)).parent.mkdir(parents=True, exist_ok=True)
        path.rename(aside / path.relative_to(results))
    submitted(tiny_random, results)
    before = len(board.repo(BOARD).files("refs/pr/1"))
    for path in moved:
        (aside / path.relative_to(results)).rename(path)
    submitted(tiny_random, results)
    assert len(board.repo(BOARD).discussions) == 1 and len(board.repo(BOARD).files("refs/pr/1")) == before + 2


def test_after_merging_there_is_nothing_to_do(board: Hub, tiny_random: Path, results: Path) -> None:
    submitted(tiny_random, results)
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    asked = len([each for each in board.asked if "/commit/" in each[1]])
    assert submitted(tiny_random, results) == []
    assert len([each for each in board.asked if "/commit/" in each[1]]) == asked and len(pull_requests(board)) == 1


def test_a_manifest_published_without_its_set_gets_it_and_nothing_else(
    board: Hub, tiny_random: Path, results: Path, tmp_path: Path
) -> None:
    """As `publish` of the bundled baselines leaves it."""
    from vddbench.leaderboard.publish import local_files

    theirs = local_files.gather_files([results], [tiny_random.parents[1]])
    files = {path: file.read_bytes() for path, file in theirs.files.items()}
    [path] = [path for path in files if path.endswith("manifest.json")]
    stated = {**json.loads(files[path]), "authors": ["as it was published"]}
    board.put(BOARD, {**files, path: json.dumps(stated).encode(), "MAINTAINERS": b"owner\n"})
    [url] = submitted(tiny_random, results, who="owner")
    proposed = board.repo(BOARD).files("refs/pr/1")
    assert {name for name, data in proposed.items() if data != board.repo(BOARD).files().get(name)} == {path}
    told = Manifest.model_validate_json(proposed[path])
    assert told.payload is not None and told.payload.revision == board.repo(SET.replace("stranger", "owner")).at("main").sha
    assert told.model_copy(update={"payload": None}) == Manifest.model_validate(stated)
    assert submitted(tiny_random, results, who="owner") == [url] and proposal(door.Repo(BOARD), 1).added == [path]
    door.api().merge_pull_request(BOARD, 1, repo_type="dataset")
    assert submitted(tiny_random, results, who="owner") == []
    assert payload_download.fetch(told, tmp_path / "sets", submission.spec_of("tiny")).is_dir()


@pytest.mark.parametrize(("text", "words"), [(b"{", "is not valid"), (None, "their hashes begin alike")])
def test_a_manifest_on_main_that_is_not_of_this_set_is_told(
    board: Hub, tiny_random: Path, results: Path, text: bytes | None, words: str
) -> None:
    manifest = json.loads((tiny_random / "manifest.json").read_bytes())
    other = json.dumps({**manifest, "sha256": manifest["sha256"][:8] + "0" * 56}).encode()
    board.put(BOARD, {f"submissions/tiny-ipc1/mine@{manifest['sha256'][:8]}/manifest.json": text or other})
    with pytest.raises(ValueError, match=words):
        submitted(tiny_random, results)
    assert not pull_requests(board) and ("datasets", SET) not in board.repos


def test_an_authors_own_card_is_left_alone(board: Hub, tiny_random: Path, results: Path) -> None:
    submitted(tiny_random, results)
    board.put(SET, {"README.md": b"my own words"})
    submitted(tiny_random, results)
    assert board.repo(SET).files()["README.md"] == b"my own words" and len(pull_requests(board)) == 1


def test_a_dry_run_prints_every_path_and_sends_nothing(board: Hub, tiny_random: Path, results: Path) -> None:
    told = "\n".join(submitted(tiny_random, results, dry_run=True))
    assert not [each for each in board.asked if each[0] in {"PUT", "POST"} and "/repos/" not in each[1]][1:]
    assert ("datasets", SET) not in board.repos and not pull_requests(board)
    submitted(tiny_random, results)
    for path in [*board.repo(SET).files(), *board.repo(BOARD).files("refs/pr/1")]:
        assert path == "README.md" or f"  {path}" in told
    assert f"public on {board.url}/datasets/{SET}" in told and "# `mine` on" in told and '"payload"' in told


def test_a_refused_submission_is_refused_here_with_its_reasons(
    board: Hub, tiny_random: Path, results: Path, tmp_path: Path
) -> None:
    bad = Path(shutil.copytree(tiny_random, tmp_path / "tiny-ipc1" / "mine"))
    with (bad / "data.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"would be refused:\n.*followed by bytes"):
        submitted(bad, results)
    assert ("datasets", SET) not in board.repos


def test_without_records_there_is_nothing_to_propose(board: Hub, tiny_random: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vddbench evaluate"):
        submitted(tiny_random, tmp_path / "none")


def test_records_that_lie_stay_at_home(
    board: Hub, tiny_random: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [one] = results.glob("*/*/*/seed0.json")
    one.write_text(one.read_text().replace('"num_test": 32', '"num_test": 33'))
    submitted(tiny_random, results)
    assert not [path for path in board.repo(BOARD).files("refs/pr/1") if "/seed0." in path]
    assert "num_test = 33" in capsys.readouterr().err


def test_a_results_repo_that_is_not_there_is_one_sentence(board: Hub, tiny_random: Path, results: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no dataset repo lab/nosuch"):
        submit(tiny_random, "lab/nosuch", repo=None, results=[results], licence="unknown", dry_run=False, echo=print)


def test_text_of_a_manifest_is_inert_in_the_card(tiny: Store, tiny_random: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_random, tmp_path / "tiny-ipc1" / "mine"))
    evil = "<script>alert(1)</script> [x](javascript:alert(1)) | `a`\n# big\n---\nlicense: mit\x1b[31m https://evil.example"
    edit_manifest(folder, authors=[evil[:200]], external_data=evil, paper="https://a.example/>)<script>", config={"lr": evil})
    found = submission.read(folder, tiny.spec)
    context = card.Context(door.Repo("a/b"), "cc-by-4.0", door.Repo(BOARD), "", [a_record(method="mine")])
    text = card.card(found, tiny.spec, context, 8, 8).decode()
    _, head, rest = text.split("---\n", 2)
    body, _, cited = rest.partition("\n## Cite it\n\n")
    assert yaml.safe_load(head)["license"] == "cc-by-4.0" and yaml.safe_load(head)["configs"][0]["config_name"] == "clips"
    assert "<script" not in body and "\x1b" not in body and "[x](" not in body and "https://evil" not in body
    assert "\n# big" not in body and "\n---\n" not in body
    assert cited.startswith("```text\n") and cited.endswith("\n```\n") and cited.count("```") == 2 and "\x1b" not in cited
    assert "<https://a.example/%3E%29%3Cscript%3E>" in body


def test_an_author_hears_before_the_upload_that_picked_seeds_get_no_rank_and_that_the_payload_is_copied(
    board: Hub, tiny_random: Path, tmp_path: Path
) -> None:
    for seed in (3, 4, 6):
        claimed(tmp_path / "picked", tiny_random, [10], first_seed=seed)
    made = upload_plan.plan(upload_plan.checked(tiny_random), BOARD, None, [tmp_path / "picked"], "mit")
    assert "the seeds 3, 4, 6 are not 0..n-1, so the entry has no rank" in submitting.advice(made, "mit")[0]
    assert any(
        f"copies data.safetensors to {board.url}/datasets/{BOARD}-payloads" in line for line in submitting.announced(made)
    )


def test_an_author_who_adds_seeds_to_those_on_main_hears_no_complaint_about_them(
    board: Hub, tiny_random: Path, tmp_path: Path
) -> None:
    claimed(tmp_path / "first", tiny_random, [10, 10])
    accepted = upload_plan.checked(tiny_random)
    first = upload_plan.plan(accepted, BOARD, None, [tmp_path / "first"], "mit")
    assert "fewer than 3 students" in " ".join(submitting.advice(first, "mit"))
    board.put(BOARD, {path: file.read_bytes() for path, file in first.records.items() if isinstance(file, Path)})
    verifying = next(iter(first.records)).replace("/seed0.", f"/seed{FIRST + 7}.")
    published_set = Payload(url=f"https://huggingface.co/datasets/{SET}", revision="c" * 40)
    board.put(BOARD, {verifying: b"a verifying student's", first.manifest_path: first.published(published_set)})
    claimed(tmp_path / "more", tiny_random, [10], first_seed=2)
    more = upload_plan.plan(accepted, BOARD, None, [tmp_path / "more"], "mit")
    assert len(more.records) == 2 and more.seeds == {"convnet3d": [0, 1, 2]}
    assert not [line for line in submitting.advice(more, "mit") if "seeds" in line]


def test_a_licence_is_an_identifier(board: Hub, tiny_random: Path, results: Path) -> None:
    with pytest.raises(LookupError, match="licence 'mit"):
        submit(tiny_random, BOARD, repo=None, results=[results], licence="mit\nx: y", dry_run=True, echo=print)


def test_a_fence_holds_whatever_is_in_it() -> None:
    assert card.fenced("a\n```\nb").startswith("````text\n") and card.fenced("a\n```\nb").endswith("\n````")


def test_another_server_agrees(
    peer: Peer, tiny: Store, tiny_random: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a stranger's submit to what a maintainer sees of it and fetches."""
    repo = door.Repo(f"{peer.user}/vddbench-results")
    door.create(repo)
    door.commit(repo, {"README.md": b"# the board\n"}, "start")
    told: list[str] = []
    for _ in range(2):
        monkeypatch.setenv("HF_TOKEN", peer.other if peer.user == "owner" else peer.token)  # there only owners may propose
        submit(tiny_random, repo.id, repo=None, results=[results], licence="mit", dry_run=False, echo=told.append)
        monkeypatch.setenv("HF_TOKEN", peer.token)
        door.commit(repo, {"README.md": b"# newer\n"}, "main moves on")
    assert told[0] == told[1] and told[0].endswith("/discussions/1")
    found = proposal(repo, 1)
    assert len(found.added) == 1 + 2 * published.SEEDS and found.head.sha == door.listing(repo, "refs/pr/1").sha
    folder = copy(found, tmp_path / "verifying")
    path = payload_download.fetch(payload_download.manifest_at(folder / found.manifest), folder / "sets", tiny.spec)
    assert submission.read(path, tiny.spec).payload_bytes == submission.read(tiny_random, tiny.spec).payload_bytes
