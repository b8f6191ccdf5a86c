"""One door to the Hub: a busy server, a lost answer and a wrong name end in one commit or in one sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from tests.builders import published
from tests.builders.published import BOARD, as_stranger
from tests.tools.hubserver import OLD_UPLOAD, Hub, at, environment
from vddbench import hub as door
from vddbench.commands import exchange
from vddbench.hub import Repo, StaleParentError, client
from vddbench.hub import commits as commits_module

pytestmark = OLD_UPLOAD
board = published.board
REPO = Repo(BOARD)


def commits(board: Hub) -> int:
    return len(board.commits(BOARD)) - 1  # the README's


@pytest.mark.parametrize("status", [409, 429, 500, 503, 504])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_busy_server_gets_the_commit_once(board: Hub, status: int, when: str, capsys: pytest.CaptureFixture[str]) -> None:
    board.fail("POST", "/commit/", status=status, when=when, times=2)  # type: ignore[arg-type]
    done = door.commit(REPO, {"a.json": b"{}", "b.bin": b"123"}, "one")
    assert done.sha == board.repo(BOARD).at("main").sha and commits(board) == 1
    assert f"({status}); trying again" in capsys.readouterr().err


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_breaks_loses_and_doubles_nothing(board: Hub, when: str) -> None:
    board.fail("POST", "/commit/", when=when, times=2)  # type: ignore[arg-type]
    door.commit(REPO, {"a.json": b"{}"}, "one")
    assert commits(board) == 1


def test_retry_after_is_waited_for(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waited.append)
    board.fail("POST", "/commit/", status=429, headers={"Retry-After": "7"})
    door.commit(REPO, {"a.json": b"{}"}, "one")
    assert [seconds for seconds in waited if seconds] == [7.0]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "250"}, 250.0), ({"Retry-After": "9" * 9}, 300.0), ({"RateLimit": '"api";r=0;t=120'}, 120.0)],
)
def test_a_window_of_five_minutes_is_waited_out(
    board: Hub, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seconds: float
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waited.append)
    board.fail("POST", "/commit/", status=429, headers=headers)
    door.commit(REPO, {"a.json": b"{}"}, "one")
    assert max(waited) == seconds


@pytest.mark.parametrize("name", ["", "mine", "/a/b", "a/../b", "../b", "a/b/c", "a/b\n", "a/.b", "a b/c"])
def test_only_owner_and_name_are_a_repo(name: str) -> None:
    with pytest.raises(LookupError, match="a repo is called OWNER/NAME"):
        Repo(name)


def test_waits_grow_and_have_an_end(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 1.0)
    monkeypatch.setattr(client.time, "sleep", waited.append)
    board.fail("POST", "/commit/", status=500, times=99)
    with pytest.raises(ConnectionError, match=f"stayed so over {client.TRIES} tries; run the same command again"):
        door.commit(REPO, {"a.json": b"{}"}, "one")
    assert len(waited) == client.TRIES - 1 and waited[4] > waited[0] and max(waited) <= client.LONGEST_WAIT_SECONDS


def test_a_branch_that_moved_is_told_and_not_overwritten(board: Hub) -> None:
    before = door.listing(REPO).sha
    board.put(BOARD, {"theirs": b"1"})
    with pytest.raises(StaleParentError):
        door.commit(REPO, {"mine": b"1"}, "one", parent=before)
    assert "mine" not in board.repo(BOARD).files()


def test_files_go_and_a_lost_answer_to_that_is_seen(board: Hub) -> None:
    door.commit(REPO, {"a": b"1"}, "one")
    board.fail("POST", "/commit/", when="after")
    door.commit(REPO, {"b": b"1"}, "two", delete=["a"])
    assert set(board.repo(BOARD).files()) == {"README.md", "b"} and commits(board) == 2


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: door.listing(Repo("lab/nosuch")), FileNotFoundError, "no dataset repo lab/nosuch on http"),
        (lambda: door.listing(REPO, "v9"), FileNotFoundError, "no such revision"),
        (lambda: door.listing(Repo("no slash / at all")), LookupError, "called OWNER/NAME"),
        (lambda: door.download(REPO, "nosuch", door.listing(REPO).sha, 9), FileNotFoundError, "has no file nosuch at"),
        (lambda: door.download(REPO, "README.md", "main", 9), ValueError, "can change; allowed: the 40 hex digits"),
        (lambda: door.download(REPO, "README.md", door.listing(REPO).sha, 3), ValueError, "has 12 bytes; allowed: 3"),
        (lambda: door.discussed(REPO, 3), LookupError, "has no pull request 3"),
    ],
)
def test_what_is_not_there_is_one_sentence(board: Hub, call: Callable[[], object], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_a_private_repo_looks_as_if_it_were_not_there(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    door.create(Repo("lab/secret"))
    board.repo("lab/secret").private = True
    assert door.exists(Repo("lab/secret"))
    as_stranger(monkeypatch)
    assert not door.exists(Repo("lab/secret"))
    with pytest.raises(FileNotFoundError, match="or it is private and you may not see it"):
        door.listing(Repo("lab/secret"))


def test_who_may_not_write_is_shown_the_way_to_submit(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    as_stranger(monkeypatch)
    with pytest.raises(PermissionError, match=r"may not write to dataset repo lab/vddbench-results.*vddbench submit"):
        door.commit(REPO, {"a": b"1"}, "one")


def test_a_token_that_may_not_open_pull_requests_is_told_what_it_needs(board: Hub) -> None:
    board.fail("POST", "/commit/", status=403)
    with pytest.raises(PermissionError, match=r"token may not open pull requests on dataset repo lab/.*permission to write"):
        door.pull_request(REPO, {"a": b"1"}, "title", "text")


@pytest.mark.parametrize("token", ["\u201chf_abc\u201d", '"hf_abc"', "\ufeffhf_abc", "hf_abc hf_def", "hf_\udcff"])
def test_a_token_with_characters_that_no_token_has_is_refused_by_name(
    board: Hub, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(PermissionError, match=r"^HF_TOKEN holds the character .* \(U\+[0-9A-F]{4}\)") as error:
        door.whoami()
    assert "abc" not in str(error.value)


def test_a_token_that_ends_with_a_newline_is_taken(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    name = door.whoami()
    monkeypatch.setenv("HF_TOKEN", os.environ["HF_TOKEN"] + "\r\n")
    assert door.whoami() == name


def test_a_wrong_token_and_none(board: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PermissionError, match="does not know this token") as error:
        door.whoami()
    assert "hf_wrong" not in str(error.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PermissionError, match="hf auth login"):
        door.whoami()


def test_an_upload_that_the_store_refuses_is_one_sentence(board: Hub) -> None:
    board.fail("PUT", "/lfs/", status=400)
    with pytest.raises(OSError, match=r"refused a request on dataset repo lab/vddbench-results \(400\)"):
        door.commit(REPO, {"a.bin": b"123"}, "one")


def test_an_upload_that_breaks_is_tried_again(board: Hub) -> None:
    board.fail("PUT", "/lfs/", status=409)
    door.commit(REPO, {"a.bin": b"123"}, "one")
    assert commits(board) == 1


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.001)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with at(url, tmp_path / "hf"), pytest.raises(ConnectionError, match="can't be reached"):
        door.whoami()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TRIES", 2)
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(client, "LONGEST_SILENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with at(url, tmp_path / "hf"), pytest.raises(ConnectionError, match=r"can't be reached \(ReadTimeout\); try again"):
            door.whoami()


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"HF_HUB_OFFLINE": "1"}, 1, "error: HF_HUB_OFFLINE is set"),
        ({"HF_TOKEN": "hf_wrong"}, 1, "error: the Hub does not know this token"),
        ({}, 1, "error: no dataset repo lab/nosuch"),
    ],
)
def test_the_command_says_it_in_one_line(board: Hub, tmp_path: Path, more: dict[str, str], code: int, words: str) -> None:
    told = {**os.environ, **environment(board.url, tmp_path / "other"), **more}
    command = [sys.executable, "-c", "from vddbench.commands.main import main; main()", "pull", "--results-repo", "lab/nosuch"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert done.returncode == code and done.stderr.startswith(words) and done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr and "hf_" not in done.stderr


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (lambda: exchange.verify("submissions/a/b", push=True), 2, "--push needs the number of a pull request"),
        (lambda: exchange.verify("submissions/a/b", merge=True), 2, "--merge needs the number of a pull request"),
        (lambda: exchange.verify("3"), 2, "--results-repo is missing"),
        (lambda: exchange.verify("3", BOARD, by="me"), 2, "--by and --reruns are for a folder"),
        (lambda: exchange.verify("3", BOARD), 2, "has no pull request 3"),
        (lambda: exchange.verify("nosuch", by="me"), 1, "no submission at nosuch"),
        (lambda: exchange.reproduce(Path("nosuch.json"), by="me"), 1, "no record at"),
        (lambda: exchange.submit(Path("nosuch"), BOARD), 1, "no submission at nosuch"),
        (lambda: exchange.pull(BOARD, ["toy-ipc1"]), 2, "has nothing of toy-ipc1"),
        (lambda: exchange.pull(BOARD, ["../x"]), 2, "is not DATASET-ipcN"),
    ],
)
def test_commands_end_with_a_sentence_and_an_exit_code(
    board: Hub, call: Callable[[], None], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as error:
        call()
    told = capsys.readouterr().err
    assert error.value.exit_code == code and words in told.replace("\n", " ") and "error: " in told


def test_a_pull_request_of_many_files_is_several_commits_of_one(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    as_stranger(monkeypatch)
    monkeypatch.setattr(commits_module, "COMMIT_FILES", 3)
    files: dict[str, door.Content] = {f"{i}.json": str(i).encode() for i in range(8)}
    board.fail("POST", "/commit/", when="after")  # the answer that has its number
    opened = door.pull_request(REPO, files, "mine", "text")
    again = door.pull_request(REPO, files, "mine", "text")
    assert again == opened and opened.pull_request == 1 and len(board.repo(BOARD).discussions) == 1
    assert set(board.repo(BOARD).files("refs/pr/1")) == {*files, "README.md"}
    assert len(board.repo(BOARD).history("refs/pr/1")) == 2 + 3


def test_somebody_elses_pull_request_of_the_same_title_is_left_alone(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert door.pull_request(REPO, {"a": b"1"}, "mine", "").pull_request == 1
    as_stranger(monkeypatch)
    assert door.pull_request(REPO, {"b": b"1"}, "mine", "").pull_request == 2
    found = door.discussed(REPO, 2)
    assert (found.author, found.title, found.status) == ("stranger", "mine", "open")


def test_where_a_pull_request_left_main(board: Hub) -> None:
    before = door.listing(REPO).sha
    door.pull_request(REPO, {"a": b"1"}, "mine", "")
    board.put(BOARD, {"b": b"1"})
    assert door.parting(REPO, "refs/pr/1") == before != door.listing(REPO).sha
    with pytest.raises(FileNotFoundError):
        door.parting(REPO, "refs/pr/2")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pull_request_is_merged_once_whatever_answer_is_lost(board: Hub, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    door.pull_request(REPO, {"a": b"1"}, "mine", "")
    with monkeypatch.context() as patch, pytest.raises(PermissionError, match="may not write"):
        as_stranger(patch)
        door.merge(REPO, 1)
    board.fail("POST", "/merge", status=503, when=when)  # type: ignore[arg-type]
    assert door.merge(REPO, 1) == door.merge(REPO, 1) == board.repo(BOARD).at("main").sha
    assert door.discussed(REPO, 1).status == "merged" and commits(board) == 1


def test_a_draft_is_not_merged(board: Hub) -> None:
    door.pull_request(REPO, {"a": b"1"}, "mine", "")
    board.repo(BOARD).discussions[0]["status"] = "draft"
    with pytest.raises(ValueError, match="is a draft"):
        door.merge(REPO, 1)


def test_who_made_a_commit_of_main(board: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = door.commit(REPO, {"a": b"1"}, "one").sha
    assert door.authors(REPO, sha) == ["owner"]
    as_stranger(monkeypatch)
    opened = door.pull_request(REPO, {"b": b"1"}, "mine", "")
    assert door.authors(REPO, opened.sha) is None


def test_a_tag_stays_where_it_is(board: Hub) -> None:
    first = door.listing(REPO).sha
    door.tag(REPO, "v1", first)
    door.tag(REPO, "v1", first)
    sha = door.commit(REPO, {"a": b"1"}, "one").sha
    with pytest.raises(ValueError, match="releases don't move"):
        door.tag(REPO, "v1", sha)


def test_a_file_is_known_by_its_content_large_or_small(board: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123")
    door.commit(REPO, {"a.bin": b"123", "a.json": b"123"}, "one")
    for remote in (door.listing(REPO).files["a.bin"], door.listing(REPO).files["a.json"]):
        assert remote.holds(b"123") and remote.holds(tmp_path / "file")
        assert not remote.holds(b"124") and not remote.holds(b"1234")
