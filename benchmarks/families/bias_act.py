"""bias_act against torch's own bias addition and activation; leaky ReLU's double backward against torch's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
import fastgan.nn  # explicitly: the package resolves its submodules when first used
from fastgan.functional import bias_act

from ..case import BACKWARD, FORWARD, LAYOUTS, Case, in_layouts, stateless, stock_peers

__all__ = ["cases"]

ALPHA = 0.2
#: torch's form of each activation, and the one that overwrites its argument where torch has one.
STOCK: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]] = {
    "linear": (lambda z: z, None),
    "relu": (F.relu, torch.relu_),
    "lrelu": (lambda z: F.leaky_relu(z, ALPHA), lambda z: F.leaky_relu_(z, ALPHA)),
    "tanh": (torch.tanh, torch.tanh_),
    "sigmoid": (torch.sigmoid, torch.sigmoid_),
    "elu": (F.elu, F.elu_),
    "selu": (F.selu, F.selu_),
    "softplus": (F.softplus, None),
    "swish": (F.silu, lambda z: F.silu(z, inplace=True)),
}


def _inputs(shape: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype)
    b = torch.randn(shape[1], generator=generator).to(dtype)
    return x.requires_grad_(), b.requires_grad_()


def _case(
    act: str,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    ours_in: Sequence[torch.memory_format] = LAYOUTS,
    label: str = "",
    overhead: bool = False,
    quick: bool = False,
) -> Case:
    stock, stock_in_place = STOCK[act]
    along = [-1] + [1] * (len(shape) - 2)
    layouts = LAYOUTS if len(shape) == 4 else LAYOUTS[:1]

    def ours(x: Tensor, b: Tensor) -> Tensor:
        return bias_act(x, b, act=act, alpha=ALPHA if act == "lrelu" else None, gain=1.0)

    def eager(x: Tensor, b: Tensor) -> Tensor:
        return stock(x + b.view(along))

    def in_place(x: Tensor, b: Tensor) -> Tensor:
        assert stock_in_place is not None
        return stock_in_place(x + b.view(along))

    n = torch.Size(shape).numel()
    name = f"{act} {'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}"
    # Forward: read x, write y. Backward: read dy, and what fixes the slope (y, or x for swish), write dx.
    backward_reads = 1 if act == "linear" else 2
    return Case(
        family="bias_act",
        name=name + label,
        workload={"act": act, "shape": list(shape), "dtype": str(dtype), "gain": 1.0, "alpha": ALPHA},
        inputs=functools.partial(_inputs, shape, dtype),
        ours=in_layouts("fastgan", ours, [layout for layout in ours_in if layout in layouts]),
        peers=stock_peers(eager, in_place if stock_in_place else None, layouts),
        reference=stateless(eager),
        dtype=dtype,
        bytes={FORWARD: 2 * n * dtype.itemsize, BACKWARD: (2 + backward_reads + 1) * n * dtype.itemsize},
        # One addition and one activation an element; then one product and one term of the bias's sum.
        flops={FORWARD: 2 * n, BACKWARD: 4 * n},
        overhead=overhead,
        quick=quick,
    )


def _critic_inputs(batch: int, channels: int, size: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, size, size, generator=generator)
    parameters = []
    for n_in in (3, channels):
        std = (9 * n_in) ** -0.5
        parameters += [
            torch.randn(channels, n_in, 3, 3, generator=generator) * std,
            torch.randn(channels, generator=generator),
        ]
    return (x, *(p.requires_grad_() for p in parameters))


def _gradient_penalty(activation: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def penalty(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        h = activation(F.conv2d(x, w1, b1, padding=1))
        y = activation(F.conv2d(h, w2, b2, padding=1))
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    return penalty


def _r1_case(batch: int, channels: int, size: int) -> Case:
    """E‖∇ₓD‖² of conv–lrelu–conv–lrelu, and its gradient: the kernels of the convolutions are the same on all sides."""
    stock = _gradient_penalty(torch.nn.LeakyReLU(ALPHA))
    pixels, kernels = batch * size * size, 9 * (3 + channels) * channels
    convolutions = 2 * pixels * kernels
    # Read x and the parameters, write the parameters' gradients; the layers between are not counted.
    crossing = 4 * (3 * pixels + 2 * (kernels + 2 * channels))
    workload: dict[str, Any] = {
        "shape": [batch, 3, size, size],
        "channels": channels,
        "dtype": "torch.float32",
        "alpha": ALPHA,
    }
    return Case(
        family="bias_act",
        name=f"R1 of 2 convs {batch}x{channels}x{size}x{size} float32",
        workload=workload,
        inputs=functools.partial(_critic_inputs, batch, channels, size),
        ours=in_layouts("fastgan", _gradient_penalty(fastgan.nn.LeakyReLU(ALPHA)), LAYOUTS),
        peers=stock_peers(stock),
        reference=stateless(stock),
        dtype=torch.float32,
        bytes={BACKWARD: crossing},
        # Four passes suffice: forward, gradient, tangent, weight gradient.
        flops={BACKWARD: 4 * convolutions},
        modes=(BACKWARD,),
        quick=True,
    )


def cases(device: torch.device) -> list[Case]:
    """The cases, larger on a GPU; the first is the one that the project states a target for."""
    large = (64, 128, 128, 128) if device.type == "cuda" else (16, 128, 64, 64)
    half = large if device.type == "cuda" else (4, 128, 32, 32)
    return [
        _case("lrelu", large, quick=True),
        *(_case(act, large, quick=act == "swish") for act in STOCK if act != "lrelu"),
        _case("lrelu", large, ours_in=[torch.channels_last], label=" channels_last"),
        _case("lrelu", half, torch.bfloat16),
        _case("lrelu", (16, 512, 4, 4)),
        _case("lrelu", (256, 1024)),
        _case("lrelu", (2, 8, 4, 4), overhead=True, quick=True),
        _r1_case(64, 128, 64) if device.type == "cuda" else _r1_case(8, 32, 32),
    ]
