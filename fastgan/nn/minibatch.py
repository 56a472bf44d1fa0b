"""Layers that look across the samples of a minibatch."""

from __future__ import annotations

from torch import Tensor, nn

from fastgan import functional

__all__ = ["MinibatchStdDev"]


class MinibatchStdDev(nn.Module):
    """Appends standard deviations over groups of samples: :func:`fastgan.functional.minibatch_stddev` as a module.

    Parameters
    ----------
    group_size : int, optional
        Samples in a group, None for the whole batch. Default 4.
    num_channels : int, default 1
        Channels to append.

    Shape
    -----
    Input ``[N, C, H, W]``, output ``[N, C + num_channels, H, W]``.
    """

    def __init__(self, group_size: int | None = 4, num_channels: int = 1) -> None:
        super().__init__()
        self.group_size = group_size
        self.num_channels = num_channels

    def forward(self, input: Tensor) -> Tensor:
        """Return input with the statistics as further channels; differentiable twice."""
        return functional.minibatch_stddev(input, self.group_size, self.num_channels)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"group_size={self.group_size}, num_channels={self.num_channels}"
