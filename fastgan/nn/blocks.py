"""Residual blocks that change the resolution: pre-activation, with the fused convolutions and normalisations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fastgan import functional
from fastgan.nn.convolution import Conv2d
from fastgan.nn.normalization import (
    AdaptiveInstanceNorm2d,
    BatchNormAct2d,
    ConditionalBatchNorm2d,
    ConditionedBatchNorm2d,
)
from fastgan.nn.resampling import ConvAvgPool2d, UpsampleConv2d
from fastgan.ops import checks
from fastgan.ops.bias_act.activations import ACTIVATIONS as ALL
from fastgan.ops.piecewise_linear import ACTIVATIONS

__all__ = ["ResBlockDown", "ResBlockUp"]

Norm = Callable[[int], nn.Module]
Wrap = Callable[[nn.Module], nn.Module]

_CONDITIONAL = (ConditionalBatchNorm2d, ConditionedBatchNorm2d, AdaptiveInstanceNorm2d)
_WITH_STATISTICS = (BatchNormAct2d, ConditionalBatchNorm2d, ConditionedBatchNorm2d)


def _hidden_channels(block: str, in_channels: int, out_channels: int, given: int | None, default: int) -> int:
    """The number of channels between the convolutions, once all of them are known to be positive."""
    numbers = {"in_channels": in_channels, "out_channels": out_channels, "hidden_channels": given}
    for argument, channels in numbers.items():
        if channels is not None and channels < 1:
            raise ValueError(f"{block}: {argument} must be at least 1, got {channels}")
    if given is None and default < 1:
        raise ValueError(f"{block}: hidden_channels must be given for a bottleneck of fewer than 4 channels, got None")
    return default if given is None else given


def _check_call(block: nn.Module, x: Tensor, in_channels: int, conditions: tuple[Tensor, ...]) -> None:
    name = type(block).__name__
    checks.check_floating(name, "x", x)
    if x.dim() != 4 or x.shape[1] != in_channels:
        raise ValueError(f"{name}: x must be [N, {in_channels}, H, W], got {list(x.shape)}")
    wanted = int(any(isinstance(module, _CONDITIONAL) for module in block.children()))
    if len(conditions) != wanted:
        expected = "one tensor for its conditional norms" if wanted else "left out, as no norm is conditional"
        raise ValueError(f"{name}: conditions must be {expected}, got {len(conditions)}")


def _unwrapped(module: nn.Module) -> nn.Module:
    return module


def _relu_batch_norm(channels: int) -> nn.Module:
    return BatchNormAct2d(channels, act="relu")


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    return Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


def _shapes(in_channels: int, hidden: int, out_channels: int, bottleneck: bool) -> list[tuple[int, int, int]]:
    """Channels in and out, and kernel size, of each convolution."""
    if not bottleneck:
        return [(in_channels, hidden, 3), (hidden, out_channels, 3)]
    return [(in_channels, hidden, 1), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, out_channels, 1)]


def _normalise(
    norm: nn.Module,
    x: Tensor,
    conditions: tuple[Tensor, ...],
    statistics: Tensor | None,
    then: Callable[..., Any] | None = None,
) -> Any:
    arguments = (x, *conditions) if isinstance(norm, _CONDITIONAL) else (x,)
    if isinstance(norm, _WITH_STATISTICS):
        return norm(*arguments, statistics=statistics, then=then)
    return norm(*arguments)


def _watched(module: nn.Module) -> bool:
    """Whether somebody looks at what the module is given or returns."""
    return bool(
        module._forward_pre_hooks or module._forward_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _fuses(conv: nn.Module) -> bool:
    """Whether the convolution is ours, as it was made: then it can do what is before and after it."""
    kind = parametrize.type_before_parametrizations(conv)
    if isinstance(conv, Conv2d):
        geometry = (conv.stride, conv.dilation, conv.groups, conv.padding_mode)
        as_made = kind is Conv2d and geometry == ((1, 1), (1, 1), 1, "zeros")
    else:
        as_made = kind in (UpsampleConv2d, ConvAvgPool2d)
    return as_made and "forward" not in vars(conv) and not _watched(conv)


def _hands_on(norm: nn.Module, conv: nn.Module) -> bool:
    """Whether the norm can leave its work to the convolution after it."""
    return isinstance(norm, _WITH_STATISTICS) and not _watched(norm) and _fuses(conv)


def _adds(conv: nn.Module, x: Tensor) -> bool:
    """Whether the convolution can add a residual to what it returns, in the dtype that it has."""
    return isinstance(conv, Conv2d) and _fuses(conv) and not torch.is_autocast_enabled(x.device.type)


class ResBlockUp(nn.Module):
    """A residual block that doubles the resolution: norm, activation and convolution, twice.

    With the defaults it is the generator's block of SNGAN and BigGAN. `bottleneck` makes it BigGAN-deep's; without
    `residual`, and with an activation before a pixel norm as `norm`, it is the pair of convolutions of Progressive
    Growing.

    Parameters
    ----------
    in_channels, out_channels : int
    hidden_channels : int, optional
        Between the convolutions. Default: out_channels; for a bottleneck a quarter of in_channels.
    norm : callable, optional
        ``norm(channels)`` makes the module before each convolution, its activation included. Default:
        ``BatchNormAct2d(channels, act="relu")``. Conditional norms of :mod:`fastgan.nn` are handed the block's
        conditions.
    wrap : callable, optional
        Applied to each convolution as it is made: an initialisation, or a spectral norm, as in ``wrap=spectral_norm``.
    bottleneck : bool, default False
        1×1, 3×3, 3×3 and 1×1 convolutions, and a shortcut that drops channels instead of mapping them.
    upsample : bool, default True
        Whether the block changes the resolution.
    residual : bool, default True
        Whether there is a shortcut.

    Shape
    -----
    Input ``[N, in_channels, H, W]``, output ``[N, out_channels, 2H, 2W]``, or of input's size without `upsample`.

    Notes
    -----
    Nothing that is upsampled is written before a convolution: the upsampling is part of the first one, which also
    gathers the statistics that the norm after it needs, and the shortcut's 1×1 convolution runs at the low resolution.
    A batch norm hands its work to the convolution after it, as :func:`fastgan.functional.norm_act_upsample_conv2d` and
    :func:`fastgan.functional.norm_act_conv2d` have it, and the last convolution adds the shortcut, unless hooks look at
    what they are given or return.

    T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, figure 9; A. Brock, J.
    Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", ICLR 2019, figures 15
    and 16.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int | None = None,
        norm: Norm | None = None,
        wrap: Wrap | None = None,
        bottleneck: bool = False,
        upsample: bool = True,
        residual: bool = True,
    ) -> None:
        super().__init__()
        norm, wrap = norm or _relu_batch_norm, wrap or _unwrapped
        default = in_channels // 4 if bottleneck else out_channels
        hidden = _hidden_channels("ResBlockUp", in_channels, out_channels, hidden_channels, default)
        if bottleneck and out_channels > in_channels:
            raise ValueError(
                f"ResBlockUp: out_channels must be at most in_channels for a bottleneck, which drops channels, "
                f"got {out_channels} > {in_channels}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.bottleneck, self.upsample = bottleneck, upsample
        shapes = _shapes(in_channels, hidden, out_channels, bottleneck)
        self.depth = len(shapes)
        #: Which of the convolutions the upsampling belongs to.
        self.upsampling = (2 if bottleneck else 1) if upsample else None
        for i, (a, b, size) in enumerate(shapes, 1):
            conv = UpsampleConv2d(a, b, size) if i == self.upsampling else _conv(a, b, size)
            self.add_module(f"norm{i}", norm(a))
            self.add_module(f"conv{i}", wrap(conv))
        mapped = residual and not bottleneck and (upsample or in_channels != out_channels)
        self.shortcut = wrap(_conv(in_channels, out_channels, 1)) if mapped else nn.Identity() if residual else None

    def forward(
        self, x: Tensor, *conditions: Tensor, statistics: Tensor | None = None, return_statistics: bool = False
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Apply the block.

        Parameters
        ----------
        x : Tensor
            ``[N, in_channels, H, W]``.
        *conditions : Tensor
            What conditional norms take: labels, or a conditioning vector; nothing where no norm is conditional.
        statistics : Tensor, optional
            Those of x, where the block before has gathered them; used by batch norms while training.
        return_statistics : bool, default False
            Whether to return the output's too, for the block or norm after this one: None where no pass gathers them,
            without a shortcut or upsampling.

        Returns
        -------
        Tensor, or pair of Tensor
            The output, ``[N, out_channels, 2H, 2W]``; its statistics ``[2, out_channels]``, or None.
        """
        _check_call(self, x, self.in_channels, conditions)
        h = x
        low = None if self.shortcut is None else x[:, : self.out_channels] if self.bottleneck else self.shortcut(x)
        for i in range(1, self.depth + 1):
            norm, conv = self.get_submodule(f"norm{i}"), self.get_submodule(f"conv{i}")
            # What the pass that writes the convolution's output does besides.
            fused: dict[str, Any] = {}
            if isinstance(conv, UpsampleConv2d) and self.training and self._takes_statistics(i + 1):
                fused["return_statistics"] = True
            if i == self.depth and low is not None and _adds(conv, x):
                fused.update(residual=low, return_statistics=return_statistics and self.upsample)
                low = None
            apply = partial(conv, **fused)
            if _hands_on(norm, conv):
                h = _normalise(norm, h, conditions, statistics, then=apply)
            else:
                h = apply(_normalise(norm, h, conditions, statistics))
            h, statistics = h if fused.get("return_statistics") else (h, None)
        if low is None:
            return (h, statistics) if return_statistics else h
        if not self.upsample:
            return (h + low, None) if return_statistics else h + low
        if h.dtype != low.dtype:  # under autocast, where the residual is no convolution's output: as h + low would be
            dtype = torch.promote_types(h.dtype, low.dtype)
            h, low = h.to(dtype), low.to(dtype)
        return functional.upsample_add(h, low, return_statistics=return_statistics)

    def _takes_statistics(self, i: int) -> bool:
        return isinstance(self.get_submodule(f"norm{i}"), _WITH_STATISTICS)


class ResBlockDown(nn.Module):
    """A residual block that halves the resolution: activation, convolution, activation, convolution, average pooling.

    With the defaults it is the discriminator's block of SNGAN and BigGAN; `bottleneck` makes it BigGAN-deep's, and
    without `residual` it is the pair of convolutions of Progressive Growing.

    Parameters
    ----------
    in_channels, out_channels : int
    hidden_channels : int, optional
        Between the convolutions. Default: out_channels; for a bottleneck a quarter of out_channels.
    norm : callable, optional
        ``norm(channels)`` makes the module before each convolution, its activation included. Default: none, and `act`.
    act, alpha
        The activation where there is no norm, relu by default: one of :func:`fastgan.functional.bias_act`, without its
        gain.
    wrap : callable, optional
        Applied to each convolution as it is made: an initialisation, or a spectral norm, as in ``wrap=spectral_norm``.
    bottleneck : bool, default False
        1×1, 3×3, 3×3 and 1×1 convolutions, and a shortcut that keeps the channels there are and adds mapped ones.
    downsample : bool, default True
        Whether the block changes the resolution.
    residual : bool, default True
        Whether there is a shortcut.
    preactivation : bool, default True
        Whether there is an activation (or norm) before the first convolution; the block that sees the image has none.

    Shape
    -----
    Input ``[N, in_channels, H, W]``, output ``[N, out_channels, H // 2, W // 2]``, or of input's size without
    `downsample`.

    Notes
    -----
    The pooling is part of the last convolution. Convolutions apply the activation before them as they read, and add the
    shortcut, unless hooks look at what they are given or return; the shortcut's 1×1 convolution runs at the low
    resolution.

    References as for :class:`ResBlockUp`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int | None = None,
        norm: Norm | None = None,
        act: str = "relu",
        alpha: float | None = None,
        wrap: Wrap | None = None,
        bottleneck: bool = False,
        downsample: bool = True,
        residual: bool = True,
        preactivation: bool = True,
    ) -> None:
        super().__init__()
        wrap = wrap or _unwrapped
        checks.check_choice("ResBlockDown", "act", act, tuple(ALL))
        if alpha is not None and act != "lrelu":
            raise ValueError(f"ResBlockDown: alpha must be None for act='{act}', got {alpha}")
        if bottleneck and out_channels < in_channels:
            raise ValueError(
                f"ResBlockDown: out_channels must be at least in_channels for a bottleneck, which adds channels, "
                f"got {out_channels} < {in_channels}"
            )
        default = out_channels // 4 if bottleneck else out_channels
        hidden = _hidden_channels("ResBlockDown", in_channels, out_channels, hidden_channels, default)
        self.in_channels, self.act, self.alpha = in_channels, act, alpha
        self.bottleneck, self.downsample = bottleneck, downsample
        shapes = _shapes(in_channels, hidden, out_channels, bottleneck)
        self.depth, self.preactivation, self.has_norm = len(shapes), preactivation, norm is not None
        for i, (a, b, size) in enumerate(shapes, 1):
            last = downsample and i == len(shapes)
            if norm is not None and (i > 1 or preactivation):
                self.add_module(f"norm{i}", norm(a))
            self.add_module(f"conv{i}", wrap(ConvAvgPool2d(a, b, size) if last else _conv(a, b, size)))
        added = out_channels - in_channels if bottleneck else out_channels
        mapped = residual and (added > 0 if bottleneck else downsample or in_channels != out_channels)
        if mapped:
            pooled = downsample and not bottleneck  # the bottleneck's other channels are pooled too
            conv = ConvAvgPool2d(in_channels, added, 1) if pooled else _conv(in_channels, added, 1)
            self.shortcut: nn.Module | None = wrap(conv)
        else:
            self.shortcut = nn.Identity() if residual else None

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Apply the block.

        Parameters
        ----------
        x : Tensor
            ``[N, in_channels, H, W]``.
        *conditions : Tensor
            What conditional norms take: labels, or a conditioning vector; nothing where no norm is conditional.

        Returns
        -------
        Tensor
            ``[N, out_channels, H // 2, W // 2]``.
        """
        _check_call(self, x, self.in_channels, conditions)
        h, low = x, self._shortcut(x)
        for i in range(1, self.depth + 1):
            conv = self.get_submodule(f"conv{i}")
            apply: Callable[..., Any] = conv
            if i == self.depth and low is not None and _adds(conv, x):
                apply, low = partial(conv, residual=low), None
            if i == 1 and not self.preactivation:
                h = apply(h)
            elif self.has_norm:
                norm = self.get_submodule(f"norm{i}")
                if isinstance(conv, Conv2d) and _hands_on(norm, conv):
                    h = _normalise(norm, h, conditions, None, then=apply)
                else:
                    h = apply(_normalise(norm, h, conditions, None))
            elif self.act in ACTIVATIONS and _fuses(conv):
                h = apply(h, self.act, self.alpha)
            else:
                # Ours, not torch's: a penalty on gradients then runs no pass over zeros.
                h = apply(
                    h if self.act == "linear" else functional.bias_act(h, act=self.act, alpha=self.alpha, gain=1.0)
                )
        return h if low is None else h + low

    def _shortcut(self, x: Tensor) -> Tensor | None:
        if self.shortcut is None or not self.bottleneck:
            return None if self.shortcut is None else self.shortcut(x)
        low = F.avg_pool2d(x, 2) if self.downsample else x
        return low if isinstance(self.shortcut, nn.Identity) else torch.cat([low, self.shortcut(low)], 1)
