"""`vddbench site build`: the board as static pages that open from a disk, without a network or a server.

`index.html` holds its style, script and charts; a submission has a page of its own with previews beside it. What strangers
wrote is escaped by Jinja2, links are https only, and a content security policy names the hashes of our own script and style, so
that nothing else could run. Tables are plain HTML: the script sorts and filters, it never makes them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
from markupsafe import Markup

from leaderboard.evidence import Evaluated
from leaderboard.site import built, filters, fixed, steps, submitted
from leaderboard.site.board import Board, board_of
from leaderboard.site.views import TaskView, only_reported, task_view
from vddbench.atomic import replacing, sha256_file
from vddbench.progress import bar
from vddbench.spec import DatasetSpec, Task

PAGES = Path(__file__).with_name("pages")


def build(results: Sequence[Path], submissions: Sequence[Path], out: Path) -> Path:
    """Writes the site into `out` and returns its `index.html`. Other files in `out` are left alone; pages of an earlier build
    that are no more are removed.

    Raises FileNotFoundError when no record is valid, OSError when `out` can't be written.
    """
    board = board_of(results)
    found, refused = submitted.find(submissions)
    left_out = [without(line, (*results, *submissions)) for line in (*board.left_out, *refused)]
    site = Site(out, max(one.record.date for one in board.evaluated)[:10])
    pages = board.submissions()
    with bar("site", len(pages) + len(board.tasks()) + 1) as progress:
        specs: dict[tuple[str, str], DatasetSpec | None] = {}
        for page, evaluated in pages.items():
            _submission_page(site, board, page, evaluated, found, _spec(specs, evaluated[0]), results)
            progress.advance(note=page)
        views = []
        for name, tables in board.tasks().items():
            views.append(task_view(name, tables, _spec(specs, tables[0].lines[0].evaluated[0])))
            progress.advance(note=name)
        site.page("protocol.html", "protocol", rows=fixed.protocol_rows(), also=fixed.ALSO_FIXED, students=fixed.students())
        site.page("submit.html", "submit", examples=[view.name for view in views][:1])
        index = index_page(site, board, views, left_out)
        progress.advance()
    site.finish()
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
        left_out=left_out,
    )


def _spec(known: dict[tuple[str, str], DatasetSpec | None], one: Evaluated) -> DatasetSpec | None:
    """Read once for each prepared store."""
    key = Task.parse(one.record.task).dataset, one.record.store_digest
    if key not in known:
        known[key] = submitted.spec_for(one)
    return known[key]


def _submission_page(
    site: Site,
    board: Board,
    page: str,
    evaluated: Sequence[Evaluated],
    found: Mapping[submitted.Identity, submitted.Found],
    spec: DatasetSpec | None,
    roots: Sequence[Path],
) -> None:
    records = [one.record for one in evaluated]
    mine = found.get(submitted.identity(records[0]))
    looked = submitted.look(mine, spec, site.out / page, site.before.previews.get(page))
    if looked.previews is not None:
        site.previews[page] = looked.previews
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
        missing=without(looked.missing, [mine.folder, *roots] if mine else roots),
        commands=steps.commands(records, manifest, spec),
        bibtex=steps.bibtex(records, manifest),
        reviews=board.reviewed.get(records[0].submission_sha256, ()),
        tables=[(table, line) for table in board.tables for line in table.lines if page in line.pages],
        root="../" * len(PurePosixPath(page).parts),
    )


def without(text: str, roots: Sequence[Path]) -> str:
    """A message without where folders lie on this machine: pages are for others."""
    for root in roots:
        for prefix in (str(root.resolve()), str(root)):
            if prefix not in {".", "/"}:
                text = text.replace(f"{prefix}/", "").replace(prefix, root.name)
    return text


@dataclass
class Site:
    """Pages on their way to a folder."""

    out: Path
    newest: str  # date of the newest record: the same records make the same pages on any day
    written: set[str] = field(default_factory=set)  # paths below `out`
    previews: dict[str, built.Previews] = field(default_factory=dict)  # by page

    def __post_init__(self) -> None:
        self.before = built.read(self.out)
        loader = jinja2.FileSystemLoader(PAGES)
        self.jinja = jinja2.Environment(
            loader=loader,
            autoescape=True,
            finalize=filters.shown,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.jinja.filters |= filters.FILTERS
        self.jinja.globals["interval_svg"] = filters.interval_svg
        self.css = (PAGES / "board.css").read_text()
        self.script = (PAGES / "board.js").read_text()
        self.theme = (PAGES / "theme.js").read_text()

    def page(self, path: str, template: str, **content: Any) -> Path:
        """Renders one page and writes it."""
        policy = (
            f"default-src 'none'; style-src {_hash(self.css)}; script-src {_hash(self.theme)} {_hash(self.script)}; "
            "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
        )
        text = self.jinja.get_template(f"{template}.html.j2").render(
            {"root": "", **content},
            css=Markup(self.css),  # noqa: S704 - these three are files of this package
            script=Markup(self.script),  # noqa: S704
            theme=Markup(self.theme),  # noqa: S704
            policy=policy,
            newest=self.newest,
        )
        target = self.out / path
        with replacing(target) as file:
            file.write(text.encode())
        self.written.add(path)
        return target

    def finish(self) -> None:
        """Removes what an earlier build wrote and this one didn't, then says what this one wrote."""
        built.remove(self.out, set(self.before.files) - self.written)
        built.write(self.out, built.Built(files=tuple(sorted(self.written)), previews=self.previews))


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
