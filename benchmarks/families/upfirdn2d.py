"""The FIR resamplers against zero insertion, padding and a depthwise convolution, and against its strided forms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan import functional

from ..case import BACKWARD, FORWARD, LAYOUTS, Case, Side, in_layouts, stateless, stock_peers

__all__ = ["cases"]

#: StyleGAN's filter; its sum is a power of two, so that the normalised taps are exact in every dtype.
TAPS = (1.0, 3.0, 3.0, 1.0)


def _inputs(shape: Sequence[int], dtype: torch.dtype) -> tuple[Tensor]:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_(),)


@functools.cache
def _taps(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The filter as ours takes it, and as a matrix for the stock calls: made once, as a module's buffers are."""
    filter = functional.setup_filter(TAPS, device=device)
    return filter, torch.outer(filter, filter).to(dtype)


def _ours(name: str) -> Callable[[Tensor], Tensor]:
    function = getattr(functional, name)
    return lambda x: function(x, _taps(x.device, x.dtype)[0])


def _weight(x: Tensor) -> Tensor:
    return _taps(x.device, x.dtype)[1].expand(x.shape[1], 1, -1, -1)


def _as_described(name: str) -> Callable[[Tensor], Tensor]:
    """Zero insertion, padding, depthwise convolution, and every second pixel: the steps one after the other."""

    def up(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        spread = F.pad(x.reshape(batch, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
        spread = spread.reshape(batch, channels, 2 * height, 2 * width)
        return F.conv2d(F.pad(spread, (2, 1, 2, 1)), 4 * _weight(x), groups=channels)

    def down(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), _weight(x), groups=x.shape[1])[:, :, ::2, ::2]

    def same(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (2, 1, 2, 1)), _weight(x), groups=x.shape[1])

    return {"upsample2d": up, "downsample2d": down, "filter2d": same}[name]


def _strided(name: str) -> Callable[[Tensor], Tensor] | None:
    """One convolution that makes no zeros and drops no results; filter2d has none."""

    def up(x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, 4 * _weight(x), stride=2, padding=1, groups=x.shape[1])

    def down(x: Tensor) -> Tensor:
        return F.conv2d(x, _weight(x), stride=2, padding=1, groups=x.shape[1])

    return {"upsample2d": up, "downsample2d": down}.get(name)


def _case(
    name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32, overhead: bool = False, quick: bool = False
) -> Case:
    strided = _strided(name)
    peers: list[Side] = stock_peers(_as_described(name))
    if strided is not None:
        peers += in_layouts("strided", strided, LAYOUTS)
    n = torch.Size(shape).numel()
    outputs = {"upsample2d": 4 * n, "downsample2d": n // 4, "filter2d": n}[name]
    # Two passes over a filter of 4 taps, of which upsampling leaves 2; the first has the output's rows.
    between = {"upsample2d": 2 * n, "downsample2d": n // 2, "filter2d": n}[name]
    taps = 2 if name == "upsample2d" else 4
    return Case(
        family="upfirdn2d",
        name=f"{name} {'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}",
        workload={"function": name, "filter": list(TAPS), "shape": list(shape), "dtype": str(dtype)},
        inputs=functools.partial(_inputs, shape, dtype),
        ours=in_layouts("fastgan", _ours(name), LAYOUTS),
        peers=peers,
        reference=stateless(_as_described(name)),
        dtype=dtype,
        # The transpose moves what the forward moves and, factors exchanged, computes as much.
        bytes={FORWARD: (n + outputs) * dtype.itemsize, BACKWARD: 2 * (n + outputs) * dtype.itemsize},
        flops={FORWARD: 2 * taps * (between + outputs), BACKWARD: 4 * taps * (between + outputs)},
        overhead=overhead,
        quick=quick,
    )


def cases(device: torch.device) -> list[Case]:
    """The cases, larger on a GPU."""
    shape = (64, 128, 64, 64) if device.type == "cuda" else (16, 128, 32, 32)
    return [
        *(_case(name, shape, quick=True) for name in ("upsample2d", "downsample2d", "filter2d")),
        _case("upsample2d", shape, torch.bfloat16),
        _case("upsample2d", (16, 3, 64, 64)),
        _case("upsample2d", (16, 512, 4, 4)),
        _case("upsample2d", (2, 8, 4, 4), overhead=True, quick=True),
    ]
