"""Records the operations of PyTorch that a function does, and those for which a GPU and the host would wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda:0")
# Operations that wait for a GPU: they copy a value to the host, or make a shape that depends on values
WAITING = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim", "_unique2"}


class Recorder(TorchDispatchMode):
    """Records every operation with its shapes, and whether it would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.waiting: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        boolean = name in {"index", "index_put_"} and any(m is not None and m.dtype == torch.bool for m in args[1])
        to_host = name == "_to_copy" and tensors[0].is_cuda and torch.device((kwargs or {}).get("device", CUDA)).type == "cpu"
        if name in WAITING or boolean or to_host:
            self.waiting.append(name)
        self.operations.append(f"{name} {[tuple(tensor.shape) for tensor in tensors]}")
        return func(*args, **(kwargs or {}))


class Reads(TorchFunctionMode):
    """Records the methods of tensors that copy to the host; for a tensor that is there already they are no operation."""

    def __init__(self, waiting: list[str]) -> None:
        super().__init__()
        self.waiting = waiting

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in {"cpu", "numpy", "tolist", "__array__"}:
            self.waiting.append(func.__name__)
        return func(*args, **(kwargs or {}))


def recorded(step: Callable[[], object]) -> Recorder:
    with Recorder() as recorder, Reads(recorder.waiting):
        step()
    return recorder
