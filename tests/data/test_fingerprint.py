"""Two stores of the same videos are known as such when only the decoder's version differs, and only then."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.builders.records import GOOD, a_record
from tests.builders.submissions import SPEC
from vddbench.commands.main import app
from vddbench.data.build import build_store
from vddbench.data.fingerprint import NEAR, Sketch, StoreId, distance, equivalent_stores, same_data, thumbnail
from vddbench.data.store import Store
from vddbench.leaderboard.tables import show
from vddbench.records.files import write_record
from vddbench.spec import Fingerprint, Video

pytestmark = pytest.mark.usefixtures("own_home")

SPLITS = ["train"] * 6 + ["test"] * 3
VIDEOS = [
    Video(id=f"v{i}", path=None, label=i % 3, split="train" if split == "train" else "test", group="")
    for i, split in enumerate(SPLITS)
]


def textured(video: Video) -> np.ndarray:
    """[8, 16, 16, 3] smooth, moving, of another phase in each video."""
    t, y, x, c = np.meshgrid(*map(np.arange, (8, 16, 16, 3)), indexing="ij")
    phase = int(video.id[1:])
    return np.asarray(128 + 100 * np.sin(0.5 * x + 0.4 * y * (c + 1) / 2 + 0.3 * t + phase), np.uint8)


def scaled_otherwise(video: Video) -> np.ndarray:
    """As another scaler has it: pixels are up to 3 levels off, in no direction."""
    off = np.random.default_rng(int(video.id[1:])).integers(-3, 4, (8, 16, 16, 3))
    return np.asarray(np.clip(textured(video) + off, 0, 255), np.uint8)


def one_aside(video: Video) -> np.ndarray:
    return np.roll(textured(video), 1, axis=2)


def one_later(video: Video) -> np.ndarray:
    return np.roll(textured(video), -1, axis=0)


def in_another_order(video: Video) -> np.ndarray:
    """Every video has the frames of the next one."""
    return textured(dataclasses.replace(video, id=f"v{(int(video.id[1:]) + 1) % 9}"))


@pytest.fixture
def mine() -> Store:
    return build_store("mine", SPEC, VIDEOS, render=textured).store


def test_pixels_of_another_scaler_make_another_digest_and_a_near_fingerprint(mine: Store) -> None:
    other = build_store("other", SPEC, VIDEOS, render=scaled_otherwise).store
    assert mine.digest != other.digest and mine.fingerprint != other.fingerprint
    assert 0 < distance(mine.fingerprint, other.fingerprint) < NEAR and same_data(mine.id, other.id)


@pytest.mark.parametrize("render", [one_aside, one_later, in_another_order])
def test_frames_elsewhere_are_not_near(mine: Store, render: object) -> None:
    other = build_store("other", SPEC, VIDEOS, render=render).store  # type: ignore[arg-type]
    assert distance(mine.fingerprint, other.fingerprint) > NEAR and not same_data(mine.id, other.id)


def test_other_labels_groups_or_geometry_are_infinitely_far_though_every_pixel_agrees(mine: Store) -> None:
    changes = (
        ("labels", [dataclasses.replace(video, label=(video.label + 1) % 3) for video in VIDEOS], SPEC),
        ("groups", [dataclasses.replace(video, group=video.id) for video in VIDEOS], SPEC),
        ("recipe", VIDEOS, SPEC.model_copy(update={"student_steps": {"1": 3, "5": 3, "10": 3, "full": 3}})),
    )
    for name, videos, spec in changes:
        other = build_store(name, spec, videos, render=textured).store
        assert distance(mine.fingerprint, other.fingerprint) == float("inf")


def test_the_distance_estimates_that_of_all_thumbnails() -> None:
    rng, one, other, apart = np.random.default_rng(0), Sketch(), Sketch(), []
    for i in range(300):
        frames = rng.integers(0, 256, (5, 9, 9, 3), dtype=np.uint8)
        moved = np.clip(frames + rng.normal(0, 20, (1, 9, 9, 3)), 0, 255).astype(np.uint8)
        one.add(f"v{i}", thumbnail(frames))
        other.add(f"v{i}", thumbnail(moved))
        apart.append(thumbnail(frames) - thumbnail(moved))
    true = float(np.sqrt(np.mean(np.square(apart))))
    found = distance(one.fingerprint("0" * 64), other.fingerprint("0" * 64))
    assert true > 1 and found == pytest.approx(true, rel=3 * 0.09)


def test_thumbnails_are_means_of_spans_and_cells() -> None:
    frames = np.zeros((9, 10, 10, 3), np.uint8)
    frames[2:4, 2:5, 5:7, 1] = 200  # the second quarter of the frames; rows 2-4 and columns 5-6 are one cell of 10 / 4
    small = thumbnail(frames)
    assert small[1, 1, 2] == pytest.approx(200 * 0.587) and small.sum() == small[1, 1, 2]
    still = thumbnail(np.full((1, 8, 8, 3), 7, np.uint8))
    assert still.shape == (4, 4, 4) and still == pytest.approx(7)


def test_a_fingerprint_does_not_depend_on_the_order_of_videos() -> None:
    forth, back = Sketch(), Sketch()
    for video in VIDEOS:
        forth.add(video.id, thumbnail(textured(video)))
    for video in reversed(VIDEOS):
        back.add(video.id, thumbnail(textured(video)))
    assert forth.fingerprint("0" * 64) == back.fingerprint("0" * 64)


def test_text_that_is_not_a_fingerprint_is_far_from_everything(mine: Store) -> None:
    rows = mine.fingerprint.partition(":")[0]
    for text in (rows, f"{rows}:", f"{rows}:AAAA", f"{rows}:{'/' * 342}==", f"{rows}:!"):
        assert not distance(mine.fingerprint, text) <= NEAR and not distance(text, text) <= NEAR


# On the board


def prints(mine: Store) -> tuple[Fingerprint, Fingerprint, Fingerprint]:
    """Of a store, one near to it, and one that is not."""
    near, far = (
        build_store(name, SPEC, VIDEOS, render=how).store for name, how in (("near", scaled_otherwise), ("far", one_aside))
    )
    return mine.fingerprint, near.fingerprint, far.fingerprint


def test_records_of_near_stores_are_of_one_family_and_the_others_are_not(mine: Store) -> None:
    one, near, far = prints(mine)
    records = [
        a_record(store_digest="a" * 64, store_fingerprint=one),
        a_record(store_digest="a" * 64, store_fingerprint=one, submission_sha256="cd" * 32),
        a_record(store_digest="b" * 64, store_fingerprint=near),
        a_record(store_digest="c" * 64, store_fingerprint=far),
        a_record(store_digest="d" * 64),  # of before there were fingerprints
        a_record(store_digest="a" * 64, submission_sha256="ef" * 32),  # too, of the first store
        a_record(store_digest="b" * 64, store_fingerprint=one, task="other-ipc1"),
    ]
    assert equivalent_stores(records) == {
        ("toy", "a" * 64): "a" * 64,
        ("toy", "b" * 64): "a" * 64,
        ("toy", "c" * 64): "c" * 64,
        ("toy", "d" * 64): "d" * 64,
        ("other", "b" * 64): "b" * 64,
    }


def test_one_record_does_not_give_a_store_another_fingerprint(mine: Store) -> None:
    one, near, far = prints(mine)
    field = [a_record(store_digest="a" * 64, store_fingerprint=one, submission_sha256=each * 32) for each in ("ab", "cd")]
    false = a_record(store_digest="a" * 64, store_fingerprint=far, submission_sha256="ef" * 32, date="2025-01-01T00:00:00Z")
    other = a_record(store_digest="b" * 64, store_fingerprint=near)
    assert equivalent_stores([false, *field, other])["toy", "b" * 64] == "a" * 64


def test_a_set_from_a_near_store_is_evaluated_and_one_from_another_refused(mine: Store) -> None:
    one, near, far = prints(mine)
    record = a_record(store_digest="a" * 64, store_fingerprint=near)
    assert same_data(record, StoreId(mine.digest, one)) and not same_data(record, StoreId(mine.digest, far))
    assert not same_data(record, StoreId(mine.digest, None)) and same_data(record, StoreId("a" * 64, None))


# Two labs


def told(name: str, other: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["datasets", "verify", name, "--against", str(other)])
    return result.exit_code, " ".join(result.output.split())


def test_a_lab_can_ask_whether_its_store_is_that_of_a_record_or_of_another_lab(mine: Store, tmp_path: Path) -> None:
    one, near, far = prints(mine)
    record = tmp_path / "record.json"
    for digest, fingerprint, code, words in (
        (mine.digest, None, 0, "are the same, byte for byte"),
        ("a" * 64, near, 0, "different bytes of the same videos, 0."),
        ("a" * 64, far, 1, "the same list of videos with other frames"),
        ("a" * 64, f"{'0' * 64}:{one.partition(':')[2]}", 1, "videos, labels, groups, numbers of frames or the spec differ"),
        ("a" * 64, None, 1, "has no fingerprint to explain why"),
    ):
        record.write_text(a_record(store_digest=digest, store_fingerprint=fingerprint).model_dump_json())
        found, text = told("mine", record)
        assert found == code and words in text, text
    assert told("mine", build_store("near", SPEC, VIDEOS, render=scaled_otherwise).store.path / "done.json")[0] == 0


@pytest.mark.parametrize("text", ["{}", "[]", "{", "[" * 10_000, '{"store_digest": 1}', '{"digest": "../x"}'])
def test_a_file_that_names_no_store_is_refused(mine: Store, tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    code, said = told("mine", tmp_path / "odd.json")
    assert code == 1 and "done.json" in said
    assert told("mine", tmp_path / "nowhere.json")[0] != 0


def test_records_of_near_stores_share_a_table_and_the_table_says_so(
    mine: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, near, far = prints(mine)
    for i, (digest, fingerprint) in enumerate((("a", one), ("b", near))):
        stores = {"store_digest": digest * 64, "store_fingerprint": fingerprint}
        for seed in range(3):
            write_record(tmp_path, a_record(method=f"m{i}", submission_sha256=f"{i}" * 64, seed=seed, **stores), GOOD)
    show([tmp_path], None, None, "csv", division="ipc")
    found = capsys.readouterr()
    assert "records of 2 prepared stores (aaaaaaaa, bbbbbbbb) share tables" in " ".join(found.err.split())
    assert found.out.count("toy-ipc1,") == 2
    third = {"store_digest": "c" * 64, "store_fingerprint": far}
    write_record(tmp_path, a_record(method="m2", submission_sha256="2" * 64, **third), GOOD)
    with pytest.raises(ValueError, match="differ in store_digest"):
        show([tmp_path], None, None, "csv")
