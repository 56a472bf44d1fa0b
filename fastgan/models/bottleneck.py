"""BigGAN-deep's residual blocks on PyTorch's own modules, and the choice between them and the plain ones.

Signatures and ``state_dict`` keys are those of fastgan.nn's ResBlockUp and ResBlockDown with ``bottleneck=True``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import StockResBlockDown, StockResBlockUp

__all__ = ["StockBottleneckDown", "StockBottleneckUp", "stock_block_down", "stock_block_up"]

_Wrap = Callable[[nn.Module], nn.Module]


def _shapes(in_channels: int, hidden: int, out_channels: int) -> list[tuple[int, int, int]]:
    """Channels in and out, and kernel size, of each convolution."""
    return [(in_channels, hidden, 1), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, out_channels, 1)]


class StockBottleneckUp(nn.Module):
    """Four times norm, ReLU and convolution, upsampling before the second; the shortcut drops channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: Callable[[int], nn.Module],
        wrap: _Wrap,
        upsample: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        for i, (a, b, size) in enumerate(_shapes(in_channels, in_channels // 4, out_channels), 1):
            conv = nn.Conv2d(a, b, size, padding=size // 2)  # before the norm, for the same random numbers
            self.add_module(f"norm{i}", norm(a))
            self.add_module(f"conv{i}", wrap(conv))
        self.upsample = nn.UpsamplingNearest2d(scale_factor=2) if upsample else nn.Identity()

    def forward(
        self, x: Tensor, *conditions: Tensor, statistics: None = None, return_statistics: bool = False
    ) -> Tensor | tuple[Tensor, None]:
        """Apply the block to ``x``; there are no statistics to hand on."""
        h = x
        for i in range(1, 5):
            h = self.get_submodule(f"norm{i}")(h, *conditions)
            h = self.get_submodule(f"conv{i}")(self.upsample(h) if i == 2 else h)
        output = h + self.upsample(x[:, : self.out_channels])
        return (output, None) if return_statistics else output


class StockBottleneckDown(nn.Module):
    """Four times ReLU and convolution, pooling before the last; the shortcut adds mapped channels."""

    def __init__(self, in_channels: int, out_channels: int, *, wrap: _Wrap, downsample: bool = True) -> None:
        super().__init__()
        for i, (a, b, size) in enumerate(_shapes(in_channels, out_channels // 4, out_channels), 1):
            self.add_module(f"conv{i}", wrap(nn.Conv2d(a, b, size, padding=size // 2)))
        added = out_channels - in_channels
        self.shortcut = wrap(nn.Conv2d(in_channels, added, 1)) if added else None
        self.pool = nn.AvgPool2d(2) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to ``x``."""
        h = x
        for i in range(1, 5):
            h = F.relu(h)
            h = self.get_submodule(f"conv{i}")(self.pool(h) if i == 4 else h)
        x = self.pool(x)
        return h + (x if self.shortcut is None else torch.cat([x, self.shortcut(x)], 1))


def stock_block_up(in_channels: int, out_channels: int, *, bottleneck: bool = False, **options: Any) -> nn.Module:
    """The generator's block, plain or as a bottleneck."""
    return (StockBottleneckUp if bottleneck else StockResBlockUp)(in_channels, out_channels, **options)


def stock_block_down(in_channels: int, out_channels: int, *, bottleneck: bool = False, **options: Any) -> nn.Module:
    """The discriminator's block, plain or as a bottleneck."""
    return (StockBottleneckDown if bottleneck else StockResBlockDown)(in_channels, out_channels, **options)
