"""Pages show what the records say, and nothing of a stranger's but text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.builders.records import GOOD, a_record
from tests.builders.sites import HARM, ParsedPage, write_manifest
from tests.leaderboard.test_replayed import written
from vddbench import lookup
from vddbench.data.store import Store
from vddbench.leaderboard import evidence, reported
from vddbench.leaderboard.divisions import nobody, question
from vddbench.leaderboard.marks import BY_NAME, MARKS
from vddbench.leaderboard.site import instructions, protocol_page
from vddbench.leaderboard.site.board import board_of
from vddbench.leaderboard.site.build import build
from vddbench.leaderboard.site.entries import Table
from vddbench.leaderboard.site.filters import link, position
from vddbench.leaderboard.site.sections import task_section
from vddbench.protocol import PROTOCOL
from vddbench.records.files import write_record
from vddbench.spec import FULL, IPCS, Task
from vddbench.submissions.manifest import read_manifest
from vddbench.submissions.submission import read


def pages(index: Path) -> list[Path]:
    return sorted(index.parent.rglob("*.html"))


def test_rows_are_in_the_order_of_ranks_and_link_to_their_pages(folders: Path, built_site: Path) -> None:
    rows = board_of([folders / "results"]).rows
    of_table = [row for row in rows if (row["student"], row["division"]) == ("convnet3d", "ipc")]
    expected = [row["method"] for row in of_table if row["rank"] > 0]
    text = built_site.read_text()
    table = text[text.index('<table class="ranks by-rank') :].partition("</table>")[0]
    ranked_part, unranked_part = table.split('<tbody class="unranked">')
    links = re.findall(r'href="(s/[^"]+)">([a-z_]+)<', ranked_part)
    assert [name for _, name in links] == expected and expected[-1] == "random"
    assert all((built_site.parent / path).is_file() for path, _ in links)
    assert "Not ranked" in unranked_part and ">harm<" in unranked_part and ">harm<" not in ranked_part


def test_entries_that_do_not_differ_share_a_rank(built_site: Path) -> None:
    first = re.findall(r'<td class="rank">(\d+)(?: <span class="r">([^<]*)</span>)?', built_site.read_text())[:2]
    assert [rank for rank, _ in first] == ["1", "1"] and "1–2" in {interval for _, interval in first}


def test_every_page_is_whole_html_with_no_script_but_ours_and_loads_nothing(built_site: Path) -> None:
    assert len(pages(built_site)) == 3 + 4
    for page in pages(built_site):
        parsed = ParsedPage(page.read_text())
        assert not parsed.open
        assert [tag for tag, _ in parsed.tags].count("script") == 2
        for tag, attributes in parsed.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert tag not in {"iframe", "object", "embed", "base", "form"} or attributes.get("id") == "filters"
            for name in ("src", "href"):
                assert not re.match(r"\s*(?:javascript|data:text|vbscript)", attributes.get(name, ""), re.IGNORECASE)
            assert tag != "link" or attributes["href"] == "data:,"
            if attributes.get("href", "").startswith("https:"):  # a Space is in a frame, which other pages refuse
                assert (attributes["target"], attributes["rel"]) == ("_blank", "noopener nofollow")
            assert not attributes.get("src", "").startswith(("http", "//"))
        assert "url(" not in page.read_text() and "@import" not in page.read_text()


def test_what_strangers_write_is_text(folders: Path, built_site: Path, tiny: Store) -> None:
    page = built_site.parent / f"s/{tiny.name}-ipc1/harm@ffffffff/index.html"
    parsed = ParsedPage(page.read_text())
    assert parsed.text.count(HARM) >= 6  # as it was written, nothing of it obeyed
    assert not [tag for tag, _ in parsed.tags if tag == "img"]
    assert "A. \ufffdName\ufffd" in parsed.text  # which would turn the text around it


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://x", 'https://x" onclick=', "https://x y", "data:text/html,x", ""]
)
def test_only_plain_https_addresses_become_links(url: str) -> None:
    assert link(url) == "" and link("https://arxiv.org/abs/2110.04181?a=b#c") == "https://arxiv.org/abs/2110.04181?a=b#c"


def test_a_page_shows_one_looping_preview_a_class_and_every_tensors_bytes(
    tiny: Store, tiny_random: Path, built_site: Path
) -> None:
    submission = read(tiny_random)
    page = built_site.parent / f"s/{tiny.name}-ipc1/random@{submission.manifest.sha256[:8]}/index.html"
    parsed = ParsedPage(page.read_text())
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    stills = [attributes for tag, attributes in parsed.tags if tag == "source"]
    assert {still["media"] for still in stills} == {"(prefers-reduced-motion: reduce)"}
    assert all((page.parent / still["srcset"]).is_file() for still in stills) and len(stills) == len(images)
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


def test_every_mark_is_explained_and_a_collapsed_student_has_one_and_no_value_is_nan(tmp_path: Path) -> None:
    answers = replace(GOOD, top5=np.full_like(GOOD.top5, -1), centre_top1=np.full_like(GOOD.centre_top1, -1))
    record = a_record(top1=0.0, top5=0.0, centre_top1=0.0, checks={"finite": False}, external=True)
    write_record(tmp_path / "results", record, answers)
    page = build([tmp_path / "results"], [], tmp_path / "site").read_text()
    text = ParsedPage(page).text
    for mark in MARKS:
        assert f"<li><em>{mark.name}</em>: {mark.sentence}</li>" in unescape(page)
    assert f"<dt>collapsed</dt><dd>{BY_NAME['collapsed'].sentence}</dd>" in unescape(page)  # below the table
    assert "repeated payload" not in page.partition("<h3>What all entries share")[0]  # which no row has
    assert "data-own" not in page.split("<tbody", 1)[1].split("</tbody>")[0]  # the filter "no external data"
    assert "external, collapsed (1 of 1 student), under 3 students" in text and "NaN" not in text and "nan" not in text
    assert ">finite</td>" in next((tmp_path / "site").glob("s/*/*/index.html")).read_text()


def test_what_papers_report_is_below_the_ranked_table_and_has_no_rank(
    tmp_path: Path, no_charts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "contradiction", lambda record, dataset: None)  # four videos represent those of miniucf
    for seed in range(3):
        write_record(tmp_path / "results", a_record(task="miniucf-ipc1", seed=seed, method="dm_fast"), GOOD)
    text = build([tmp_path / "results"], [], tmp_path / "site").read_text()
    section = section_of(text, "miniucf-ipc1")
    ranked_part, papers = section.split("<h3>What papers report")
    assert (
        "never ranked" in papers and "2312.00362" in papers and "2312.00362" not in ranked_part and 'class="rank"' not in papers
    )
    assert re.search(r'href="s/miniucf-ipc1/dm_fast@\w+/index.html">dm_fast 50.0 %</a>', papers)  # measured here
    assert "Replayed here" not in text  # there are no records of protocol sdd


def test_scores_of_the_replayed_protocol_are_beside_what_papers_report(
    tmp_path: Path, no_charts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only with the network and the epochs of papers, and also for a task without ranked records."""
    monkeypatch.setattr(evidence, "contradiction", lambda record, dataset: None)
    results = tmp_path / "results"
    written(results, "dm", "v3")
    written(results, "dm", "sdd")
    written(results, "mtt_fast", "sdd", epochs=2)
    written(results, "mtt", "sdd", student="convnet_gru")
    written(results, "random", "sdd", task="miniucf-ipc5", seeds=[0])
    written(results, "full", "sdd", task="miniucf-full", budget_bytes=None)
    text = build([results], [], tmp_path / "site").read_text()
    replayed = {
        "miniucf-ipc1": ["dm 58.3 ± 0.0 % (3)", "full 58.3 ± 0.0 % (3)"],
        "miniucf-ipc5": ["random 58.3 % (1)", "full 58.3 ± 0.0 % (3)"],
    }
    for task, cells in replayed.items():
        papers = section_of(text, task).split("<h3>What papers report")[1]
        assert papers.count(">Replayed here<") == papers.count("Replayed here: top‑1 under protocol") == 1
        assert sorted(re.findall(r'<td class="t">(\w+ [\d.]+(?: ± [\d.]+)? % \(\d\))</td>', papers)) == sorted(cells)


def section_of(text: str, task: str) -> str:
    return text[text.index(f'<section class="task" id="{task}"') :].partition("</section>")[0]


def test_every_bundled_task_has_a_section_miniucf_first_and_without_records_it_says_so(built_site: Path) -> None:
    text = built_site.read_text()
    sections = re.findall(r'<section class="task" id="([^"]+)"', text)
    assert sections[:3] == ["miniucf-ipc1", "miniucf-ipc5", "miniucf-ipc10"] and "tiny-ipc1" in sections
    assert set(sections) >= {f"{dataset}-ipc{ipc}" for dataset in lookup.names("dataset") for ipc in IPCS}
    for task, reports in (("miniucf-ipc5", True), ("ssv2-ipc1", False)):
        section = ParsedPage(section_of(text, task)).text
        assert "No record yet." in section and f"vddbench distill random --task {task}" in section
        assert ("Papers report up to 31.2" in section) == reports and "tiny-ipc1 (" in section


def test_a_task_for_which_papers_report_only_full_has_a_section(
    tmp_path: Path, no_charts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = reported.read()
    monkeypatch.setattr(reported, "read", lambda: [row for row in rows if row.method == FULL])
    write_record(tmp_path / "results", a_record(), GOOD)
    section = section_of(build([tmp_path / "results"], [], tmp_path / "site").read_text(), "miniucf-ipc1")
    assert "No record yet." in section and "Papers report up to" not in section and "57.2" in section


def test_each_table_is_there_as_csv_and_latex(folders: Path, built_site: Path, tables: Sequence[Table]) -> None:
    for table in tables:
        rows = pd.read_csv(built_site.parent / f"tables/{table.name}.csv")
        assert rows["method"].tolist() == [entry.method for entry in table.entries]
        assert rows["top1"].tolist() == pytest.approx([entry.top1 for entry in table.entries])
        assert (built_site.parent / f"tables/{table.name}.tex").read_text().count(r" \\  %") == len(rows)


def test_bars_have_a_scale_of_the_table_and_columns_without_values_are_hidden(tables: Sequence[Table]) -> None:
    table = next(table for table in tables if table.division == "ipc" and table.student == "convnet3d")
    low, high = table.scale
    for entry in table.entries:
        assert low <= entry.top1 <= high <= 1 and int(position(entry.top1, table.scale)) in range(101)
    random = next(entry for entry in table.entries if entry.method == "random")
    assert table.random == pytest.approx(random.top1) and table.hidden == ("gap", "date")  # no record of `full`


def test_bars_of_a_table_in_which_every_answer_is_right_have_a_scale(tables: Sequence[Table]) -> None:
    """A stranger's only entry of a task would otherwise end the build with a division by zero."""
    entry = replace(tables[0].entries[0], row={**tables[0].entries[0].row, "top1": 1.0, "low": 1.0, "high": 1.0, "gain": 0.0})
    table = replace(tables[0], entries=(entry,), full=())
    assert table.scale == (0.9, 1.0) and position(entry.top1, table.scale) == "100"


def test_the_submit_page_prepares_the_stores_of_the_board(tiny: Store, built_site: Path) -> None:
    spec = tiny.spec
    command = f"--folder DIR --frames {spec.frames} --size {spec.size} --stride {spec.stride}"
    assert f"vddbench prepare tiny {command}" in ParsedPage((built_site.parent / "submit.html").read_text()).text
    from_hub = spec.model_copy(update={"origin": f"https://huggingface.co/datasets/lab/videos at commit {'a' * 40}"})
    assert instructions.prepare("mine", from_hub).startswith(f"vddbench prepare mine --hub lab/videos@{'a' * 40} --frames")
    assert instructions.prepare("miniucf", from_hub) == f"vddbench prepare miniucf --raw DIR --hub lab/videos@{'a' * 40}"


def test_a_division_without_entries_is_a_sentence_and_pages_link_to_the_division(tmp_path: Path, no_charts: None) -> None:
    write_record(tmp_path / "results", a_record(clips_per_class=4.0), GOOD)
    page = build([tmp_path / "results"], [], tmp_path / "site").read_text()
    empty, of_open = page.split('<article class="table"')[1:]
    task = Task.parse("toy-ipc1")
    assert 'data-division="ipc"' in empty and "<table" not in empty
    assert question(task, "ipc") in empty and nobody(task, "ipc") in empty
    assert 'data-division="open"' in of_open and question(task, "open") in of_open
    assert f"; guessing {100 / a_record().num_classes:.1f}" in of_open
    assert 'index.html#toy-ipc1&amp;division=open"' in next((tmp_path / "site").glob("s/*/*/index.html")).read_text()


def test_the_page_of_full_links_to_its_dataset_because_no_section_is_about_it(tmp_path: Path, no_charts: None) -> None:
    write_record(tmp_path / "results", a_record(), GOOD)
    full = {"task": "toy-full", "method": FULL, "budget_bytes": None, "submission_sha256": "b" * 64}
    write_record(tmp_path / "results", a_record(**full), GOOD)
    build([tmp_path / "results"], [], tmp_path / "site")
    assert 'index.html#toy">toy-full</a>' in next((tmp_path / "site").glob("s/toy-full/*/index.html")).read_text()


def test_transfer_is_method_by_student(tables: Sequence[Table], built_site: Path) -> None:
    heat = task_section("tiny-ipc1", tables, None).transfer["hard", "open"]
    assert heat.columns == ("convnet3d", "convnet_gru")
    values = {row.entry.method: row.values for row in heat.rows}
    assert values["good"][0] > values["good"][1] > 0.4 and pd.isna(values["as_good"][1])
    assert "<h3>Transfer to other networks</h3>" in built_site.read_text()


def test_a_maintainers_rerun_is_shown_in_the_row_and_on_the_page(built_site: Path) -> None:
    rows = re.findall(r"<tr[^>]*data-verified.*?</tr>", built_site.read_text(), re.DOTALL)
    assert len(rows) == 2 and all(">as_good<" in row and "maintainer" in row for row in rows)  # in both divisions
    text = ParsedPage(next(built_site.parent.glob("s/*/as_good@*/index.html")).read_text()).text
    assert "Trained again by others" in text and "contains 0" in text and "2026-02-03" in text


def test_every_value_of_the_protocol_is_shown_with_its_reason(built_site: Path) -> None:
    assert set(protocol_page.WHY) == set(type(PROTOCOL).model_fields)
    text = ParsedPage((built_site.parent / "protocol.html").read_text()).text
    for row in protocol_page.protocol_rows():
        assert row.name in text and row.value in text and row.why in text
    for student in protocol_page.students():
        assert student.name in text and student.hash[:8] in text


def test_a_set_of_a_baseline_has_its_command_and_cites_the_paper_of_its_method(folders: Path) -> None:
    config = {"preset": "fast_1x1"}
    manifest = write_manifest(folders / "cited", "toy-ipc1", "dm_sdd_fast_1x1", "a" * 64, paper="https://x.y/p", config=config)
    stated = read_manifest(manifest.resolve())
    assert instructions.distill_command(stated) == "vddbench distill dm_sdd --task toy-ipc1 --seed 0 --preset fast_1x1"
    text = instructions.bibtex([a_record(method="dm_sdd_fast_1x1")], stated)
    assert "author = {{vddbench}}" in text and r"after \url{https://x.y/p}" in text and "howpublished" not in text


def test_bibtex_contains_no_tex_command_of_a_stranger(folders: Path) -> None:
    record = a_record(method="a_b")
    text = instructions.bibtex([record], None)
    assert text.startswith("@misc{a_b_toy_ipc1_abababab,") and r"a\_b on toy-ipc1" in text
    manifest = write_manifest(folders / "bib", "toy-ipc1", "a_b", "a" * 64, authors=("\\input{/etc/passwd} % $x$", "B_C"))
    text = instructions.bibtex([record], read_manifest(manifest.resolve()))
    assert "input/etc/passwd" in text and "\\input" not in text and r"and B\_C" in text
