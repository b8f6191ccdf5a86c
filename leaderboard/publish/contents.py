"""Tables, cards and the board, made of exactly the records and manifests that a results repo contains. No torch."""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vddbench import hub
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish import cards, parquet
from vddbench.leaderboard.publish.destination import CARD, EVAL, TABLES, Destination
from vddbench.leaderboard.publish.local_files import tree_of
from vddbench.leaderboard.reruns import MAINTAINERS
from vddbench.leaderboard.site import inventory, local_submissions
from vddbench.leaderboard.site.board import Board, board_of
from vddbench.records.files import PREDICTIONS
from vddbench.submissions.manifest import MANIFEST
from vddbench.system.progress import say


@dataclass(frozen=True)
class Contents:
    """Contents by path in the two repos; the note of the board may have files beside them that are in the Space already."""

    tables: Mapping[str, hub.Content]
    board: Mapping[str, hub.Content]
    note: inventory.Inventory


@contextmanager
def made_from(
    target: Destination,
    files: Mapping[str, Path],
    submissions: Sequence[Path],
    there: inventory.Inventory | None = None,
    maintainers: Collection[str] = (),
) -> Iterator[Contents]:
    """there: the note of the board that is published. maintainers: user names, see `reruns`. The records are ranked once, for
    tables and board alike."""
    with tree_of(files, target.cache) as tree, _alone(target.cache / "site") as out:
        records = tree / mirror.RECORDS
        say(f"ranking {sum(path.endswith(PREDICTIONS) for path in files)} records")
        board = board_of([records], maintainers)
        for line in board.left_out:
            say(f"left out: {line.replace(f'{tree}/', '')}")
        sets = fetched_sets(target.cache, files) if target.with_sets else []
        pages, note = site_files(target, board, tree, [*submissions, *sets], out, there or inventory.Inventory())
        pages[CARD] = cards.space_card(target.results.id).encode()
        made = table_files(target, board, records)
        if maintainers:
            made[MAINTAINERS] = "".join(f"{name}\n" for name in sorted(maintainers)).encode()
        yield Contents(made, pages, note)


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder that the board is built in, where previews are kept for the next time; one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process publishes from here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def fetched_sets(cache: Path, paths: Iterable[str]) -> list[Path]:
    """Folders of submissions with the payloads that published manifests point to."""
    from vddbench.leaderboard.exchange import payload_download

    found, _ = local_submissions.find([cache / mirror.SUBMISSIONS])
    pointing = [each.folder / MANIFEST for each in found.values() if each.manifest.payload is not None]
    payload_download.fetch_all(cache, sorted({path.relative_to(cache).as_posix() for path in pointing} & set(paths)))
    return sorted((cache / payload_download.SETS).glob("*"))


def table_files(target: Destination, board: Board, records: Path) -> dict[str, hub.Content]:
    made = parquet.tables(board, records)
    card = cards.results_card(board, list(made), target.results.id, target.space.id, target.space.url)
    files: dict[str, hub.Content] = {f"{TABLES}/{name}": data for name, data in made.items()}
    files[CARD] = card.encode()
    if target.with_eval:
        files[EVAL] = cards.eval_yaml(board).encode()
    return files


def site_files(
    target: Destination, board: Board, tree: Path, payloads: Sequence[Path], out: Path, there: inventory.Inventory
) -> tuple[dict[str, hub.Content], inventory.Inventory]:
    """(files of the board that are made here, the note of all its files). tree: a copy of the results repo."""
    from vddbench.leaderboard.site import build as site

    note = site.build_published(board, tree, payloads, out, there, target.results.id)
    stay = {
        f"{page}/{each.file}"
        for page, looked in note.pages.items()
        if looked.previews is not None and page in there.pages and looked.previews == there.pages[page].previews
        for each in looked.previews.shown
    }
    return {path: out / path for path in note.files if path not in stay}, note
