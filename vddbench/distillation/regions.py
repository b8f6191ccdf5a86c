"""Boxes of a video in which something happens: from a detector and a tracker that the user has, or from motion alone.

Detector: torchvision's Faster R-CNN (BSD), whose COCO weights are a file of the user's. Tracker: CSRT of opencv-contrib-python
(Apache-2.0), an optional package. Neither is needed: the default boxes have random sizes and lie where pixels change most.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

PERSON = 1  # COCO's number of the class; the only one of its 80 that every dataset of actions shows
CONFIDENT = 0.5  # score above which a detection counts
NO_DETECTOR = 'detector = "" in the method\'s file takes boxes of motion instead'


def motion_boxes(frames: np.ndarray, count: int, least_area: float, rng: np.random.Generator) -> np.ndarray:
    """uint8 [F, H, W, C] with H = W -> [count, 4] squares (top, left, height, width), of random size.

    least_area: of a square, as a share of the frame. A place is as likely as the sum of changes between frames inside it; all
    places are equally likely if nothing moves.
    """
    size = frames.shape[1]
    change = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((0, 3)) if len(frames) > 1 else np.zeros((size, size))
    sums = np.pad(change.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = []
    for side in np.rint(size * np.sqrt(rng.uniform(least_area, 1, count))).astype(int).tolist():
        inside = (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]).clip(0)
        weights = inside.ravel() / inside.sum() if inside.sum() > 0 else None
        top, left = divmod(int(rng.choice(inside.size, p=weights)), inside.shape[1])
        boxes.append((top, left, side, side))
    return np.array(boxes)


def load_detector(file: str) -> torch.nn.Module:
    """torchvision's fasterrcnn_mobilenet_v3_large_320_fpn in eval mode with the weights of a file.

    Raises ValueError if the file is not there or holds other weights.
    """
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as network

    if not Path(file).is_file():
        raise ValueError(f"no weights of a detector at {file}: put torchvision's {network.__name__} there, or {NO_DETECTOR}")
    model: torch.nn.Module = network(weights=None, weights_backbone=None)
    try:
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, TypeError, AttributeError, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"{file} does not hold the weights of torchvision's {network.__name__} ({reason}); {NO_DETECTOR}"
        ) from error
    return model.eval()


@torch.no_grad()
def detections(model: torch.nn.Module, frame: np.ndarray, only_persons: bool) -> np.ndarray:
    """uint8 [H, W, C] -> [n, 4] boxes (top, left, height, width) in whole pixels, the most confident first."""
    found = model([torch.from_numpy(frame).permute(2, 0, 1).float() / 255])[0]
    good = found["scores"] > CONFIDENT
    if only_persons:
        good &= found["labels"] == PERSON
    left, top, right, bottom = found["boxes"][good].round().long().numpy().T
    return np.stack([top, left, (bottom - top).clip(1), (right - left).clip(1)], 1)


def track(frames: np.ndarray, box: np.ndarray) -> np.ndarray:
    """uint8 [F, H, W, C] and its box [4] in the first frame -> [F, 4]: followed by CSRT; a lost box stays where it was last.

    Raises ValueError if the package is not installed.
    """
    try:
        cv2: Any = importlib.import_module("cv2")
        tracker = cv2.TrackerCSRT_create()
    except (ImportError, AttributeError):
        raise ValueError(
            'the tracker csrt needs the package opencv-contrib-python-headless (pip install it); tracker = "" in the method\'s '
            "file keeps boxes where they are in the first frame"
        ) from None
    top, left, height, width = (int(value) for value in box)
    tracker.init(np.ascontiguousarray(frames[0][..., ::-1]), (left, top, width, height))  # OpenCV: BGR; x, y, width, height
    boxes = [(top, left, height, width)]
    for frame in frames[1:]:
        followed, (x, y, wide, high) = tracker.update(np.ascontiguousarray(frame[..., ::-1]))
        boxes.append((int(y), int(x), int(high), int(wide)) if followed else boxes[-1])
    return np.array(boxes)


def squares(boxes: np.ndarray, size: int) -> np.ndarray:
    """[..., 4] boxes -> squares around the same centres, as long as the longer side, inside frames of size x size."""
    top, left, height, width = np.moveaxis(boxes, -1, 0)
    side = np.maximum(height, width).clip(1, size)
    corner = [np.clip(begin + (long - side) // 2, 0, size - side) for begin, long in ((top, height), (left, width))]
    return np.stack([*corner, side, side], -1)
