"""The named workloads: our call, the stock PyTorch call it replaces, and the bytes either must move."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan import functional


@dataclass(frozen=True)
class Case:
    """One workload at one batch size.

    Parameters
    ----------
    ours, stock : callable
        The same computation by fastgan and by stock PyTorch, on CPU tensors, derivatives included.
    must_move : int
        Bytes of every tensor that has to be read or written, once for each pass that has to touch it.
    """

    ours: Callable[[], object]
    stock: Callable[[], object]
    must_move: int


@dataclass(frozen=True)
class Workload:
    """A case at its real batch size, and a smaller one at which bytes are counted again by the tests."""

    name: str
    make: Callable[[int], Case]
    batch: int
    small_batch: int


def nbytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _bias_act(shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> Callable[[int], Case]:
    def make(batch: int) -> Case:
        x = torch.randn(batch, *shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
        bias = torch.randn(shape[0]).to(dtype).requires_grad_()
        grad = torch.randn_like(x)
        gain = 2**0.5

        def ours() -> object:
            with fastgan.use_backend("triton"):
                y = functional.bias_act(x, bias, act="lrelu", alpha=0.2, gain=gain)
            return torch.autograd.grad(y, (x, bias), grad)

        def stock() -> object:
            y = F.leaky_relu(x + bias.view(-1, 1, 1), 0.2) * gain
            return torch.autograd.grad(y, (x, bias), grad)

        # Forward: x, bias in, y out. Backward: y and grad in, grad x and grad bias out.
        return Case(ours, stock, nbytes([x, bias, x, x, x, x, bias]))

    return make


WORKLOADS = [
    Workload(
        "bias_act lrelu 16x128x64x64 float32, forward + backward",
        _bias_act((128, 64, 64), torch.float32, torch.contiguous_format),
        batch=16,
        small_batch=1,
    ),
    Workload(
        "bias_act lrelu 16x128x64x64 bfloat16, forward + backward",
        _bias_act((128, 64, 64), torch.bfloat16, torch.contiguous_format),
        batch=16,
        small_batch=1,
    ),
    Workload(
        "bias_act lrelu 64x256x32x32 bfloat16 channels_last, forward + backward",
        _bias_act((256, 32, 32), torch.bfloat16, torch.channels_last),
        batch=64,
        small_batch=4,
    ),
]
