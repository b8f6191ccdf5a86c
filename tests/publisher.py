"""`python -m tests.publisher RESULTS`: one publisher, to be killed or to run beside another. Its board is made in no time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from leaderboard.evidence import load
from leaderboard.publish import publish
from vddbench import hub

TARGET = publish.Target(hub.Repo("lab/vddbench-results"), hub.Repo("lab/vddbench", "space"))


def quick_site(results: Sequence[Path], submissions: Sequence[Path], out: Path) -> dict[str, hub.Content]:
    """A page for each submission and an index of the records that count, in place of the real board."""
    [root] = results
    paths = sorted(one.path.relative_to(root) for one in load(results).evaluated)
    pages: dict[str, hub.Content] = {f"s/{path.parts[0]}/{path.parts[1]}/index.html": b"a page" for path in paths}
    return pages | {"index.html": "\n".join(map(str, paths)).encode()}


if __name__ == "__main__":
    publish.site_files = quick_site
    hub.FIRST_WAIT_SECONDS = 0.02
    publish.publish(TARGET, [Path(sys.argv[1])], [])
