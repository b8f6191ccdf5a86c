"""Something-Something V2: webm files and JSON lists whose classes have placeholders in brackets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.builders.layouts import SSV2, write_ssv2_lists
from tests.builders.videos import numbers, write_video
from vddbench.data.datasets import ssv2
from vddbench.data.prepare import prepare

LEFT, RIGHT = "Pushing [something] from right to left", "Pushing [something] from left to right"
NUMBER = "Putting [number of] [something] onto [something]"
TRAIN = [(2, LEFT), (10, RIGHT), (30, LEFT), (4, NUMBER), (500, RIGHT)]
TEST = [(61, RIGHT), (7, LEFT), (80, NUMBER)]
CLASSES = tuple(sorted(ssv2.class_of(template) for template in (LEFT, RIGHT, NUMBER)))


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ssv2 cut down to three classes; video number N starts at frame N % 10, and has 32 frames."""
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    cut = {"class_names": CLASSES, "num_videos": {"train": len(TRAIN), "test": len(TEST)}}
    monkeypatch.setattr(ssv2, "SPEC", ssv2.SPEC.model_copy(update=cut))
    folder = tmp_path / "raw"
    for video, _ in [*TRAIN, *TEST, (99, "of the test list")]:
        write_video(folder / "20bn-something-something-v2" / f"{video}.webm", 32, size=(80, 64), first=video % 10)
    write_ssv2_lists(folder, TRAIN, TEST)
    return folder


def test_eight_frames_spread_over_each_video_are_stored(raw: Path) -> None:
    (raw / f"{SSV2}labels.json").write_text(json.dumps({name: str(i) for i, name in enumerate(CLASSES)}))
    store = prepare("ssv2", raw=raw, workers=2).store
    assert (len(store.train), len(store.test), store.num_missing) == (5, 3, 0)
    assert list(store.test.index["video"]) == ["61", "7", "80"]  # ids are sorted as text
    assert [CLASSES[label] for label in store.test.labels] == [ssv2.class_of(template) for _, template in TEST]
    clips = store.test.clips(np.arange(3), np.zeros(3, np.int64)).numpy()
    for clip, (video, _) in zip(clips, TEST, strict=True):
        assert numbers(clip) == list(range(video % 10, video % 10 + 32, 4))
    assert clips.shape == (3, 8, 64, 64, 3) and not store.spec.hflip_keeps_label


@pytest.mark.parametrize("prefix", [SSV2, ""])
def test_the_lists_are_found_beside_the_videos_or_in_a_folder(raw: Path, prefix: str) -> None:
    for path in raw.glob("*.json"):
        path.unlink()
    write_ssv2_lists(raw / "labels", TRAIN, TEST, prefix)
    (raw / "labels" / f"{prefix}labels.json").write_text(json.dumps({"Pushing [something] sideways": "0"}))
    with pytest.raises(ValueError, match=r"is not the one of Something-Something V2: it differs in 4 classes"):
        list(ssv2.videos(raw))
    (raw / "labels" / f"{prefix}labels.json").write_text(json.dumps({LEFT: "0", RIGHT: "1", NUMBER: "2"}))  # brackets here, too
    assert all(video.path for video in ssv2.videos(raw))


def test_missing_videos_are_refused_by_name(raw: Path) -> None:
    (raw / "20bn-something-something-v2" / "10.webm").unlink()
    with pytest.raises(
        ValueError, match=r"4 of 5 train videos, 3 of 3 test videos were found; 1 missing: 10\. Complete the copy"
    ):
        prepare("ssv2", raw=raw)


def test_lists_that_are_not_the_official_ones_are_refused(raw: Path) -> None:
    path = raw / f"{SSV2}train.json"
    for content, reason in (
        ([{"id": "2", "template": "Pushing [something] sideways"}], "entry 0: 'Pushing [something] sideways' is not a class"),
        ([{"id": "../2", "template": LEFT}], "entry 0 has no id"),
        ([{"template": LEFT}], "entry 0 has no id"),
        (["2"], "entry 0 has no id"),
        ({"2": LEFT}, "is not a list of videos"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=re.escape(f"{path.name} {reason}")):
            prepare("ssv2", raw=raw)
    path.write_text('[{"id": "2"')
    with pytest.raises(ValueError, match="is not complete JSON"):
        prepare("ssv2", raw=raw)
    write_ssv2_lists(raw, TRAIN[:-1], TEST)
    with pytest.raises(ValueError, match="4 of 5 train videos, 3 of 3 test videos"):
        prepare("ssv2", raw=raw)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no {SSV2}train\.json in .*the official list names the videos"):
        prepare("ssv2", raw=raw)


def test_the_error_for_a_folder_without_videos_says_how_to_unpack_them(raw: Path) -> None:
    for path in (raw / "20bn-something-something-v2").iterdir():
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no video file <id>\.webm .*unpack the 20bn-something-something-v2-\?\? parts"
    ):
        prepare("ssv2", raw=raw)


def test_the_real_spec_has_174_classes_without_brackets() -> None:
    names = ssv2.CLASS_NAMES
    assert len(names) == 174 and not any("[" in name for name in names)
    assert ssv2.class_of("Putting [number of] [something] onto [something]") in names
    assert ssv2.class_of("Touching (without moving) [part] of [something]") in names
