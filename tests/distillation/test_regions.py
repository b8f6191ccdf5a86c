"""Boxes lie where something moves, and what the user has to install is said in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from vddbench.distillation import regions

RNG = np.random.default_rng


def test_motion_boxes_hold_what_moves_and_lie_anywhere_if_nothing_does() -> None:
    frames = np.zeros((5, 40, 40, 3), np.uint8)
    still = regions.motion_boxes(frames, 200, 0.1, RNG(0))
    frames[::2, 30, 5] = 255
    moving = regions.motion_boxes(frames, 200, 0.1, RNG(0))
    for boxes in (still, moving):
        top, left, height, width = boxes.T
        assert np.array_equal(height, width) and height.min() >= round(40 * 0.1**0.5)
        assert min(top.min(), left.min()) >= 0 and max((top + height).max(), (left + width).max()) <= 40
    inside = [(t <= 30 < t + h and x <= 5 < x + w) for t, x, h, w in moving]
    assert all(inside) and not all(t <= 30 < t + h and x <= 5 < x + w for t, x, h, w in still)
    assert np.array_equal(moving, regions.motion_boxes(frames, 200, 0.1, RNG(0)))
    assert regions.motion_boxes(frames[:1], 2, 1.0, RNG(0)).tolist() == [[0, 0, 40, 40]] * 2


def test_boxes_become_squares_inside_the_frame() -> None:
    boxes = np.array([[10, 10, 4, 8], [-5, 30, 20, 20], [0, 0, 90, 10]])
    assert regions.squares(boxes, 40).tolist() == [[8, 10, 8, 8], [0, 20, 20, 20], [0, 0, 40, 40]]


def test_missing_and_foreign_weights_of_a_detector_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import detection

    def small(weights: None, weights_backbone: None) -> torch.nn.Module:
        return torch.nn.Linear(2, 2)

    monkeypatch.setattr(detection, "fasterrcnn_mobilenet_v3_large_320_fpn", small)
    file = tmp_path / "weights.pt"
    with pytest.raises(ValueError, match=f"no weights of a detector at {file}: .*takes boxes of motion instead"):
        regions.load_detector(str(file))
    for content in (b"", b"no weights at all"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"{file} does not hold the weights"):
            regions.load_detector(str(file))
    torch.save(torch.nn.Linear(3, 2).state_dict(), file)
    with pytest.raises(ValueError, match=f"{file} does not hold the weights"):
        regions.load_detector(str(file))
    torch.save(torch.nn.Linear(2, 2).state_dict(), file)
    assert not regions.load_detector(str(file)).training


def test_detections_are_confident_boxes_and_of_persons_if_asked() -> None:
    boxes = torch.tensor([[1.0, 2.0, 11.0, 22.0], [3.0, 3.0, 5.0, 5.0], [0.0, 0.0, 9.0, 9.0]])
    found = {"boxes": boxes, "labels": torch.tensor([1, 7, 1]), "scores": torch.tensor([0.9, 0.8, 0.3])}

    class Model(torch.nn.Module):
        def forward(self, frames: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            assert frames[0].shape == (3, 30, 40) and float(frames[0].max()) == 1
            return [found]

    frame = np.full((30, 40, 3), 255, np.uint8)
    assert regions.detections(Model(), frame, True).tolist() == [[2, 1, 20, 10]]
    assert regions.detections(Model(), frame, False).tolist() == [[2, 1, 20, 10], [3, 3, 2, 2]]


def test_a_tracked_box_follows_and_stays_when_it_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, box = np.zeros((3, 20, 30, 3), np.uint8), np.array([1, 2, 3, 4])
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match="needs the package opencv-contrib-python-headless"):
        regions.track(frames, box)
    started: list[tuple[int, ...]] = []
    answers = [(True, (5, 6, 7, 8)), (False, (0, 0, 0, 0))]
    tracker = SimpleNamespace(init=lambda frame, where: started.append(where), update=lambda frame: answers.pop(0))
    cv2 = ModuleType("cv2")
    cv2.TrackerCSRT_create = lambda: tracker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    assert regions.track(frames, box).tolist() == [[1, 2, 3, 4], [6, 5, 8, 7], [6, 5, 8, 7]]
    assert started == [(2, 1, 4, 3)]


@pytest.mark.long
def test_the_real_network_reads_its_own_weights_and_gives_boxes(tmp_path: Path) -> None:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as network

    file = tmp_path / "weights.pt"
    torch.save(network(weights=None, weights_backbone=None).state_dict(), file)
    frame = RNG(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert regions.detections(regions.load_detector(str(file)), frame, False).shape[1] == 4
