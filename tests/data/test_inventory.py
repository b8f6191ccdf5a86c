"""`vddbench datasets`: what there is, whether it is whole, and how it looks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.builders.stores import COUNTED, VIDEOS, interrupted, render
from tests.builders.videos import CODECS
from vddbench import lookup
from vddbench.commands.main import app
from vddbench.data.build import build_store
from vddbench.data.contact_sheet import GAP, LINE, TEXT
from vddbench.data.datasets import kinetics400, movingshapes
from vddbench.data.finish import fingerprint_of
from vddbench.data.inventory import bytes_in, entry_of, inventory, verify
from vddbench.data.prepare import prepare
from vddbench.data.store import Store
from vddbench.data.store_files import store_digest
from vddbench.data.store_folder import locked
from vddbench.spec import DatasetSpec, Video
from vddbench.system.files import canonical_json

pytestmark = pytest.mark.usefixtures("own_home")

RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (235, 235, 235)  # of the four corners


def call(*args: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in args])
    return result.exit_code, result.output


# The table


def test_the_table_names_every_dataset_with_its_state() -> None:
    assert {entry.state for entry in inventory()} == {"not prepared"}
    store = build_store("mine", COUNTED, VIDEOS, render=render).store
    interrupted("stopped")
    broken = build_store("broken", COUNTED, VIDEOS, render=render).store
    os.truncate(broken.path / "frames.bin", 100)
    entries = {entry.name: entry for entry in inventory()}
    assert set(entries) == {*lookup.names("dataset"), "mine", "stopped", "broken"}
    mine = entries["mine"]
    assert (mine.state, mine.train, mine.test, mine.missing, mine.digest) == ("prepared", 6, 3, 0, store.digest)
    assert (mine.num_classes, mine.clip, mine.validation) == (2, "4x8x8", 2)
    assert mine.bytes == sum(path.stat().st_size for path in store.path.iterdir()) and mine.path == str(store.path)
    assert (entries["stopped"].state, entries["stopped"].videos) == ("interrupted", 5)
    assert entries["broken"].state == "damaged" and "frames.bin has 100 bytes" in entries["broken"].problem
    code, table = call("datasets")
    lines = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    assert code == 0 and store.digest[:12] in lines["mine"] and str(store.path) in lines["mine"]
    assert "interrupted, 5 videos" in lines["stopped"] and "8x64x64" in lines["kinetics400"] and "400" in lines["kinetics400"]
    assert "broken: store" in table and "--force" in table
    assert [row["name"] for row in json.loads(call("datasets", "--json")[1])] == sorted(entries)


def test_files_that_vanish_while_the_bytes_are_counted_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    for name in ("a.part", "b.part", "frames.bin"):
        (tmp_path / "store" / name).write_bytes(b"12345")
    real = Path.stat

    def once(path: Path, **options: bool) -> os.stat_result:
        status = real(path, **options)
        if path.suffix == ".part":
            for name in ("a.part", "b.part"):
                path.with_name(name).unlink()
        return status

    monkeypatch.setattr(Path, "stat", once)
    assert bytes_in(tmp_path / "store") == 10


def test_the_state_of_a_store_that_a_process_is_preparing() -> None:
    place = interrupted("stopped")
    with locked(place):
        assert entry_of("stopped").state == "being prepared"
    assert entry_of("stopped").state == "interrupted"


# Verifying


def test_an_undamaged_store_verifies_and_a_changed_frame_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    store = build_store("mine", COUNTED, VIDEOS, render=render).store
    assert verify("mine").digest == store.digest
    assert "mine is complete and undamaged: 9 videos (0 missing), 72 frames" in capsys.readouterr().err
    with (store.path / "frames.bin").open("r+b") as file:
        file.seek(3000)
        file.write(b"\1")
    with pytest.raises(ValueError, match=r"store .* is damaged: .* no longer holds the prepared frames of 1 videos: v\d"):
        verify("mine")
    code, _ = call("datasets", "verify", "mine")
    assert code == 1 and call("datasets", "verify", "nowhere")[0] == 2


def rewritten(store: Store, index: pd.DataFrame, spec: DatasetSpec | None = None) -> None:
    """The same store with another index and spec, whose digest is right: a mistake in writing, not on the disk."""
    spec = spec or store.spec
    index.to_parquet(store.path / "index.parquet", index=False)
    (store.path / "spec.json").write_text(spec.model_dump_json())
    done = json.loads((store.path / "done.json").read_text())
    named = {"digest": store_digest(spec, index), "fingerprint": fingerprint_of(store.path, spec, index)}
    (store.path / "done.json").write_bytes(canonical_json({**done, **named}))


def test_an_index_that_breaks_its_spec_is_found_though_its_digest_is_right() -> None:
    store = build_store("mine", COUNTED, VIDEOS, render=render).store
    pinned = COUNTED.model_copy(update={"num_videos": {"train": 7, "test": 3}})
    for column, row, value, reason in (
        ("video", 1, "v0", "ids appear twice: v0"),
        ("label", 2, 2, "labels are not classes: v2"),
        ("validation", 8, True, "validation videos are not in train: v8"),
    ):
        index = store.index.copy()
        index.loc[row, column] = value
        rewritten(store, index)
        with pytest.raises(ValueError, match=reason):
            verify("mine")
    rewritten(store, store.index, COUNTED.model_copy(update={"frames": 5}))
    with pytest.raises(ValueError, match="videos are shorter than a clip: v0"):
        verify("mine")
    rewritten(store, store.index, pinned)
    with pytest.raises(ValueError, match="6 train videos and 0 missing ones don't make 7"):
        verify("mine")
    rewritten(store, store.index, pinned.model_copy(update={"num_missing": {"train": 1, "test": 0}}))
    assert verify("mine").spec.num_missing == {"train": 1, "test": 0}


def test_a_store_of_another_definition_of_a_dataset_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [video for video in movingshapes.videos(Path()) if video.id.endswith("00")]
    spec = movingshapes.SPEC.model_copy(update={"num_videos": {"train": 16, "test": 8}})
    monkeypatch.setattr(movingshapes, "SPEC", spec)
    store = build_store("movingshapes", spec, few, render=movingshapes.render).store
    monkeypatch.setattr(movingshapes, "DIGEST", store.digest)
    verify("movingshapes")
    monkeypatch.setattr(movingshapes, "SPEC", spec.model_copy(update={"hflip_keeps_label": True, "student_steps": {"1": 1}}))
    with pytest.raises(
        ValueError, match="is not the movingshapes of this version: it differs in hflip_keeps_label, student_steps"
    ):
        verify("movingshapes")


# Contact sheets


def write_corners(path: Path, size: tuple[int, int], rotate: int = 0) -> Path:
    """A video with a colour in each corner, which is to be shown turned by `rotate` degrees."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = RED, GREEN
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = BLUE, WHITE
    upright = path.with_name(f"upright-{path.name}") if rotate else path
    with av.open(str(upright), "w") as container:
        codec, options = CODECS[path.suffix]
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(32):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    if rotate:
        turned = ["-display_rotation", str(rotate), "-i", str(upright), "-c", "copy", str(path)]
        old = ["-i", str(upright), "-c", "copy", "-metadata:s:v:0", f"rotate={rotate}", str(path)]
        quiet = ["ffmpeg", "-v", "error", "-y"]
        if subprocess.run([*quiet, *turned], check=False, capture_output=True).returncode:  # FFmpeg before 6
            subprocess.run([*quiet, *old], check=True)
        upright.unlink()
    return path


def corners(sheet: Image.Image, left: int, top: int, side: int) -> list[tuple[int, ...]]:
    """The colours in the corners of a frame, in rows."""
    quarters = (side // 4, 3 * side // 4)
    return [sheet.getpixel((left + x, top + y)) for y in quarters for x in quarters]


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".webm"])
def test_a_contact_sheet_shows_each_class_upright_in_its_colours(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "clips"
    for part in ("train", "test"):
        for name in ("a class with a name so long that nobody would ever read it to its end", "b", "日本"):
            write_corners(folder / part / name / f"0{suffix}", (320, 240))
    prepare("clips", folder=folder, frames=8, size=64, stride=1, workers=1)
    assert call("datasets", "show", "clips", "--out", tmp_path / "sheet.png")[0] == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        for k in range(3):
            cell = (4 * (64 + LINE) + GAP, TEXT + 64 + GAP)
            column, row = (k % (sheet.width // cell[0]), k // (sheet.width // cell[0]))
            for i in range(4):
                left, top = GAP + column * cell[0] + i * (64 + LINE), GAP + row * cell[1] + TEXT
                found = np.array(corners(sheet, left, top, 64), int)
                assert abs(found - [RED, GREEN, BLUE, WHITE]).max() < 25


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_a_video_of_a_phone_held_sideways_is_shown_as_players_show_it(tmp_path: Path, rotate: int) -> None:
    for part in ("train", "test"):
        for name in ("a", "b"):
            video = write_corners(tmp_path / "clips" / part / name / "0.mp4", (96, 64), rotate)
    store = prepare("clips", folder=tmp_path / "clips", frames=8, size=64, stride=1, workers=1).store
    clip = Image.fromarray(store.train.clips(np.array([0]), np.array([0]))[0, 0].numpy())
    command = ["ffmpeg", "-v", "error", "-i", str(video), "-frames:v", "1", "-y", str(tmp_path / "shown.png")]
    subprocess.run(command, check=True)
    with Image.open(tmp_path / "shown.png") as shown:
        assert (shown.width < shown.height) == (rotate != 180)
        middle = shown.convert("RGB").crop(
            (*((side - 64) // 2 for side in shown.size), *((side + 64) // 2 for side in shown.size))
        )
    assert abs(np.array(corners(clip, 0, 0, 64), int) - np.array(corners(middle, 0, 0, 64), int)).max() < 25


def test_a_sheet_of_400_classes_has_a_readable_size(tmp_path: Path) -> None:
    spec = kinetics400.SPEC.model_copy(update={"num_videos": None, "num_missing": None, "size": 16})
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    videos = [Video(id=f"{split}/{label}", path=None, label=label, split=split) for label in range(400) for split in splits]
    build_store("many", spec, videos, render=lambda video: np.full((8, 16, 16, 3), video.label % 200, np.uint8))
    assert call("datasets", "show", "many", "--out", tmp_path / "sheet.png")[0] == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert 1 < sheet.width / sheet.height < 2 and sheet.width < 4096  # 16 pixels are shown as 64
