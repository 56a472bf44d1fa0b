"""The one place where a model's layers are chosen: stock PyTorch modules or fastgan's drop-ins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.utils import parametrizations

from fastgan.penalties import Penalty

from .blocks import (
    BatchNormLeakyReLU,
    BatchNormReLU,
    ConditionalBatchNormReLU,
    StockResBlockDown,
    StockResBlockUp,
)

__all__ = ["Layers", "fast_layers", "stock_layers"]


@dataclass(frozen=True)
class Layers:
    """What the models build from; both sets give the same ``state_dict`` keys and the same initial numbers.

    Attributes
    ----------
    name : str
        ``"stock"`` or ``"fast"``.
    spectral_norm : callable
        Wraps a module's weight in spectral normalisation and returns the module.
    group_spectral_norm : callable
        Called once on a whole network whose every forward uses all of its normalised weights; returns the network.
    batch_norm : callable
        ``batch_norm(channels)`` makes a batch norm followed by ReLU; ``batch_norm(channels, num_classes)`` one whose
        scale and shift depend on the label; ``batch_norm(channels, negative_slope=0.2)`` one followed by LeakyReLU.
    block_up, block_down : callable
        The residual blocks: :class:`fastgan.nn.ResBlockUp` and ``ResBlockDown``, or what they stand in for.
    bias_leaky_relu : callable
        ``bias_leaky_relu(channels, negative_slope)`` adds a learned bias before LeakyReLU.
    fir_resample : callable
        ``fir_resample(up)`` doubles the resolution with the filter [1, 2, 1], or halves it.
    leaky_relu : callable
        ``leaky_relu(negative_slope)`` makes LeakyReLU.
    pixel_norm : callable
        ``pixel_norm()`` divides each pixel's vector of channels by its root mean square.
    penalize : callable
        ``penalize(discriminator, penalties)`` makes the module that calls it on real and fake images and penalises its
        input gradient: :class:`fastgan.nn.PenalizedDiscriminator`, or the same by double backward.
    """

    name: str
    spectral_norm: Callable[[nn.Module], nn.Module]
    group_spectral_norm: Callable[[nn.Module], nn.Module]
    batch_norm: Callable[..., nn.Module]
    block_up: Callable[..., nn.Module]
    block_down: Callable[..., nn.Module]
    bias_leaky_relu: Callable[[int, float], nn.Module]
    fir_resample: Callable[[bool], nn.Module]
    leaky_relu: Callable[[float], nn.Module]
    pixel_norm: Callable[[], nn.Module]
    penalize: Callable[[nn.Module, Sequence[Penalty]], nn.Module]


def _stock_batch_norm(channels: int, num_classes: int | None = None, negative_slope: float | None = None) -> nn.Module:
    if negative_slope is not None:
        return BatchNormLeakyReLU(channels, negative_slope)
    return BatchNormReLU(channels) if num_classes is None else ConditionalBatchNormReLU(channels, num_classes)


def stock_layers() -> Layers:
    """PyTorch's own modules."""
    from .penalized import StockPenalizedDiscriminator
    from .progan import StockPixelNorm
    from .resample import StockBiasLeakyReLU, StockFIRResample

    return Layers(
        "stock",
        parametrizations.spectral_norm,
        lambda network: network,
        _stock_batch_norm,
        StockResBlockUp,
        StockResBlockDown,
        StockBiasLeakyReLU,
        StockFIRResample,
        nn.LeakyReLU,
        StockPixelNorm,
        StockPenalizedDiscriminator,
    )


def fast_layers() -> Layers:
    """The drop-ins of fastgan."""
    from fastgan.nn import (
        BatchNormAct2d,
        BiasAct,
        ConditionalBatchNorm2d,
        LeakyReLU,
        PenalizedDiscriminator,
        PixelNorm,
        ResBlockDown,
        ResBlockUp,
    )
    from fastgan.nn.utils import group_spectral_norm, spectral_norm

    from .resample import FIRResample

    def batch_norm(channels: int, num_classes: int | None = None, negative_slope: float | None = None) -> nn.Module:
        if negative_slope is not None:
            return BatchNormAct2d(channels, act="lrelu", alpha=negative_slope)
        if num_classes is None:
            return BatchNormAct2d(channels, act="relu")
        return ConditionalBatchNorm2d(channels, num_classes, act="relu")

    def bias_leaky_relu(channels: int, negative_slope: float) -> nn.Module:
        return BiasAct(channels, act="lrelu", alpha=negative_slope, gain=1.0)

    return Layers(
        "fast",
        spectral_norm,
        group_spectral_norm,
        batch_norm,
        ResBlockUp,
        ResBlockDown,
        bias_leaky_relu,
        FIRResample,
        LeakyReLU,
        PixelNorm,
        PenalizedDiscriminator,
    )
