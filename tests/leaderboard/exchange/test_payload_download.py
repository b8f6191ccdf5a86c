"""A set is downloaded from a dataset repo of this Hub, at a commit, within its budget, with the bytes that were evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import published
from tests.tools.hubserver import OLD_UPLOAD, Hub
from vddbench import hub as door
from vddbench.data.store import Store
from vddbench.leaderboard.exchange import payload_download
from vddbench.spec import Manifest, Payload, Task

pytestmark = OLD_UPLOAD
board, entry = published.board, published.entry


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
        payload_download.fetch(pinned_manifest(entry, url, "a" * 40), Path("sets"), tiny.spec)
    assert len(board.asked) == asked and not Path("sets").exists()


@pytest.mark.parametrize("revision", ["main", "", "a" * 39, "refs/pr/1", "A" * 40, "a" * 40 + "\n"])
def test_a_revision_that_moves_is_refused(tiny: Store, entry: Path, revision: str) -> None:
    with pytest.raises(ValueError, match=r"payload\.revision"):
        payload_download.pinned(pinned_manifest(entry, "https://huggingface.co/datasets/a/b", revision))


def test_a_manifest_that_points_to_a_file_is_no_manifest(entry: Path, tmp_path: Path) -> None:
    told = json.loads((entry / "manifest.json").read_bytes())
    place = tmp_path / f"tiny-ipc1/mine@{told['sha256'][:8]}/manifest.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({**told, "payload": {"url": "file:///etc/passwd", "revision": "a" * 40}}))
    with pytest.raises(ValueError, match=r"payload\.url"):
        payload_download.manifest_at(place)


def uploaded(board: Hub, data: bytes) -> str:
    door.create(door.Repo("owner/set"))
    board.put("owner/set", {"data.safetensors": data})
    return board.repo("owner/set").at("main").sha


def test_a_set_larger_than_its_budget_is_never_downloaded(board: Hub, tiny: Store, entry: Path) -> None:
    most = payload_download.most_bytes(Task.parse("tiny-ipc1"), tiny.spec)
    sha = uploaded(board, bytes(most + 1))
    with pytest.raises(ValueError, match=rf"has {most + 1:,} bytes; allowed: {most:,}"):
        payload_download.fetch(
            pinned_manifest(entry, "https://huggingface.co/datasets/owner/set", sha), Path("sets"), tiny.spec
        )
    assert not [path for method, path, _ in board.asked if "/resolve/" in path] and not Path("sets").exists()


@pytest.mark.parametrize("data", [b"other bytes", b"../../../../etc/passwd"])  # a link in git is a file that says where to
def test_other_bytes_are_no_set(board: Hub, tiny: Store, entry: Path, data: bytes) -> None:
    sha = uploaded(board, data)
    with pytest.raises(ValueError, match="not the set that was evaluated"):
        payload_download.fetch(
            pinned_manifest(entry, "https://huggingface.co/datasets/owner/set", sha), Path("sets"), tiny.spec
        )
    assert not Path("sets").exists()


def test_a_link_where_the_set_is_to_lie_is_replaced_not_followed(board: Hub, tiny: Store, entry: Path, tmp_path: Path) -> None:
    sha = uploaded(board, (entry / "data.safetensors").read_bytes())
    manifest = pinned_manifest(entry, "https://huggingface.co/datasets/owner/set", sha)
    (tmp_path / "precious").write_bytes(b"mine")
    folder = tmp_path / "sets" / manifest.sha256[:8] / "tiny-ipc1" / "mine"
    folder.mkdir(parents=True)
    for name in ("data.safetensors", "manifest.json"):
        (folder / name).symlink_to(tmp_path / "precious")
    assert payload_download.fetch(manifest, tmp_path / "sets", tiny.spec) == folder
    assert (tmp_path / "precious").read_bytes() == b"mine" and not (folder / "data.safetensors").is_symlink()
