"""`python -m tests.builders.publisher RESULTS`: one publisher, to be killed or to run beside another.

Its board is made in no time.
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

TARGET = Destination(hub.Repo("lab/vddbench-results"), hub.Repo("lab/vddbench", "space"))


def quick_site(
    target: Destination, board: Board, tree: Path, payloads: Sequence[Path], out: Path, there: Inventory
) -> tuple[dict[str, hub.Content], Inventory]:
    """A page for each submission and an index of the records that count, in place of the real board."""
    paths = sorted(one.path.relative_to(tree / mirror.RECORDS) for one in board.evaluated)
    pages: dict[str, hub.Content] = {f"s/{path.parts[0]}/{path.parts[1]}/index.html": b"a page" for path in paths}
    pages |= {"index.html": "\n".join(map(str, paths)).encode()}
    return pages, Inventory(files=tuple(sorted(pages)))


if __name__ == "__main__":
    contents.site_files = quick_site
    client.FIRST_WAIT_SECONDS = 0.02
    publish.publish(TARGET, [Path(sys.argv[1])], [])
