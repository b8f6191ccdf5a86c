"""A copy of a results repo has its records, and nothing that a stranger may have put beside them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.builders import published
from tests.builders.published import BOARD
from tests.builders.records import GOOD, a_record
from tests.builders.submissions import all_files
from tests.tools.hubserver import OLD_UPLOAD, Blob, Hub
from vddbench import hub as door
from vddbench.leaderboard.evidence import load
from vddbench.leaderboard.exchange import mirror, payload_download
from vddbench.records.files import write_record

pytestmark = OLD_UPLOAD
board = published.board
REPO = door.Repo(BOARD)


def put_records(board: Hub, root: Path, **more: object) -> dict[str, Path]:
    write_record(root, a_record(**more), GOOD)
    found, refused = mirror.publishable([root])
    assert not refused
    board.put(BOARD, {path: file.read_bytes() for path, file in found.items()})
    return found


def test_a_copy_is_a_folder_of_results(board: Hub, tmp_path: Path) -> None:
    paths = put_records(board, tmp_path / "results")
    found = mirror.pull(REPO, tmp_path / "published")
    assert (sorted(found.paths), found.fetched) == (sorted(paths), 2)
    assert [one.record.top1 for one in load([tmp_path / "published/records"]).evaluated] == [0.5]


def test_again_only_what_is_new_is_fetched(board: Hub, tmp_path: Path) -> None:
    put_records(board, tmp_path / "results")
    mirror.pull(REPO, tmp_path / "published")
    put_records(board, tmp_path / "results", seed=1)
    asked = len(board.asked)
    assert mirror.pull(REPO, tmp_path / "published").fetched == 2
    assert len({path for _, path, _ in board.asked[asked:] if "/resolve/" in path}) == 2


def test_only_the_task_that_was_asked_for(board: Hub, tmp_path: Path) -> None:
    put_records(board, tmp_path / "results")
    put_records(board, tmp_path / "results", task="toy-ipc5")
    assert len(mirror.pull(REPO, tmp_path / "published", ["toy-ipc5"]).paths) == 2
    assert all("toy-ipc5" in path for path in all_files(tmp_path / "published"))


def test_a_manifest_that_changed_is_fetched_again(board: Hub, tmp_path: Path) -> None:
    path = "submissions/toy-ipc1/mine@abababab/manifest.json"
    for text in (b'{"a": 1}', b'{"a": 2}'):
        board.put(BOARD, {path: text})
        mirror.pull(REPO, tmp_path / "published")
        assert (tmp_path / "published" / path).read_bytes() == text


@pytest.mark.parametrize(
    "path",
    [
        "records/../../x.json",
        "/etc/passwd",
        "records/toy-ipc1/mine@abababab/convnet3d/seed0.json",
        "records/toy-ipc1/mine@abababab/convnet3d/seed0.0123456789abcdef.pkl",
        "records/toy-ipc1/../convnet3d/seed0.0123456789abcdef.json",
        "records/toy-ipc1/mine@abababab/convnet3d/seed0.0123456789abcdef.json/x",
        "records/toy-ipc1/mine@abababab/convnet3d/seed0.0123456789abcdef.json\n",
        "submissions/toy-ipc1/mine@abababab/data.safetensors",
        "reviews/toy-ipc1/mine@abababab/convnet3d/seed0.0123456789abcdef.safetensors",
        "README.md",
        "tables/leaderboard.parquet",
    ],
)
def test_only_paths_of_the_known_form_are_fetched(board: Hub, tmp_path: Path, path: str) -> None:
    repo = board.repo(BOARD)
    repo.add("refs/heads/main", {**repo.at("main").tree, path: Blob(b"x", lfs=False)}, "by git", "", "stranger")
    assert mirror.pull(REPO, tmp_path / "published").paths == []
    assert not (tmp_path / "published").exists()


def test_what_is_too_large_is_named_and_left_out(board: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board.put(BOARD, {"submissions/toy-ipc1/mine@abababab/manifest.json": bytes(1_000_001)})
    assert mirror.pull(REPO, tmp_path / "published").paths == []
    assert "has 1,000,001 bytes; allowed: 1,000,000" in capsys.readouterr().err


def test_interrupted_half_way_no_record_stands_without_its_predictions(board: Hub, tmp_path: Path) -> None:
    for seed in range(5):
        put_records(board, tmp_path / "results", seed=seed)
    board.fail("GET", "/resolve/.*json", status=403, times=1)
    with pytest.raises(PermissionError):
        mirror.pull(REPO, tmp_path / "published")
    assert not load([tmp_path / "published/records"]).refused
    mirror.pull(REPO, tmp_path / "published")
    assert len(load([tmp_path / "published/records"]).evaluated) == 5


def test_records_that_lie_are_not_publishable(tmp_path: Path) -> None:
    path = write_record(tmp_path, a_record(), GOOD)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "top1": 0.9}))
    found, refused = mirror.publishable([tmp_path])
    assert found == {} and "says top1 = 0.9" in refused[0]


def test_two_at_once_end_with_the_same_copy(board: Hub, tmp_path: Path) -> None:
    put_records(board, tmp_path / "results")
    pulls = [threading.Thread(target=mirror.pull, args=(REPO, tmp_path / "published")) for _ in range(2)]
    for each in pulls:
        each.start()
    for each in pulls:
        each.join()
    assert len(load([tmp_path / "published/records"]).evaluated) == 1


def test_sets_that_cannot_be_had_are_named_and_the_others_fetched(
    board: Hub, tiny_random: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads((tiny_random / "manifest.json").read_bytes())
    door.create(door.Repo("owner/set"))
    board.put("owner/set", {"data.safetensors": (tiny_random / "data.safetensors").read_bytes()})
    sha = board.repo("owner/set").at("main").sha
    payloads = {
        "random": {"url": "https://huggingface.co/datasets/owner/set", "revision": sha},
        "gone": {"url": "https://huggingface.co/datasets/owner/gone", "revision": sha},
        "evil": {"url": "https://evil.example/datasets/owner/set", "revision": sha},
        "none": None,
    }
    cells = {name: f"submissions/tiny-ipc1/{name}@{told['sha256'][:8]}/manifest.json" for name in payloads}
    for name, payload in payloads.items():
        board.put(BOARD, {cells[name]: json.dumps({**told, "method": name, "payload": payload}).encode()})
    found = mirror.pull(REPO, tmp_path / "published", ["tiny-ipc1"])
    assert payload_download.fetch_all(tmp_path / "published", found.paths) == 1
    said = capsys.readouterr().err
    assert "no dataset repo owner/gone" in said and "nothing else is fetched" in said and "'payload' is missing" in said
    folder = tmp_path / "published/sets" / told["sha256"][:8] / "tiny-ipc1"
    assert all_files(folder) == ["random/data.safetensors", "random/manifest.json"]
