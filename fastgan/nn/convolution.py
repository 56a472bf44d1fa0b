"""torch's convolution, with Winograd's algorithm where that is faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastgan import functional

__all__ = ["Conv2d"]


class Conv2d(nn.Conv2d):
    """Drop-in for :class:`torch.nn.Conv2d`: same arguments, same state dict, same results up to rounding.

    3×3 convolutions of stride 1 go to :func:`fastgan.functional.conv2d`, which takes Winograd's algorithm on CPUs where
    that is faster; all others are torch's own.

    Shape
    -----
    As for :class:`torch.nn.Conv2d`, an input ``[C, H, W]`` without a batch included.
    """

    def forward(
        self,
        input: Tensor,
        act: str = "linear",
        alpha: float | None = None,
        *,
        residual: Tensor | None = None,
        return_statistics: bool = False,
        norm: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the convolution of input, or of its activation, plus a residual.

        `act`, `alpha`, `residual` and `return_statistics` are those of :func:`fastgan.functional.conv2d`. `norm`,
        arguments of ``functional.norm_act_conv2d``, normalises and activates the input before. They are for batches
        of images and convolutions of stride 1, without dilation or groups, padded with zeros.
        """
        alone = act == "linear" and residual is None and not return_statistics and norm is None
        simple = self.stride == self.dilation == (1, 1) and self.groups == 1 and self.padding_mode == "zeros"
        if not simple and not alone:
            raise NotImplementedError(
                "Conv2d: act, residual, return_statistics and norm are for stride 1, dilation 1, groups 1 and zero "
                f"padding, got {self}"
            )
        weight = self.weight
        winograd = self.kernel_size == (3, 3) and input.dim() == 4 and input.dtype == weight.dtype == torch.float32
        if alone and not (simple and winograd):
            return self._conv_forward(input, weight, self.bias)
        if norm is not None and act != "linear":
            raise ValueError(f"Conv2d: act must be 'linear' beside norm, which has an act of its own, got '{act}'")
        fused: dict[str, Any] = {"residual": residual, "return_statistics": return_statistics}
        if norm is not None:
            return functional.norm_act_conv2d(input, weight, self.bias, padding=self.padding, **fused, **norm)
        return functional.conv2d(input, weight, self.bias, padding=self.padding, act=act, alpha=alpha, **fused)
