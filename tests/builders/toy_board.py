"""Records of a made-up task, how tests publish them, and what the test Hub contains afterwards."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import typer
from typer.testing import CliRunner

from tests.builders.publisher import DESTINATION
from tests.builders.records import GOOD, a_record
from tests.tools.hubserver import Hub
from vddbench.commands.publish import publish as command
from vddbench.leaderboard.publish import publish
from vddbench.leaderboard.site.inventory import Inventory, parse_inventory
from vddbench.records.files import write_record

RESULTS, SPACE = DESTINATION.results.id, DESTINATION.space.id


def toy_records(root: Path, method: str = "mine", seeds: int = 3, **fields: Any) -> Path:
    """Writes records of one submission of toy-ipc1 into a results folder and returns the folder."""
    common = {"method": method, "submission_sha256": sha_of(method), **fields}
    for seed in range(seeds):
        write_record(root, a_record(seed=seed, **common), GOOD)
    return root


def sha_of(method: str) -> str:
    return (method.encode().hex() * 64)[:64]


def publish_messages(*results: Path, tag: str | None = None, submissions: tuple[Path, ...] = ()) -> list[str]:
    """Publishes, and returns the messages of the commits that were made."""
    return [commit.message for commit in publish.publish(DESTINATION, results, submissions, tag)]


def table(hub: Hub, name: str = "leaderboard") -> list[dict[str, Any]]:
    """Rows of a published table."""
    data = hub.repo(RESULTS).files()[f"tables/{name}.parquet"]
    return list(pq.read_table(io.BytesIO(data)).to_pylist())


def files_of_both(hub: Hub) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Contents of the results repo and the Space, by path."""
    return hub.repo(RESULTS).files(), hub.repo(SPACE, "spaces").files()


def commits_of_both(hub: Hub) -> tuple[list[str], list[str]]:
    """Messages of their commits."""
    return hub.commits(RESULTS), hub.commits(SPACE, "spaces")


def inventory_on_hub(hub: Hub) -> Inventory:
    """The inventory in the Space."""
    inventory = parse_inventory(hub.repo(SPACE, "spaces").files()["built.json"])
    assert inventory is not None
    return inventory


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def invoke(*arguments: str | Path) -> tuple[int, str]:
    """Runs `vddbench publish`; returns the exit code and all that it printed."""
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def to_the_hub(root: Path, *more: str | Path) -> tuple[int, str]:
    """Runs `vddbench publish` with the two repos of the tests."""
    return invoke("--results-repo", RESULTS, "--space", SPACE, "--results", root, *more)
