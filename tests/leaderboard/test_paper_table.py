"""The table of papers: every reported number with its origin, measured ones of one protocol beside them, nothing ranked."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.builders.records import FULL, seeds
from tests.leaderboard.test_replayed import TASK, root, written  # noqa: F401 - a fixture
from vddbench.leaderboard.evidence import Loaded
from vddbench.leaderboard.paper_numbers import MEASURED, measured_on, numbers
from vddbench.leaderboard.paper_table import FORMS, TASKS, drawn, show
from vddbench.leaderboard.reported import read
from vddbench.protocol import PROTOCOL, SDD, Sdd

NOTHING = Loaded([], [])


def test_without_records_every_number_of_the_papers_has_a_link_and_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    show([Path("none")], "md")
    text = capsys.readouterr().out
    rows = read()
    shown = [row for row in rows if f"{row.dataset}-ipc{row.ipc}" in TASKS and row.top1_mean is not None]
    cells = re.findall(r"\d\.\d(?: ± \d\.\d)? \[(\d+)\]", text)
    assert len(cells) == len(shown) + 4  # `full` of both datasets at both ipc
    assert all(f"\n* [{k}] " in text and f"\n[{k}]: https://" in text for k in cells)
    assert "network: not stated" in text and "selection: best mean test accuracy of 11 checkpoints" in text
    assert "measured:" not in text
    methods = re.findall(r"^\| (\w+)", text, re.M)[1:]
    assert methods == list(dict.fromkeys(row.method for row in rows if row in shown or row.method == "full"))


@pytest.mark.parametrize(("protocol", "mean"), [(PROTOCOL, "50.0"), (SDD, "58.3"), (Sdd(epochs=20), "")])
def test_measured_numbers_are_of_one_protocol(root: Path, protocol: Sdd, mean: str, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    for name in ("v3", "sdd"):
        written(root, "dm", name)
    written(root, "mine", "sdd", student="convnet_gru")
    show([root], "md", protocol=protocol)
    output = capsys.readouterr()
    (line,) = (line for line in output.out.splitlines() if line.startswith("| dm "))
    assert re.findall(r"\d+\.\d ± 0\.0 \(3\)", line) == ([f"{mean} ± 0.0 (3)"] if mean else []) and "15.3 ± 1.1 [" in line
    assert ("measured" in output.out.splitlines()[0]) == bool(mean)
    assert re.search(r"no record of these tasks.*; the bundled records: --results \S*leaderboard/results\n", output.err) or mean


def test_records_of_other_epochs_are_named_with_the_option_that_shows_them(
    root: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(root, "mine", "sdd", epochs=2)
    written(root, "gru", "v3", student="convnet_gru")
    with pytest.raises(
        LookupError, match=r"sdd of 500 epochs .*known: none\); there are records for --protocol sdd --epochs 2$"
    ):
        show([root], add=["mine"], protocol=SDD)
    show([root], add=["mine"], protocol=Sdd(epochs=2))
    assert "\nmine " in capsys.readouterr().out
    show([root])
    expected = "there are records for --protocol sdd --epochs 2 and for --protocol v3 --students convnet_gru"
    assert expected in " ".join(capsys.readouterr().err.split())
    with pytest.raises(LookupError, match=r"nor records of network convnet3d, protocol v3; train students on a set"):
        show([root], tasks=["toy-ipc1"])


def test_a_method_of_ones_own_is_added_and_a_score_is_a_mean_over_sets() -> None:
    v3 = {"protocol": "v3", "task": TASK}
    first, second = (
        seeds("mine", scores, str(i), distill_seed=i, **v3) for i, scores in enumerate([[0.1, 0.2, 0.3], [0.4] * 3])
    )
    other = seeds("soft", [0.6] * 3, track="soft", clips_per_class=4, **v3)
    loaded = Loaded([*first, *second, *other], [])
    assert not [number for number in numbers(loaded, TASKS, ["convnet3d"], PROTOCOL, ()) if number.kind == MEASURED]
    shown = numbers(loaded, TASKS, ["convnet3d"], PROTOCOL, ["mine", "soft"])
    text = drawn(shown, TASKS, "table")
    assert "30.0 ± 7.1 (6 on 2)" in text  # 20 % and 40 %; within sets 0.1 and 0, pooled
    assert "60.0 ± 0.0 (3, soft labels)" in text and "(measured): 4 clips per class, one set" in text
    there = r"no method with records .* or give the folder of its records with --results$"
    for name, tasks, says in (("min", TASKS, "did you mean mine"), ("mine", ["toy-ipc1"], there)):
        with pytest.raises(LookupError, match=says):
            numbers(loaded, tasks, ["convnet3d"], PROTOCOL, [name])
    mine = [*seeds("mine", [0.1] * 3, protocol="v3")]  # of a task that no paper reports
    nothing = numbers(Loaded(mine, []), ["toy-ipc1"], ["convnet3d"], PROTOCOL, ())
    assert not nothing and drawn(nothing, ["toy-ipc1"], "csv").startswith("method,task")
    with pytest.raises(LookupError, match="neither reported numbers nor records"):
        numbers(loaded, ["toy-ipc1"], ["convnet3d"], PROTOCOL, ())
    with pytest.raises(ValueError, match="store_digest"):
        numbers(Loaded([*first, *seeds("dm", [0.5], store_digest="3" * 64, **v3)], []), TASKS, ["convnet3d"], PROTOCOL, ())


def test_several_networks_have_a_column_each() -> None:
    students = ["convnet_gru", "convnet3d"]
    v3 = {"protocol": "v3", "task": TASK}
    records = [
        one for i, student in enumerate(reversed(students)) for one in seeds("mine", [0.2 + i / 10] * 3, student=student, **v3)
    ]
    shown = numbers(Loaded(records, []), [TASK], students, PROTOCOL, ["mine"])
    rows = [re.split(r" *\| *", line)[1:-1] for line in drawn(shown, [TASK], "md").splitlines() if line.startswith("|")]
    assert rows[0][2:] == [f"{TASK} measured convnet_gru", f"{TASK} measured convnet3d"]
    assert rows[-1] == ["mine", "-", "30.0 ± 0.0 (3)", "20.0 ± 0.0 (3)"]
    assert f"mine on {TASK} with convnet_gru; mine on {TASK} with convnet3d (measured): one set" in drawn(
        shown, [TASK], "table"
    )
    assert r"reported & measured convnet\_gru & measured convnet3d" in drawn(shown, [TASK], "latex")


def test_full_of_a_dataset_is_in_each_of_its_columns() -> None:
    full = seeds("full", [0.9] * 3, **{**FULL, "task": "toy-full"})
    assert [[one.top1 for one in measured_on(task, full)] for task in ("toy-ipc1", "toy-ipc5")] == [[0.9], [0.9]]


def test_every_format_has_the_same_numbers() -> None:
    records = seeds("my_method", [0.1, 0.2, 0.3], protocol="v3", task=TASK)
    shown = numbers(Loaded(records, []), TASKS, ["convnet3d"], PROTOCOL, ["my_method"])
    for form in FORMS:
        text = drawn(shown, TASKS, form)
        if form in {"csv", "json"}:
            rows = pd.read_csv(io.StringIO(text)) if form == "csv" else pd.read_json(io.StringIO(text))
            assert len(rows) == len(shown) and rows[rows["kind"] == "reported"][["source", "url"]].notna().all(axis=None)
            assert rows.iloc[-1][["method", "top1", "students", "protocol"]].tolist() == [
                "my_method",
                pytest.approx(0.2),
                3,
                "v3",
            ]
        elif form == "latex":
            assert r"my\_method & -- & 20.0 $\pm$ 10.0 (3) & --" in text
            assert re.search(r"\ndm & 15\.3 \$\\pm\$ 1\.1\$\^\{\[\d\]\}\$ & --", text)
            assert r"\href{https://arxiv.org/abs/2505.22564}" in text and r"q=\%22Video" in text and text.isascii()
            assert (
                "table 1 of ``Enhancing Diversity" in text and "textquotedbl" not in text
            )  # which needs another font encoding
            assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))
        else:
            assert "20.0 ± 10.0 (3)" in text and "15.3 ± 1.1 [" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here")
def test_latex_needs_only_the_packages_that_it_names(tmp_path: Path) -> None:
    table = drawn(numbers(NOTHING, TASKS, ["convnet3d"], PROTOCOL, ()), TASKS, "latex")
    (packages,) = re.findall(r"^% needs (.+)$", table, re.M)
    page = ["\\documentclass{article}", packages, "\\begin{document}", table, "\\end{document}"]
    (tmp_path / "page.tex").write_text("\n".join(page))
    subprocess.run(["pdflatex", "-halt-on-error", "page.tex"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
