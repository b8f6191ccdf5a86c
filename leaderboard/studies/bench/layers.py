"""`bench --layers`: how near the convolutions of the ranked student come to this machine's products of matrices.

A convolution is a sum of products, so on a CPU it cannot be much faster than the best product of matrices. What remains
between the two is all that better kernels could gain. Figures are medians of CPU seconds, so other work disturbs them little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from tabulate import tabulate
from torch import nn

from vddbench.data.datasets import miniucf, movingshapes
from vddbench.evaluation.speed import random_clips
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import build, to_input
from vddbench.spec import DatasetSpec
from vddbench.system.device import device_name
from vddbench.system.progress import bar

ROUNDS = 5
SIDE = 1024  # of the matrices
PASSES = ("forward", "gradient of the input", "gradient of the weights")
HEADERS = ("clip", "convolution", "GFLOP a pass", *(f"{name}, GFLOP/s" for name in PASSES))


def convolutions(spec: DatasetSpec, batch: int) -> list[tuple[nn.Conv3d, torch.Tensor]]:
    """The strided convolutions of `convnet3d`, each with the input that it gets from `batch` random clips."""
    cpu, found = torch.device("cpu"), list[tuple[nn.Conv3d, torch.Tensor]]()
    network = build(convnet3d, spec, 0, cpu).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d) and layer.kernel_size != (1, 1, 1):
            layer.register_forward_hook(lambda layer, inputs, _: found.append((layer, inputs[0])))
    with torch.no_grad():
        network(to_input(random_clips(spec, batch).clips, spec, cpu))
    return found


def gflop(layer: nn.Conv3d, output: torch.Tensor) -> float:
    """Of one pass: two operations for each weight of each output, padding included."""
    return 2 * output.numel() * layer.weight[0].numel() / 1e9


def passes(layer: nn.Conv3d, x: torch.Tensor) -> tuple[torch.Tensor, list[Callable[[], object]]]:
    """(output, a call for each of PASSES)."""
    weight, bias = layer.weight.detach(), layer.bias
    assert bias is not None
    how = (list(layer.stride), list(layer.padding), list(layer.dilation), False, [0, 0, 0], 1)
    forward = torch.ops.aten.convolution
    backward = torch.ops.aten.convolution_backward
    with torch.no_grad():
        y = forward(x, weight, bias.detach(), *how)
    gradient = torch.randn_like(y)
    return y, [
        lambda: forward(x, weight, bias.detach(), *how),
        lambda: backward(gradient, x, weight, [len(bias)], *how, [True, False, False]),
        lambda: backward(gradient, x, weight, [len(bias)], *how, [False, True, True]),
    ]


def cpu_seconds(run: Callable[[], object]) -> float:
    """The median of ROUNDS calls, after one to warm up."""
    run()
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        rounds.append(time.process_time() - started)
    return median(rounds)


def rows(spec: DatasetSpec, batch: int) -> Iterator[list[str]]:
    """A row of HEADERS for each convolution."""
    for number, (layer, x) in enumerate(convolutions(spec, batch), 1):
        y, calls = passes(layer, x)
        work = gflop(layer, y)
        clip = f"{spec.frames}x{spec.size}x{spec.size}"
        yield [clip, str(number), f"{work:.2f}", *(f"{work / cpu_seconds(call):.0f}" for call in calls)]


def run(batch: int) -> None:
    """Prints the table as Markdown, for one CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found, matrix = list[list[str]](), torch.randn(SIDE, SIDE)
        with bar("bench", 2) as progress:
            product = 2 * SIDE**3 / 1e9 / cpu_seconds(lambda: matrix @ matrix)
            for spec in (movingshapes.SPEC, miniucf.SPEC):
                found += rows(spec, batch)
                progress.advance()
    finally:
        torch.set_num_threads(threads)
    print(
        f"{device_name(torch.device('cpu'))}, one thread, fp32, batch {batch}; medians of {ROUNDS}. A product of two "
        f"{SIDE} x {SIDE} matrices: {product:.0f} GFLOP/s\n"
    )
    print(tabulate(found, HEADERS, "github", disable_numparse=True))
