"""Cases of the two resampling convolutions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .case import BACKWARD, FORWARD, LAYOUTS, Case, in_layouts, stateless, stock_peers

__all__ = ["Shape", "convolution_case"]


class Shape(NamedTuple):
    """Of a convolution of square images, whose `size` is the input's."""

    batch: int
    c_in: int
    c_out: int
    size: int
    kernel: int = 3
    groups: int = 1


def _inputs(shape: Shape) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape.batch, shape.c_in, shape.size, shape.size, generator=generator)
    per_group = shape.c_in // shape.groups
    weight = torch.randn(shape.c_out, per_group, shape.kernel, shape.kernel, generator=generator)
    weight *= (per_group * shape.kernel**2) ** -0.5
    bias = torch.randn(shape.c_out, generator=generator)
    return x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def convolution_case(
    family: str,
    shape: Shape,
    ours: Callable[..., Tensor],
    stock: Callable[..., Tensor],
    out_scale: float,
    overhead: bool = False,
    quick: bool = False,
) -> Case:
    """A convolution whose output has `out_scale` times the input's height and width.

    Parameters
    ----------
    family : str
    shape : Shape
    ours, stock : callable
        ``function(shape, x, weight, bias)``.
    out_scale : float
    overhead, quick : bool
        As for :class:`Case`.
    """
    eager = functools.partial(stock, shape)
    x = shape.batch * shape.c_in * shape.size**2
    y = int(shape.batch * shape.c_out * (shape.size * out_scale) ** 2)
    # The stock pair's bias is added at the higher resolution.
    terms = shape.batch * int(shape.size * max(1.0, out_scale)) ** 2
    w = shape.c_out * shape.c_in // shape.groups * shape.kernel**2
    # A multiplication and an addition a tap of the low-resolution image.
    products = 2 * w * shape.batch * int(shape.size * min(1.0, out_scale)) ** 2
    details = f"{shape.kernel}x{shape.kernel}" + (f" groups={shape.groups}" if shape.groups > 1 else "")
    return Case(
        family=family,
        name=f"{shape.batch}x{shape.c_in}->{shape.c_out} {shape.size}->{int(shape.size * out_scale)} {details} float32",
        workload={**shape._asdict(), "dtype": "torch.float32"},
        inputs=functools.partial(_inputs, shape),
        ours=in_layouts("fastgan", functools.partial(ours, shape), LAYOUTS),
        peers=stock_peers(eager),
        reference=stateless(eager),
        dtype=torch.float32,
        bytes={FORWARD: 4 * (x + w + y), BACKWARD: 4 * (3 * x + 4 * w + 2 * y)},
        flops={FORWARD: products, BACKWARD: 3 * products},
        overhead=overhead,
        quick=quick,
        sums={3: terms},
    )
