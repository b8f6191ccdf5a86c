"""`vddbench site build`: the board as static pages that open from a disk, without a network or a server.

`index.html` holds its style, script and charts; a submission has a page of its own with previews beside it. What strangers
wrote is escaped by Jinja2, links are https only, and a content security policy names the hashes of our own script and style, so
that nothing else could run. Tables are plain HTML: the script sorts and filters, it never makes them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.site import instructions, inventory, local_submissions, protocol_page
from vddbench.leaderboard.site.board import Board, board_of
from vddbench.leaderboard.site.page_writer import Site
from vddbench.leaderboard.site.sections import TaskView, only_reported, task_view
from vddbench.spec import DatasetSpec
from vddbench.system.files import sha256_file
from vddbench.system.progress import bar

MAX_LEFT_OUT, LEFT_OUT_LETTERS = 20, 500  # on the front page; `vddbench rank` and `publish` name them all


def build(results: Sequence[Path], submissions: Sequence[Path], out: Path, maintainers: Collection[str] = ()) -> Path:
    """Writes the site into `out` and returns its `index.html`. Other files in `out` are left alone; pages of an earlier build
    that are no more are removed.

    Raises FileNotFoundError when no record is valid, OSError when `out` can't be written.
    """
    board = board_of(results, maintainers)
    found, refused = local_submissions.find(submissions)
    site = Site(out, newest_of(board), hidden=(*results, *submissions))
    index = write(site, board, found, refused)
    site.finish()
    return index


def build_published(
    board: Board, tree: Path, payloads: Sequence[Path], out: Path, there: inventory.Inventory, results_repo: str
) -> inventory.Inventory:
    """Writes into `out` what a Space is to show: the same whoever publishes, so of submissions nothing counts but the published
    manifests and the bytes of payloads. Says what belongs to it.

    tree: a copy of the results repo. there: what the Space shows now. Clips that can't be made here, or would be the same,
    stay as they are there: they are in the files of what is returned, but need not be in `out`.
    """
    found, refused = local_submissions.published(tree / mirror.SUBMISSIONS, payloads)
    site = Site(out, newest_of(board), hidden=(tree, *payloads), there=there, results_repo=results_repo)
    write(site, board, found, refused)
    return site.finish()


def newest_of(board: Board) -> str:
    return max(one.record.date for one in board.evaluated)[:10]


def write(
    site: Site, board: Board, found: Mapping[local_submissions.Identity, local_submissions.Found], refused: Sequence[str]
) -> Path:
    """All pages; returns `index.html`."""
    left_out = [site.without(line) for line in (*board.left_out, *refused)]
    pages = board.submissions()
    with bar("site", len(pages) + len(board.tasks()) + 1) as progress:
        specs: dict[tuple[str, str], DatasetSpec | None] = {}
        for page, evaluated in pages.items():
            _submission_page(site, board, page, evaluated, found, _spec(site, specs, evaluated[0]))
            progress.advance(note=page)
        views = []
        for name, tables in board.tasks().items():
            views.append(task_view(name, tables, _spec(site, specs, tables[0].lines[0].evaluated[0])))
            progress.advance(note=name)
        site.page(
            "protocol.html",
            "protocol",
            rows=protocol_page.protocol_rows(),
            also=protocol_page.ALSO_FIXED,
            students=protocol_page.students(),
        )
        example = views[0].task
        prepare = instructions.prepare(example.dataset, _spec(site, specs, views[0].tables[0].table.lines[0].evaluated[0]))
        site.page("submit.html", "submit", task=str(example), prepare=prepare, repo=site.results_repo or instructions.A_REPO)
        index = index_page(site, board, views, left_out)
        progress.advance()
    return index


def index_page(site: Site, board: Board, views: Sequence[TaskView], left_out: Sequence[str]) -> Path:
    """The board itself."""
    return site.page(
        "index.html",
        "index",
        views=views,
        overall=board.overall,
        papers=only_reported([view.name for view in views]),
        num_records=len(board.evaluated),
        num_submissions=len(board.submissions()),
        left_out=[line[:LEFT_OUT_LETTERS] for line in left_out[:MAX_LEFT_OUT]],
        left_out_more=max(0, len(left_out) - MAX_LEFT_OUT),
    )


def _spec(site: Site, known: dict[tuple[str, str], DatasetSpec | None], one: Evaluated) -> DatasetSpec | None:
    """Read once for each prepared store; of one that isn't here, as it was noted where the site is published."""
    digest = one.record.store_digest
    key = one.record.task.dataset, digest
    if key not in known:
        exact = local_submissions.prepared(one) or (site.there.specs.get(digest) if site.there is not None else None)
        if exact is not None and exact.num_classes == one.record.num_classes:
            site.specs[digest] = exact
        known[key] = site.specs.get(digest) or local_submissions.bundled(one)
    return known[key]


def _submission_page(
    site: Site,
    board: Board,
    page: str,
    evaluated: Sequence[Evaluated],
    found: Mapping[local_submissions.Identity, local_submissions.Found],
    spec: DatasetSpec | None,
) -> None:
    records = [one.record for one in evaluated]
    mine = found.get(local_submissions.identity(records[0]))
    there = None if site.there is None else site.there.pages.get(page, inventory.PayloadView())
    looked = local_submissions.look(mine, spec, site.out / page, site.before.pages.get(page), there)
    looked = looked.model_copy(update={"missing": site.without(looked.missing, [mine.folder] if mine else ())})
    if looked.tensors:
        site.pages[page] = looked
    if looked.previews is not None:
        site.written |= {f"{page}/{each.file}" for each in looked.previews.shown}
    manifest = None if mine is None else mine.manifest
    site.page(
        f"{page}/index.html",
        "submission",
        records=[
            (one.record, sha256_file(one.path))
            for one in sorted(evaluated, key=lambda one: (one.record.student, one.record.seed))
        ],
        one=records[0],
        manifest=manifest,
        spec=spec,
        looked=looked,
        commands=instructions.commands(evaluated, manifest, spec, site.results_repo),
        bibtex=instructions.bibtex(records, manifest),
        reruns=board.reruns.get(records[0].submission_sha256, ()),
        tables=[(table, line) for table in board.tables for line in table.lines if page in line.pages],
        root="../" * len(PurePosixPath(page).parts),
    )
