"""Tables, cards and the board, generated from the records and manifests of a results repo."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vddbench import hub
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.maintainers import MAINTAINERS
from vddbench.leaderboard.publish import cards, parquet
from vddbench.leaderboard.publish.destination import CARD, EVAL, TABLES, Destination
from vddbench.leaderboard.site.board import Board, board_of
from vddbench.leaderboard.site.inventory import Inventory
from vddbench.leaderboard.site.local_submissions import find_submissions
from vddbench.records.files import PREDICTIONS
from vddbench.submissions.manifest import MANIFEST
from vddbench.system.locks import locked
from vddbench.system.progress import say

ABANDONED_SECONDS = 86_400  # a temporary folder older than this belongs to a killed process


@dataclass(frozen=True)
class Contents:
    """Generated files of the two repos, by path."""

    tables: Mapping[str, hub.Content]
    board: Mapping[str, hub.Content]
    inventory: Inventory  # of the board; it may list files that only the Space has
    evaluation: Mapping[str, hub.Content]  # eval.yaml of the results repo, if it was asked for


@contextmanager
def generated(
    destination: Destination,
    files: Mapping[str, Path],
    submissions: Sequence[Path],
    published: Inventory | None = None,
    maintainers: Collection[str] = (),
) -> Iterator[Contents]:
    """Tables and board of a results repo with these files. The records are ranked once, for both.

    submissions: folders that may have payloads. published: the inventory of the Space as it is now. maintainers: user names,
    see `reruns`. The contents' files exist until the block ends.
    """
    site_folder = destination.cache / "site"  # keeps previews for the next time
    lock = locked(site_folder.with_suffix(".lock"), on_wait=lambda: say("another process publishes from here; waiting for it"))
    with linked_tree(files, destination.cache) as tree, lock:
        records = tree / mirror.RECORDS
        say(f"ranking {sum(path.endswith(PREDICTIONS) for path in files)} records")
        board = board_of([records], maintainers)
        for line in board.left_out:
            say(f"left out: {line.replace(f'{tree}/', '')}")
        sets = downloaded_sets(destination.cache, files) if destination.with_sets else []
        pages, inventory = site_files(destination, board, tree, [*submissions, *sets], site_folder, published or Inventory())
        pages[CARD] = cards.space_card(destination.results.id).encode()
        tables = table_files(destination, board, records)
        if maintainers:
            tables[MAINTAINERS] = "".join(f"{name}\n" for name in sorted(maintainers)).encode()
        evaluation = {EVAL: cards.eval_yaml(board).encode()} if destination.with_eval else {}
        yield Contents(tables, pages, inventory, evaluation)


@contextmanager
def linked_tree(files: Mapping[str, Path], parent: Path) -> Iterator[Path]:
    """A temporary folder of exactly these files, as hard links if the file system supports them."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(".tree.*"):
        if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=".tree.", dir=parent) as name:
        for path, file in files.items():
            target = Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.resolve(), target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(file, target)
        yield Path(name)


def downloaded_sets(cache: Path, paths: Iterable[str]) -> list[Path]:
    """Folders of submissions with the payloads that published manifests point to."""
    from vddbench.leaderboard.exchange import payload_download

    submissions, _ = find_submissions([cache / mirror.SUBMISSIONS])
    pointing = [s.folder / MANIFEST for s in submissions.values() if s.manifest.payload is not None]
    payload_download.fetch_all(cache, sorted({path.relative_to(cache).as_posix() for path in pointing} & set(paths)))
    return sorted((cache / payload_download.SETS).glob("*"))


def table_files(destination: Destination, board: Board, records: Path) -> dict[str, hub.Content]:
    """README and tables of the results repo."""
    tables = parquet.tables(board, records)
    card = cards.results_card(board, list(tables), destination)
    files: dict[str, hub.Content] = {f"{TABLES}/{name}": data for name, data in tables.items()}
    files[CARD] = card.encode()
    return files


def site_files(
    destination: Destination, board: Board, tree: Path, payloads: Sequence[Path], out: Path, published: Inventory
) -> tuple[dict[str, hub.Content], Inventory]:
    """The files of the board that were made here, and the inventory of all its files. tree: a copy of the results repo."""
    from vddbench.leaderboard.site.build import build_published

    inventory = build_published(board, tree, payloads, out, published, destination.results.id)
    unchanged = {
        f"{page}/{name}"
        for page, view in inventory.pages.items()
        if view.previews is not None and page in published.pages and view.previews == published.pages[page].previews
        for name in view.previews.names
    }
    return {path: out / path for path in inventory.files if path not in unchanged}, inventory
