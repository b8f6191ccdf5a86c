"""`python -m tests.builders.publisher RESULTS`: one publisher, for tests that kill it or run it beside another.

Its board is a stub that takes no time to make.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vddbench import hub
from vddbench.hub import client
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish import contents, publish
from vddbench.leaderboard.publish.destination import Destination
from vddbench.leaderboard.site.board import Board
from vddbench.leaderboard.site.inventory import Inventory

DESTINATION = Destination(hub.Repo("lab/vddbench-results"), hub.Repo("lab/vddbench", "space"))


def stub_site_files(
    destination: Destination, board: Board, tree: Path, payloads: Sequence[Path], out: Path, published: Inventory
) -> tuple[dict[str, hub.Content], Inventory]:
    """In place of the real board: an almost empty page for each submission, and an index of the records that count."""
    paths = sorted(one.path.relative_to(tree / mirror.RECORDS) for one in board.evaluated)
    pages: dict[str, hub.Content] = {f"s/{path.parts[0]}/{path.parts[1]}/index.html": b"a page" for path in paths}
    pages |= {"index.html": "\n".join(map(str, paths)).encode()}
    return pages, Inventory(files=tuple(sorted(pages)))


if __name__ == "__main__":
    contents.site_files = stub_site_files
    client.FIRST_WAIT_SECONDS = 0.02
    publish.publish(DESTINATION, [Path(sys.argv[1])], [])
