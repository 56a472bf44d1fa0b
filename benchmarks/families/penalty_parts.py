"""What a penalised step does beside the network, each against the sequence of torch's that it replaces."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastgan.functional import gate_by_bits, gradient_norm_penalty, interpolate_samples, sign_bits

from ..case import BACKWARD, FORWARD, LAYOUTS, Case, Side, in_layouts, stateless, stock_peers

__all__ = ["cases"]

SLOPE = 0.2
WEIGHT = 10.0
Shape = tuple[int, int, int, int]


def _randn(shapes: Sequence[Sequence[int]], requires_grad: bool) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator).requires_grad_(requires_grad) for shape in shapes)


def _points(shape: Shape) -> tuple[Tensor, ...]:
    """Real and generated samples, and numbers between 0 and 1: drawn here, so that all sides have the same."""
    generator = torch.Generator().manual_seed(1)
    return (*_randn([shape, shape], False), torch.rand(shape[0], generator=generator))


def _stock_points(real: Tensor, fake: Tensor, eps: Tensor) -> Tensor:
    eps = eps.view(-1, 1, 1, 1)
    return eps * real + (1 - eps) * fake


def _stock_penalty(gradient: Tensor) -> Tensor:
    return WEIGHT * (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


def _penalty(gradient: Tensor) -> Tensor:
    return gradient_norm_penalty(gradient, weight=WEIGHT / len(gradient), center=1.0)


def _stock_gate(x: Tensor, gradient: Tensor) -> Tensor:
    return torch.where(x > 0, gradient, SLOPE * gradient)


def _aten_gate(x: Tensor, gradient: Tensor) -> Tensor:
    return torch.ops.aten.leaky_relu_backward(gradient, x, SLOPE, False)


def _gate(layout: torch.memory_format) -> Callable[[Tensor, Tensor], Tensor]:
    def gate(x: Tensor, gradient: Tensor) -> Tensor:
        return gate_by_bits(gradient, sign_bits(x, memory_format=layout), SLOPE, memory_format=layout)

    return gate


def _case(
    name: str,
    shape: Shape,
    inputs: Callable[[], tuple[Tensor, ...]],
    ours: Sequence[Side],
    peers: Sequence[Side],
    stock: Callable[..., Tensor],
    tensors: int,
    mode: str = FORWARD,
    overhead: bool = False,
) -> Case:
    """Of an op that passes `tensors` times over a tensor of the shape, with three operations an element and pass."""
    n = torch.Size(shape).numel()
    return Case(
        family="penalty_parts",
        name=f"{name} {'x'.join(map(str, shape))} float32",
        workload={"shape": list(shape), "dtype": "torch.float32"},
        inputs=inputs,
        ours=ours,
        peers=peers,
        reference=stateless(stock),
        dtype=torch.float32,
        bytes={mode: tensors * n * torch.float32.itemsize},
        flops={mode: 3 * n},
        modes=(mode,),
        overhead=overhead,
        quick=True,
    )


def _cases(shape: Shape, hidden: Shape, overhead: bool = False) -> list[Case]:
    gates = [Side(f"fastgan {layout}".replace("torch.", ""), stateless(_gate(layout)), layout) for layout in LAYOUTS]
    return [
        _case(
            "interpolate_samples",
            shape,
            functools.partial(_points, shape),
            in_layouts("fastgan", interpolate_samples, LAYOUTS),
            stock_peers(_stock_points),
            _stock_points,
            3,
            overhead=overhead,
        ),
        _case(
            "gradient_norm_penalty, WGAN-GP's,",
            shape,
            functools.partial(_randn, [shape], True),
            in_layouts("fastgan", _penalty, LAYOUTS),
            stock_peers(_stock_penalty),
            _stock_penalty,
            3,
            BACKWARD,
            overhead=overhead,
        ),
        _case(
            "sign_bits and gate_by_bits",
            hidden,
            functools.partial(_randn, [hidden, hidden], False),
            gates,
            [*stock_peers(_stock_gate), *in_layouts("leaky_relu_backward", _aten_gate, LAYOUTS)],
            _stock_gate,
            3,
            overhead=overhead,
        ),
    ]


def cases(device: torch.device) -> list[Case]:
    """Images and a hidden layer of a discriminator, and tensors of nothing, for the price of a call."""
    batch = 64 if device.type == "cuda" else 16
    return [*_cases((batch, 3, 128, 128), (batch, 64, 32, 32)), *_cases((2, 3, 4, 4), (2, 8, 4, 4), overhead=True)]
