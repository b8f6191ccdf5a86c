"""The site says what the records say, carries nothing of a stranger's but text, and needs nobody else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.builders.records import GOOD, a_record, seeds
from tests.builders.sites import HARM, write_harmful_entry, write_manifest, write_records, write_rerun
from vddbench.commands.site import site
from vddbench.data.store import Store
from vddbench.leaderboard.reruns import Rerun
from vddbench.leaderboard.site import instructions, protocol_page
from vddbench.leaderboard.site.board import aggregated, assembled, board_of, ranked
from vddbench.leaderboard.site.build import MAX_LEFT_OUT, build, build_published
from vddbench.leaderboard.site.entries import Table
from vddbench.leaderboard.site.filters import link
from vddbench.leaderboard.site.inventory import INVENTORY, Inventory, PayloadView, read_inventory
from vddbench.leaderboard.site.local_submissions import LocalSubmission, find_submissions
from vddbench.leaderboard.site.page_writer import without_folders
from vddbench.leaderboard.site.payload_views import NO_PAYLOAD, payload_view
from vddbench.leaderboard.site.sections import task_section
from vddbench.protocol import V1
from vddbench.records.files import write_record
from vddbench.submissions import previews
from vddbench.submissions.manifest import read_manifest
from vddbench.submissions.submission import read

VOID = {"meta", "link", "br", "img", "input", "wbr", "hr"}


class Parsed(HTMLParser):
    """Elements, links and text of a page as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.text += data


@pytest.fixture(scope="module")
def folders(tiny: Store, tiny_random: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/ and submissions/ of four entries, one of them harmful, and `random` with its payload."""
    root = tmp_path_factory.mktemp("made")
    sha = read(tiny_random).manifest.sha256
    write_records(root / "results", tiny, "random", [0.2, 0.2, 0.3], submission_sha256=sha)
    write_records(root / "results", tiny, "good", [0.9, 0.9, 0.95], payload_bytes=1000)
    write_records(root / "results", tiny, "good", [0.7, 0.7], payload_bytes=1000, student="convnet_gru", protocol_hash="3" * 64)
    write_records(root / "results", tiny, "random", [0.3], submission_sha256=sha, student="convnet_gru", protocol_hash="3" * 64)
    write_records(root / "results", tiny, "as_good", [0.9, 0.92, 0.9])
    write_rerun(root / "results", "as_good", "maintainer")
    shutil.copytree(tiny_random.parents[1], root / "submissions")
    write_harmful_entry(root, tiny)
    return root


@pytest.fixture(scope="module")
def built_site(folders: Path) -> Path:
    return build([folders / "results"], [folders / "submissions"], folders / "site")


@pytest.fixture(scope="module")
def tables(folders: Path) -> Sequence[Table]:
    [(_, found)] = board_of([folders / "results"]).tables_by_task().items()
    return found


def pages(index: Path) -> list[Path]:
    return sorted(index.parent.rglob("*.html"))


def test_rows_stand_as_they_are_ranked_and_lead_to_their_pages(folders: Path, built_site: Path) -> None:
    rows = board_of([folders / "results"]).rows
    due = rows[(rows["student"] == "convnet3d") & rows["rank"].notna()]["method"].tolist()
    text = built_site.read_text()
    table = text[text.index('<table class="ranks by-rank"') : text.index("</table>")]
    ranked_part, unranked_part = table.split('<tbody class="unranked">')
    links = re.findall(r'href="(s/[^"]+)">([a-z_]+)<', ranked_part)
    assert [name for _, name in links] == due and due[-1] == "random"
    assert all((built_site.parent / path).is_file() for path, _ in links)
    assert "fewer than 3 trained students" in unranked_part and ">harm<" in unranked_part and ">harm<" not in ranked_part


def test_entries_that_are_not_told_apart_share_a_rank(built_site: Path) -> None:
    first = re.findall(r'<td class="rank">(\d+)(?: <span class="r">([^<]*)</span>)?', built_site.read_text())[:2]
    assert [rank for rank, _ in first] == ["1", "1"] and "1–2" in {interval for _, interval in first}


def test_every_page_is_whole_html_of_our_own_script_and_style_only(built_site: Path) -> None:
    found = pages(built_site)
    assert len(found) == 3 + 4
    for page in found:
        parsed = Parsed(page.read_text())
        assert not parsed.open
        assert [tag for tag, _ in parsed.tags].count("script") == 2
        for tag, attributes in parsed.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert tag not in {"iframe", "object", "embed", "base", "form"} or attributes.get("id") == "filters"
            for name in ("src", "href"):
                assert not re.match(r"\s*(?:javascript|data:text|vbscript)", attributes.get(name, ""), re.IGNORECASE)


def test_what_strangers_write_is_text(folders: Path, built_site: Path, tiny: Store) -> None:
    page = built_site.parent / f"s/{tiny.name}-ipc1/harm@ffffffff/index.html"
    parsed = Parsed(page.read_text())
    assert parsed.text.count(HARM) >= 6  # as it was written, nothing of it obeyed
    assert not [tag for tag, _ in parsed.tags if tag == "img"]
    assert "A. \ufffdName\ufffd" in parsed.text  # which would turn the text around it
    assert all(
        attributes.get("rel") == "noopener nofollow"
        for tag, attributes in parsed.tags
        if "https:" in attributes.get("href", "")
    )


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://x", 'https://x" onclick=', "https://x y", "data:text/html,x", ""]
)
def test_only_plain_https_addresses_become_links(url: str) -> None:
    assert link(url) == "" and link("https://arxiv.org/abs/2110.04181?a=b#c") == "https://arxiv.org/abs/2110.04181?a=b#c"


def test_nothing_is_fetched_from_anywhere(built_site: Path) -> None:
    for page in pages(built_site):
        for tag, attributes in Parsed(page.read_text()).tags:
            assert tag != "link" or attributes["href"] == "data:,"
            assert not attributes.get("src", "").startswith(("http", "//"))
        assert "url(" not in page.read_text() and "@import" not in page.read_text()


def test_a_page_shows_one_looping_preview_a_class_and_every_tensors_bytes(
    tiny: Store, tiny_random: Path, built_site: Path
) -> None:
    submission = read(tiny_random)
    page = built_site.parent / f"s/{tiny.name}-ipc1/random@{submission.manifest.sha256[:8]}/index.html"
    parsed = Parsed(page.read_text())
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(images) == tiny.spec.num_classes and {image["loading"] for image in images} == {"lazy"}
    assert all((page.parent / image["src"]).stat().st_size < 50_000 for image in images)
    for tensor in submission.tensors.values():
        assert f"{tensor.numel() * tensor.element_size():,}" in parsed.text
    assert f"vddbench evaluate submissions/{tiny.name}-ipc1/random" in parsed.text
    assert "vddbench distill random --task" in parsed.text


def test_a_page_without_the_payload_says_so(built_site: Path) -> None:
    assert (
        "The manifest of this submission was not available" in next(built_site.parent.glob("s/*/good@*/index.html")).read_text()
    )
    harm = next(built_site.parent.glob("s/*/harm@*/index.html")).read_text()
    assert "The distilled clips were not available" in harm and "<img" not in harm


def test_a_payload_that_is_not_what_its_manifest_says_is_not_shown(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "submissions", tmp_path / "submissions")
    data = next(tmp_path.glob("submissions/*/random/data.safetensors"))
    data.write_bytes(data.read_bytes()[:-1] + b"\x01\x02")
    index = build([folders / "results"], [tmp_path / "submissions"], tmp_path / "site")
    text = next(index.parent.glob("s/*/random@*/index.html")).read_text()
    assert "The payload was refused" in text and "sha256" in text and str(tmp_path) not in text


def test_a_manifest_elsewhere_does_not_speak_for_anothers_page(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "submissions", tmp_path / "submissions")
    honest = next((tmp_path / "submissions").glob("*/random/manifest.json"))
    forged = tmp_path / "submissions" / "0-ipc1" / "0@00000000" / "manifest.json"  # stands before it
    forged.parent.mkdir(parents=True)
    forged.write_text(json.dumps({**json.loads(honest.read_text()), "authors": ["Mallory"]}))
    found, refused = find_submissions([tmp_path / "submissions"])
    assert not any("Mallory" in each.manifest.authors for each in found.values())
    assert any("it belongs in" in line for line in refused)


def test_the_same_records_make_the_same_pages_and_no_preview_twice(folders: Path, built_site: Path, tmp_path: Path) -> None:
    again = build([folders / "results"], [folders / "submissions"], tmp_path / "site")
    for page in pages(built_site):
        assert page.read_bytes() == (tmp_path / "site" / page.relative_to(built_site.parent)).read_bytes()
    made = {path: path.stat().st_mtime_ns for path in again.parent.rglob("*.webp")}
    build([folders / "results"], [folders / "submissions"], tmp_path / "site")
    assert made and made == {path: path.stat().st_mtime_ns for path in again.parent.rglob("*.webp")}


def test_a_new_build_removes_its_own_old_pages_and_nothing_else(folders: Path, tiny: Store, tmp_path: Path) -> None:
    write_records(tmp_path / "results", tiny, "random", [0.2, 0.3, 0.2])
    write_records(tmp_path / "results", tiny, "gone", [0.5, 0.5, 0.5])
    out = tmp_path / "site"
    build([tmp_path / "results"], [], out)
    (out / "README.md").write_text("mine")
    for name in ("precious.html", "absolute.html"):
        (tmp_path / name).write_text("mine")
    note = read_inventory(out)
    forged = ("../precious.html", "README.md", str(tmp_path / "absolute.html"))
    note.model_copy(update={"files": (*note.files, *forged)}).write(out)
    shutil.rmtree(next((tmp_path / "results").glob("*/gone@*")))
    build([tmp_path / "results"], [], out)
    assert not list(out.glob("s/*/gone@*")) and list(out.glob("s/*/random@*/index.html"))
    kept = (out / "README.md", tmp_path / "precious.html", tmp_path / "absolute.html")
    assert [path.read_text() for path in kept] == ["mine"] * 3


def test_a_note_that_is_not_ours_is_no_note(tmp_path: Path) -> None:
    for text in ("", "[1, 2", '{"files": 3}', '["index.html"]'):
        (tmp_path / INVENTORY).write_text(text)
        assert read_inventory(tmp_path) == Inventory()


def test_the_front_page_names_few_refused_files_and_counts_the_others(tiny: Store, tmp_path: Path) -> None:
    write_records(tmp_path / "results", tiny, "random", [0.2, 0.3, 0.2])
    for method in range(MAX_LEFT_OUT + 5):
        write_manifest(tmp_path / "submissions", "toy-ipc1", f"bad_{method}", "a" * 64)
        (tmp_path / f"submissions/toy-ipc1/bad_{method}/manifest.json").write_text("{")
    text = build([tmp_path / "results"], [tmp_path / "submissions"], tmp_path / "site").read_text()
    assert text.count("is not valid JSON") == MAX_LEFT_OUT and "<li>... and 5 more</li>" in text


def test_one_bad_reference_takes_the_overall_table_of_its_student_alone() -> None:
    found = []
    for task in ("a-ipc1", "a-ipc5"):
        found += [*seeds("mine", [0.5, 0.5, 0.5], task=task), *seeds("random", [0.1] * 3, task=task)]
    found += seeds("full", [0.9, 0.9, 0.9], task="a-full")
    rows, problems = aggregated(found)
    assert not problems and set(rows["student"]) == {found[0].record.student}
    other = {"student": "convnet_gru", "protocol_hash": "9" * 64, "task": "a-ipc1"}
    for sha in ("e" * 64, "f" * 64):
        found += [
            replace(one, record=one.record.model_copy(update={"submission_sha256": sha}))
            for one in seeds("random", [0.1] * 3, **other)
        ]
    again, problems = aggregated(found)
    pd.testing.assert_frame_equal(again, rows)
    assert len(problems) == 1 and "no table over all tasks of student convnet_gru" in problems[0]


def everything(out: Path, note: Inventory) -> dict[str, bytes]:
    return {path: (out / path).read_bytes() for path in note.files if (out / path).is_file()}


def test_a_publisher_without_payloads_or_data_makes_the_same_pages(
    folders: Path, tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_of([folders / "results"])
    manifests = tmp_path / "submissions"
    for path in folders.glob("submissions/*/*/manifest.json"):
        sha = read_manifest(path.parent.resolve()).sha256
        place = manifests / path.parent.parent.name / f"{path.parent.name}@{sha[:8]}"
        place.mkdir(parents=True)
        shutil.copy(path, place)
    first = build_published(board, tmp_path, [folders / "submissions"], tmp_path / "a", Inventory(), "lab/results")
    assert (
        "vddbench pull --task tiny-ipc1 --submissions --results-repo lab/results"
        in everything(tmp_path / "a", first)[
            next(path for path in first.files if path.startswith(f"s/{tiny.name}-ipc1/random@") and path.endswith(".html"))
        ].decode()
    )
    page = f"s/{tiny.name}-ipc1/random@"
    clips = [path for path in first.files if path.startswith(page) and path.endswith(".webp")]
    assert len(clips) == tiny.spec.num_classes
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "nothing prepared"))
    second = build_published(board, tmp_path, [], tmp_path / "b", first, "lab/results")
    assert second == first
    pages = {path: data for path, data in everything(tmp_path / "a", first).items() if path not in clips}
    assert everything(tmp_path / "b", second) == pages  # the clips are there already


def test_clips_that_are_published_already_are_not_made_again(
    tiny: Store, tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, unseen = LocalSubmission(tiny_random, read(tiny_random).manifest), PayloadView()
    first = payload_view(found, tiny.spec, tmp_path / "a", None, unseen)
    assert first.previews is not None and len(list((tmp_path / "a").iterdir())) == tiny.spec.num_classes
    monkeypatch.setattr(previews, "write", None)  # would raise: another encoder's bytes differ
    assert payload_view(found, tiny.spec, tmp_path / "b", None, first) == first and not (tmp_path / "b").exists()
    monkeypatch.undo()
    older = first.model_copy(update={"previews": first.previews.model_copy(update={"source_digest": "older"})})
    assert payload_view(found, tiny.spec, tmp_path / "b", None, older) == first and (tmp_path / "b").is_dir()


def test_what_can_not_be_shown_here_stays_as_it_is_published(
    tiny: Store, tiny_random: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_random, tmp_path / "random"))
    found, unseen = LocalSubmission(folder, read(tiny_random).manifest), PayloadView()
    whole = payload_view(found, tiny.spec, tmp_path / "out", None, unseen)
    half = payload_view(found, None, tmp_path / "out", None, unseen)  # its dataset is not prepared: tensors, no clips
    assert half.tensors == whole.tensors and half.previews is None and "not prepared" in half.missing
    assert payload_view(found, None, tmp_path / "out", None, whole) == whole
    (folder / "data.safetensors").write_bytes(b"damaged")
    for published in (whole, half):
        assert payload_view(found, tiny.spec, tmp_path / "out", None, published) == published
    assert payload_view(found, tiny.spec, tmp_path / "out", None, unseen).missing == NO_PAYLOAD
    assert "refused" in capsys.readouterr().err  # this machine's, so it is said here
    (folder / "data.safetensors").unlink()
    for published in (whole, half):
        assert payload_view(found, None, tmp_path / "out", None, published) == published
    assert payload_view(None, None, tmp_path / "out", None, whole).tensors == ()  # nobody's manifest: nothing of it is shown


def test_refused_records_are_named_without_where_they_lie(tiny: Store, tmp_path: Path) -> None:
    write_records(tmp_path / "results", tiny, "random", [0.2, 0.3, 0.2])
    bad = write_record(tmp_path / "results", a_record(), GOOD)
    bad.write_text(bad.read_text().replace('"top1": 0.5', '"top1": 0.9'))
    write_manifest(tmp_path / "submissions", "toy-ipc1", "mine", "a" * 64)
    (tmp_path / "submissions/toy-ipc1/mine/manifest.json").write_text("{")
    index = build([tmp_path / "results"], [tmp_path / "submissions"], tmp_path / "site")
    text = index.read_text()
    assert "toy-ipc1/mine@abababab/convnet3d/seed0.json says top1 = 0.9" in text and "is not valid JSON" in text
    assert str(tmp_path) not in text
    assert without_folders(f"{tmp_path}/a: {tmp_path}", [tmp_path]) == f"a: {tmp_path.name}"


def test_nothing_to_show_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(site, ["build", "--results", str(tmp_path), "--out", str(tmp_path / "site")])
    assert done.exit_code == 1 and not (tmp_path / "site").exists()
    with pytest.raises(FileNotFoundError, match="vddbench evaluate"):
        build([tmp_path], [], tmp_path / "site")


def test_one_student_that_collapsed_is_shown_as_it_is(tmp_path: Path) -> None:
    answers = replace(GOOD, top5=np.full_like(GOOD.top5, -1), centre_top1=np.full_like(GOOD.centre_top1, -1))
    record = a_record(top1=0.0, top5=0.0, centre_top1=0.0, checks={"finite": False})
    write_record(tmp_path / "results", record, answers)
    text = Parsed(build([tmp_path / "results"], [], tmp_path / "site").read_text()).text
    assert "collapsed, under 3 students" in text and "NaN" not in text and "nan" not in text
    assert ">finite</td>" in next((tmp_path / "site").glob("s/*/*/index.html")).read_text()


def test_what_papers_report_stands_below_and_has_no_rank(tmp_path: Path) -> None:
    for seed in range(3):
        write_record(tmp_path / "results", a_record(task="miniucf-ipc1", seed=seed), GOOD)
    text = build([tmp_path / "results"], [], tmp_path / "site").read_text()
    section = text[text.index('<section class="task" id="miniucf-ipc1"') : text.index("</section>")]
    ranked_part, papers = section.split("What papers report")
    assert (
        "never ranked" in papers and "2312.00362" in papers and "2312.00362" not in ranked_part and 'class="rank"' not in papers
    )
    assert '<section class="task" id="reported"' in text  # tasks of papers without records


def test_transfer_is_method_by_student(tables: Sequence[Table], built_site: Path) -> None:
    heat = task_section("tiny-ipc1", tables, None).transfer["hard"]
    assert heat.columns == ("convnet3d", "convnet_gru")
    values = {row.entry.method: row.values for row in heat.rows}
    assert values["good"][0] > values["good"][1] > 0.4 and pd.isna(values["as_good"][1])
    assert "<h3>Transfer to other networks</h3>" in built_site.read_text()


def test_accuracy_by_class_adds_up_to_the_score(tables: Sequence[Table]) -> None:
    for row in task_section("tiny-ipc1", tables, None).tables[0].classes.rows:
        assert sum(row.values) / len(row.values) == pytest.approx(row.entry.top1)  # as many test videos of each class


def test_re_runs_count_when_the_number_came_out_again() -> None:
    found = [*seeds("a", [0.5, 0.5, 0.5]), *seeds("random", [0.1] * 3)]
    sha = found[0].record.submission_sha256

    def by(who: str, kind: str, inside: bool | None) -> Rerun:
        return Rerun(kind, who, "2026-01-01T00:00:00Z", "convnet3d", 0, 0.5, 0.5, inside)  # type: ignore[arg-type]

    rows, _ = ranked(found)
    again = [by("m", "verified", True), by("n", "verified", False), by("x", "reproduced", True), by("y", "reproduced", False)]
    line = assembled(rows, found, {sha: again}).tables[0].entries[0]
    assert (line.method, line.verified_by, line.reproductions) == ("a", ("m",), 1)


def test_who_ran_it_again_stands_in_the_row_and_on_the_page(built_site: Path) -> None:
    rows = re.findall(r"<tr[^>]*data-verified.*?</tr>", built_site.read_text(), re.DOTALL)
    assert len(rows) == 1 and ">as_good<" in rows[0] and "maintainer" in rows[0]
    text = Parsed(next(built_site.parent.glob("s/*/as_good@*/index.html")).read_text()).text
    assert "Trained again by others" in text and "verified" in text and "contains 0" in text and "2026-02-03" in text


def test_every_value_of_the_protocol_is_shown_with_its_reason(built_site: Path) -> None:
    assert set(protocol_page.WHY) == set(type(V1).model_fields)
    text = Parsed((built_site.parent / "protocol.html").read_text()).text
    for row in protocol_page.protocol_rows():
        assert row.name in text and row.value in text and row.why in text
    for student in protocol_page.students():
        assert student.name in text and student.hash[:8] in text


def test_bibtex_holds_no_command_of_a_strangers(folders: Path) -> None:
    record = a_record(method="a_b")
    text = instructions.bibtex([record], None)
    assert text.startswith("@misc{a_b_toy_ipc1_abababab,") and r"a\_b on toy-ipc1" in text
    manifest = write_manifest(folders / "bib", "toy-ipc1", "a_b", "a" * 64, authors=("\\input{/etc/passwd} % $x$", "B_C"))
    text = instructions.bibtex([record], read_manifest(manifest.resolve()))
    assert "input/etc/passwd" in text and "\\input" not in text and r"and B\_C" in text


def test_looking_at_records_needs_no_torch() -> None:
    code = "import sys, vddbench.leaderboard.site.build; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
