"""The test server and the real client understand each other; beside it, another server agrees."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import HFValidationError

from tests.builders.hub import Peer
from tests.tools import hubserver
from tests.tools.hubserver import STRANGER_TOKEN, Hub, environment

hub, pytestmark = hubserver.hub, hubserver.OLD_UPLOAD
CARD = "---\nconfigs:\n- config_name: board\n  default: true\n  data_files: tables/board.parquet\n---\n# A board\n"


def add(path: str, data: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, data)


def made(peer: Peer, name: str = "results", *, private: bool = False) -> str:
    repo = f"{peer.user}/{name}"
    peer.api().create_repo(repo, repo_type="dataset", private=private)
    return repo


def paths(api: HfApi, repo: str, revision: str = "main") -> dict[str, RepoFile]:
    tree = api.list_repo_tree(repo, repo_type="dataset", recursive=True, revision=revision)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile) and entry.path != ".gitattributes"}


def test_files_come_back_as_they_were_committed(peer: Peer, tmp_path: Path) -> None:
    api, repo = peer.api(), made(peer)
    assert api.whoami()["name"] == peer.user
    files = {"a/b c.json": b'{"a": 1}', "a/d.npz": os.urandom(3000), "README.md": b"# hello"}
    done = api.create_commit(repo, [add(*file) for file in files.items()], commit_message="one", repo_type="dataset")
    assert api.dataset_info(repo).sha == done.oid
    found = paths(api, repo)
    assert {path: entry.size for path, entry in found.items()} == {path: len(data) for path, data in files.items()}
    assert [path for path, entry in found.items() if entry.lfs] == ["a/d.npz"]
    folder = Path(snapshot_download(repo, repo_type="dataset", local_dir=tmp_path / "snapshot", endpoint=peer.url))
    assert {path: (folder / path).read_bytes() for path in files} == files
    one = api.hf_hub_download(repo, "a/d.npz", repo_type="dataset", revision=done.oid)
    assert Path(one).read_bytes() == files["a/d.npz"]
    assert [entry.path for entry in api.list_repo_tree(repo, "a", repo_type="dataset")] == ["a/b c.json", "a/d.npz"]
    assert [each.title for each in api.list_repo_commits(repo, repo_type="dataset")] == ["one", "initial commit"]


def test_an_unchanged_file_makes_no_commit(peer: Peer) -> None:
    api, repo = peer.api(), made(peer)
    files = {"x.json": b"{}", "x.npz": b"123"}
    first = api.create_commit(repo, [add(*file) for file in files.items()], commit_message="one", repo_type="dataset")
    again = api.create_commit(repo, [add(*file) for file in files.items()], commit_message="two", repo_type="dataset")
    assert again.oid == first.oid
    api.create_commit(repo, [CommitOperationDelete("x.json")], commit_message="three", repo_type="dataset")
    assert list(paths(api, repo)) == ["x.npz"]


def test_a_stale_parent_is_refused(peer: Peer) -> None:
    api, repo = peer.api(), made(peer)
    old = api.dataset_info(repo).sha
    api.create_commit(repo, [add("a", b"1")], commit_message="one", repo_type="dataset", parent_commit=old)
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit(repo, [add("b", b"1")], commit_message="two", repo_type="dataset", parent_commit=old)
    assert error.value.response.status_code == 412 and list(paths(api, repo)) == ["a"]


def test_a_pull_request_is_a_revision_until_it_is_merged(peer: Peer) -> None:
    api, repo = peer.api(), made(peer)
    done = api.create_commit(
        repo, [add("a.npz", b"1")], commit_message="one", commit_description="why", repo_type="dataset", create_pr=True
    )
    assert (done.pr_num, done.pr_revision) == (1, "refs/pr/1") and not paths(api, repo)
    api.create_commit(repo, [add("b", b"1")], commit_message="two", repo_type="dataset", revision="refs/pr/1")
    assert list(paths(api, repo, "refs/pr/1")) == ["a.npz", "b"]
    details = api.get_discussion_details(repo, 1, repo_type="dataset")
    assert details.is_pull_request and details.status == "open" and details.events[0]._event["data"]["latest"]["raw"] == "why"
    api.create_commit(repo, [add("c", b"1")], commit_message="three", repo_type="dataset")
    api.merge_pull_request(repo, 1, repo_type="dataset")
    assert list(paths(api, repo)) == ["a.npz", "b", "c"]
    assert api.get_discussion_details(repo, 1, repo_type="dataset").status == "merged"
    assert [each.num for each in api.get_repo_discussions(repo, repo_type="dataset")] == [1]


def test_a_tag_stays_where_it_was_put(peer: Peer) -> None:
    api, repo = peer.api(), made(peer)
    done = api.create_commit(repo, [add("a", b"1")], commit_message="one", repo_type="dataset")
    api.create_tag(repo, tag="v1", repo_type="dataset")
    api.create_commit(repo, [add("b", b"1")], commit_message="two", repo_type="dataset")
    assert [(tag.name, tag.target_commit) for tag in api.list_repo_refs(repo, repo_type="dataset").tags] == [("v1", done.oid)]
    assert list(paths(api, repo, "v1")) == ["a"]
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag(repo, tag="v1", repo_type="dataset")
    assert error.value.response.status_code == 409


def test_a_private_repository_is_not_there_for_others(peer: Peer) -> None:
    repo = made(peer, private=True)
    assert peer.api().dataset_info(repo).private
    for api in (peer.api(other=True), HfApi(endpoint=peer.url, token=False)):
        with pytest.raises(RepositoryNotFoundError):
            api.dataset_info(repo)


def test_what_is_missing_is_named_by_kind(peer: Peer) -> None:
    api, repo = peer.api(), made(peer)
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info(f"{peer.user}/none")
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(repo, revision="none")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "none", repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as error:
        peer.api(other=True).create_commit(repo, [add("a", b"1")], commit_message="one", repo_type="dataset")
    assert error.value.response.status_code == 403
    assert api.create_repo(repo, repo_type="dataset", exist_ok=True).repo_id == repo
    with pytest.raises(HFValidationError):
        api.dataset_info("a/../b")


def test_a_parquet_table_loads_as_a_dataset(peer: Peer, tmp_path: Path) -> None:
    repo, table = made(peer), tmp_path / "board.parquet"
    pd.DataFrame({"method": ["a", "b"], "top1": [0.5, 0.25]}).to_parquet(table, index=False)
    operations = [CommitOperationAdd("tables/board.parquet", table), add("README.md", CARD.encode())]
    peer.api().create_commit(repo, operations, commit_message="one", repo_type="dataset")
    code = f"import datasets; d = datasets.load_dataset({repo!r}, split='train'); print(d.to_dict(), d.features)"
    told = {**os.environ, **environment(peer.url, tmp_path / "other", peer.token)}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "{'method': ['a', 'b'], 'top1': [0.5, 0.25]}" in done.stdout and "float64" in done.stdout


def test_a_stranger_may_open_a_pull_request_and_no_more(hub: Hub) -> None:
    HfApi(endpoint=hub.url).create_repo("lab/results", repo_type="dataset")
    stranger = HfApi(endpoint=hub.url, token=STRANGER_TOKEN)
    one = [add("a.npz", b"1")]
    done = stranger.create_commit("lab/results", one, commit_message="mine", repo_type="dataset", create_pr=True)
    assert done.pr_num == 1 and hub.repo("lab/results").files() == {}
    stranger.create_commit("lab/results", [add("b", b"1")], commit_message="more", repo_type="dataset", revision="refs/pr/1")
    for refused in (
        lambda: stranger.merge_pull_request("lab/results", 1, repo_type="dataset"),
        lambda: stranger.create_tag("lab/results", tag="v1", repo_type="dataset"),
        lambda: stranger.create_repo("lab/mine"),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            refused()
        assert error.value.response.status_code == 403
    HfApi(endpoint=hub.url).merge_pull_request("lab/results", 1, repo_type="dataset")
    assert set(hub.repo("lab/results").files()) == {"a.npz", "b"}


def test_a_long_listing_comes_in_pages(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url)
    api.create_repo("lab/results", repo_type="dataset")
    hub.put("lab/results", {f"{i:02}.json": b"{}" for i in range(25)})
    hub.page_entries = 10
    assert len(paths(api, "lab/results")) == 25
    assert len([path for _, path, _ in hub.asked if "/tree/" in path]) == 3


def test_of_two_commits_at_once_one_is_told_to_wait(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url)
    api.create_repo("lab/results", repo_type="dataset")
    hub.commit_seconds = 0.5
    threads = [threading.Thread(target=try_commit, args=(api, f"{i}.json")) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = sorted(status for _, path, status in hub.asked if "/commit/" in path)
    assert answers == [200, 409, 409] and len(hub.commits("lab/results")) == 1


def try_commit(api: HfApi, path: str) -> None:
    try:
        api.create_commit("lab/results", [add(path, b"1")], commit_message=path, repo_type="dataset")
    except HfHubHTTPError as error:
        assert error.response.status_code == 409


def test_faults_come_as_ordered(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url)
    api.create_repo("lab/results", repo_type="dataset")

    def commit() -> str:
        one = add("a", str(len(hub.asked)).encode())
        return str(api.create_commit("lab/results", [one], commit_message="one", repo_type="dataset").oid)

    hub.fail("POST", "/commit/", status=429, headers={"Retry-After": "7"})
    with pytest.raises(HfHubHTTPError) as error:
        commit()
    assert error.value.response.headers["Retry-After"] == "7" and not hub.commits("lab/results")
    hub.fail("POST", "/commit/")
    with pytest.raises(Exception, match="disconnected"):
        commit()
    assert not hub.commits("lab/results")
    hub.fail("POST", "/commit/", when="after")
    with pytest.raises(Exception, match="disconnected"):
        commit()
    assert len(hub.commits("lab/results")) == 1
    assert commit() == hub.repo("lab/results").at("main").sha


def test_a_token_nobody_has_is_refused(hub: Hub) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        HfApi(endpoint=hub.url, token="hf_wrong").whoami()  # noqa: S106 - of the test server
    assert error.value.response.status_code == 401
