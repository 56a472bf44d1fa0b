"""norm_act against torch's own sequence: normalisation, affine map of each sample or channel, activation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.functional import norm_act

from ..case import BACKWARD, FORWARD, LAYOUTS, Case, in_layouts, stateless, stock_peers

__all__ = ["cases"]

EPS = 1e-5
ALPHA = 0.2


def _stock(norm: str, act: str, in_place: bool, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if norm == "pixel":
        y = x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPS)
    elif weight.dim() == 2:
        y = torch.addcmul(bias[:, :, None, None], F.batch_norm(x, None, None, training=True), weight[:, :, None, None])
    elif norm == "eval":
        mean, var = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
        y = F.batch_norm(x, mean, var, weight, bias, False)
    elif norm == "instance":
        y = F.instance_norm(x, None, None, weight, bias)
    else:
        y = F.batch_norm(x, None, None, weight, bias, True)
    if act == "relu":
        return torch.relu_(y) if in_place else torch.relu(y)
    return F.leaky_relu_(y, ALPHA) if in_place else F.leaky_relu(y, ALPHA)


def _ours(norm: str, act: str, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if norm == "pixel":
        return norm_act(x, norm="pixel", eps=EPS, act=act)
    if norm == "eval":
        mean, var = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
        return norm_act(x, mean, var, weight, bias, act=act)
    return norm_act(x, None, None, weight, bias, True, norm=norm, act=act)


def _case(
    norm: str, act: str, shape: Sequence[int], by_sample: bool = False, overhead: bool = False, quick: bool = False
) -> Case:
    ours = functools.partial(_ours, norm, act)
    eager, in_place = (functools.partial(_stock, norm, act, flag) for flag in (False, True))

    def inputs() -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(shape, generator=generator)
        n, channels = shape[:2]
        weight, bias = torch.randn((2, n, channels) if by_sample else (2, channels), generator=generator)
        # Where the activation's kink lies within rounding, its slope is either side's: no element is left there.
        for _ in range(3):
            z = _stock(norm, "lrelu", False, x.double(), weight.double(), bias.double())
            x = x + 1e-3 * (z.abs() < 1e-5)
        parameters = () if norm == "pixel" else (weight, bias)
        return (x.requires_grad_(), *(p.requires_grad_() for p in parameters))

    def with_parameters(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        if norm != "pixel":
            return function
        unused = torch.zeros(0)
        return lambda x: function(x, unused, unused)

    n = torch.Size(shape).numel()
    passes = 1 if norm in ("eval", "pixel") else 2  # reads before anything can be written
    name = f"{norm} {'by sample ' if by_sample else ''}{act} {'x'.join(map(str, shape))} float32"
    return Case(
        family="norm_act",
        name=name,
        workload={"norm": norm, "act": act, "shape": list(shape), "by_sample": by_sample, "dtype": "torch.float32"},
        inputs=inputs,
        ours=in_layouts("fastgan", with_parameters(ours), LAYOUTS),
        peers=stock_peers(with_parameters(eager), with_parameters(in_place)),
        reference=stateless(with_parameters(eager)),
        dtype=torch.float32,
        # Forward: read x for each pass, write y. Backward: read x and dy for each pass, write dx.
        bytes={FORWARD: 4 * n * (passes + 1), BACKWARD: 4 * n * (passes + 1 + 2 * passes + 1)},
        # Deviation, square, sum, affine map, activation; then slope, two sums, three products and sums.
        flops={FORWARD: 7 * n, BACKWARD: 17 * n},
        overhead=overhead,
        quick=quick,
    )


def cases(device: torch.device) -> list[Case]:
    """The cases, larger on a GPU; the first is the one that the project states a target for."""
    large = (64, 128, 128, 128) if device.type == "cuda" else (16, 128, 64, 64)
    return [
        _case("batch", "relu", large, by_sample=True, quick=True),
        _case("batch", "relu", large),
        _case("instance", "lrelu", large),
        _case("pixel", "lrelu", large),
        _case("eval", "relu", large),
        _case("batch", "relu", (16, 256, 8, 8), by_sample=True),
        _case("batch", "relu", (2, 8, 4, 4), by_sample=True, overhead=True, quick=True),
    ]
