"""A build writes, reuses and removes only its own files, whatever is damaged or missing on the machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.builders.records import GOOD, a_record
from tests.builders.sites import write_manifest, write_records
from vddbench.commands.site import site
from vddbench.data.store import Store
from vddbench.leaderboard.site.board import board_of
from vddbench.leaderboard.site.build import MAX_LEFT_OUT, build, build_published
from vddbench.leaderboard.site.inventory import INVENTORY, Inventory, PayloadView, read_inventory
from vddbench.leaderboard.site.kept import MAX_PREVIEW_BYTES
from vddbench.leaderboard.site.local_submissions import LocalSubmission, find_submissions
from vddbench.leaderboard.site.page_writer import without_folders
from vddbench.leaderboard.site.payload_views import NO_PAYLOAD, payload_view
from vddbench.records.files import write_record
from vddbench.submissions import previews
from vddbench.submissions.manifest import read_manifest
from vddbench.submissions.submission import read


def test_a_payload_that_differs_from_its_manifest_is_not_shown(folders: Path, tmp_path: Path, no_charts: None) -> None:
    shutil.copytree(folders / "submissions", tmp_path / "submissions")
    data = next(tmp_path.glob("submissions/*/random/data.safetensors"))
    data.write_bytes(data.read_bytes()[:-1] + b"\x01\x02")
    index = build([folders / "results"], [tmp_path / "submissions"], tmp_path / "site")
    text = next(index.parent.glob("s/*/random@*/index.html")).read_text()
    assert "The payload was refused" in text and "sha256" in text and str(tmp_path) not in text


def test_a_manifest_in_a_wrong_folder_does_not_change_another_page(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "submissions", tmp_path / "submissions")
    honest = next((tmp_path / "submissions").glob("*/random/manifest.json"))
    forged = tmp_path / "submissions" / "0-ipc1" / "0@00000000" / "manifest.json"  # sorts before it
    forged.parent.mkdir(parents=True)
    forged.write_text(json.dumps({**json.loads(honest.read_text()), "authors": ["Mallory"]}))
    submissions, refused = find_submissions([tmp_path / "submissions"])
    assert not any("Mallory" in submission.manifest.authors for submission in submissions.values())
    assert any("it belongs in" in line for line in refused)


def test_the_same_records_make_the_same_pages_and_no_preview_twice(folders: Path, built_site: Path, tmp_path: Path) -> None:
    again = build([folders / "results"], [folders / "submissions"], tmp_path / "site")
    for page in built_site.parent.rglob("*.html"):
        assert page.read_bytes() == (tmp_path / "site" / page.relative_to(built_site.parent)).read_bytes()
    previews = {path: path.stat().st_mtime_ns for path in again.parent.rglob("*.webp")}
    build([folders / "results"], [folders / "submissions"], tmp_path / "site")
    assert previews and previews == {path: path.stat().st_mtime_ns for path in again.parent.rglob("*.webp")}


def test_a_new_build_removes_its_own_old_pages_and_nothing_else(tiny: Store, tmp_path: Path, no_charts: None) -> None:
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


def test_an_inventory_that_no_build_wrote_counts_as_empty(tmp_path: Path) -> None:
    for text in ("", "[1, 2", '{"files": 3}', '["index.html"]', '{"files": [], "files": []}'):
        (tmp_path / INVENTORY).write_text(text)
        assert read_inventory(tmp_path) == Inventory()


def test_the_front_page_names_few_refused_files_and_counts_the_others(tiny: Store, tmp_path: Path, no_charts: None) -> None:
    write_records(tmp_path / "results", tiny, "random", [0.2, 0.3, 0.2])
    for method in range(MAX_LEFT_OUT + 5):
        write_manifest(tmp_path / "submissions", "toy-ipc1", f"bad_{method}", "a" * 64)
        (tmp_path / f"submissions/toy-ipc1/bad_{method}/manifest.json").write_text("{")
    text = build([tmp_path / "results"], [tmp_path / "submissions"], tmp_path / "site").read_text()
    assert text.count("is not valid JSON") == MAX_LEFT_OUT and "<li>... and 5 more</li>" in text


def test_refused_records_are_listed_without_paths_of_this_machine(tiny: Store, tmp_path: Path, no_charts: None) -> None:
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


def written(out: Path, inventory: Inventory) -> dict[str, bytes]:
    return {path: (out / path).read_bytes() for path in inventory.files if (out / path).is_file()}


def test_a_publisher_without_payloads_or_data_makes_the_same_pages(
    folders: Path, tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_charts: None
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
        in written(tmp_path / "a", first)[
            next(path for path in first.files if path.startswith(f"s/{tiny.name}-ipc1/random@") and path.endswith(".html"))
        ].decode()
    )
    page = f"s/{tiny.name}-ipc1/random@"
    clips = [path for path in first.files if path.startswith(page) and path.endswith(".webp")]
    assert len(clips) == 2 * tiny.spec.num_classes  # each with its first frame
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "nothing prepared"))
    second = build_published(board, tmp_path, [], tmp_path / "b", first, "lab/results")
    assert second == first
    pages = {path: data for path, data in written(tmp_path / "a", first).items() if path not in clips}
    assert written(tmp_path / "b", second) == pages  # all but the previews, which the Space already has


def test_previews_that_are_published_already_are_not_made_again(
    tiny: Store, tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, unseen = LocalSubmission(tiny_random, read(tiny_random).manifest), PayloadView()
    first = payload_view(submission, tiny.spec, tmp_path / "a", None, unseen)
    assert first.previews is not None and len(list((tmp_path / "a").iterdir())) == 2 * tiny.spec.num_classes
    monkeypatch.setattr(previews, "write", None)  # would raise: another encoder's bytes differ
    assert payload_view(submission, tiny.spec, tmp_path / "b", None, first) == first and not (tmp_path / "b").exists()
    monkeypatch.undo()
    older = first.model_copy(update={"previews": first.previews.model_copy(update={"source_digest": "older"})})
    assert payload_view(submission, tiny.spec, tmp_path / "b", None, older) == first and (tmp_path / "b").is_dir()


def test_what_cannot_be_shown_here_stays_as_it_is_published(
    tiny: Store, tiny_random: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_random, tmp_path / "random"))
    submission, unseen = LocalSubmission(folder, read(tiny_random).manifest), PayloadView()
    whole = payload_view(submission, tiny.spec, tmp_path / "out", None, unseen)
    half = payload_view(submission, None, tmp_path / "out", None, unseen)  # its dataset is not prepared: tensors, no clips
    assert half.tensors == whole.tensors and half.previews is None and "not prepared" in half.missing
    assert payload_view(submission, None, tmp_path / "out", None, whole) == whole
    (folder / "data.safetensors").write_bytes(b"damaged")
    for published in (whole, half):
        assert payload_view(submission, tiny.spec, tmp_path / "out", None, published) == published
    assert payload_view(submission, tiny.spec, tmp_path / "out", None, unseen).missing == NO_PAYLOAD
    assert "refused" in capsys.readouterr().err  # a fault of this machine: a message here, not on the page
    (folder / "data.safetensors").unlink()
    for published in (whole, half):
        assert payload_view(submission, None, tmp_path / "out", None, published) == published
    assert payload_view(None, None, tmp_path / "out", None, whole).tensors == ()  # nobody's manifest: nothing of it is shown


@pytest.mark.long
def test_what_is_kept_beside_the_records_is_shown_where_payload_and_data_are_missing(
    folders: Path, tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_charts: None
) -> None:
    shutil.copytree(folders / "results", tmp_path / "results")
    first = build([tmp_path / "results"], [folders / "submissions"], tmp_path / "a", keep=True)
    cell = next((tmp_path / "results").glob("*/random@*"))
    assert (cell / "manifest.json").is_file() and len(list(cell.glob("*.webp"))) == 2 * tiny.spec.num_classes
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "nothing prepared"))
    second = build([tmp_path / "results"], [], tmp_path / "b")
    page = Path("s", cell.parent.name, cell.name)
    for path in [*(first.parent / page).iterdir(), first]:  # also the names of classes on the front page
        own = second.parent / path.relative_to(first.parent)
        if path != first:
            assert own.read_bytes() == path.read_bytes()
    assert all(name in second.read_text() for name in tiny.spec.class_names)
    (cell / "manifest.json").unlink()
    build([tmp_path / "results"], [], tmp_path / "b", keep=True)  # keeps the previews that are there
    assert read_inventory(tmp_path / "results").pages.keys() == {page.as_posix()}
    for forged in (b"<svg onload='alert(1)'/>", b"RIFF....WEBP" + bytes(MAX_PREVIEW_BYTES)):
        (cell / "class0000.webp").write_bytes(forged)
        third = build([tmp_path / "results"], [], tmp_path / "c")
        assert not list((third.parent / page).glob("*.webp"))
