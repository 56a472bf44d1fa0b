"""The one place where a model's layers are chosen: stock PyTorch modules or fastgan's drop-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.nn.utils import parametrizations

from .blocks import (
    BatchNormLeakyReLU,
    BatchNormReLU,
    ConditionalBatchNormReLU,
    ConditionedBatchNormReLU,
    InstanceNormReLU,
    StockPixelNorm,
)
from .style_functions import StyleFunctions, fast_style_functions, stock_style_functions

__all__ = ["Layers", "fast_layers", "stock_layers"]


@dataclass(frozen=True)
class Layers:
    """What the models build from; both sets give the same ``state_dict`` keys and the same initial numbers.

    Attributes
    ----------
    name : str
        ``"stock"`` or ``"fast"``.
    conv : callable
        :class:`torch.nn.Conv2d`, or what takes Winograd's algorithm where that is faster.
    spectral_norm : callable
        Wraps a module's weight in spectral normalisation and returns the module.
    group_spectral_norm : callable
        Called once on a whole network whose every forward uses all of its normalised weights; returns the network.
    batch_norm : callable
        ``batch_norm(channels)`` makes a batch norm followed by ReLU; ``batch_norm(channels, num_classes)`` one whose
        scale and shift depend on the label; ``batch_norm(channels, negative_slope=0.2)`` one followed by LeakyReLU.
    conditioned_batch_norm : callable
        ``conditioned_batch_norm(channels, condition_dim, linear)`` makes a batch norm followed by ReLU whose scale and
        shift are made from a vector by ``linear(condition_dim, channels, bias=False)``.
    block_up, block_down : callable
        The residual blocks: :class:`fastgan.nn.ResBlockUp` and ``ResBlockDown``, or what they stand in for.
    instance_norm : callable
        ``instance_norm(channels)`` makes an instance norm; ``affine=True`` gives it a scale and a shift, ``relu=True``
        puts ReLU after it.
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
        input gradient, ``select=`` that of a part of its output: :class:`fastgan.nn.PenalizedDiscriminator`, or the
        same by double backward.
    style : StyleFunctions
        The functions of StyleGAN2's networks.
    """

    name: str
    conv: Callable[..., nn.Conv2d]
    spectral_norm: Callable[[nn.Module], nn.Module]
    group_spectral_norm: Callable[[nn.Module], nn.Module]
    batch_norm: Callable[..., nn.Module]
    conditioned_batch_norm: Callable[..., nn.Module]
    block_up: Callable[..., nn.Module]
    block_down: Callable[..., nn.Module]
    bias_leaky_relu: Callable[[int, float], nn.Module]
    fir_resample: Callable[[bool], nn.Module]
    leaky_relu: Callable[[float], nn.Module]
    pixel_norm: Callable[[], nn.Module]
    penalize: Callable[..., nn.Module]
    instance_norm: Callable[..., nn.Module]
    style: StyleFunctions


def _stock_batch_norm(channels: int, num_classes: int | None = None, negative_slope: float | None = None) -> nn.Module:
    if negative_slope is not None:
        return BatchNormLeakyReLU(channels, negative_slope)
    return BatchNormReLU(channels) if num_classes is None else ConditionalBatchNormReLU(channels, num_classes)


def _stock_instance_norm(channels: int, *, affine: bool = False, relu: bool = False) -> nn.Module:
    return (InstanceNormReLU if relu else nn.InstanceNorm2d)(channels, affine=affine)


def stock_layers() -> Layers:
    """PyTorch's own modules."""
    from .bottleneck import stock_block_down, stock_block_up
    from .penalized import StockPenalizedDiscriminator
    from .resample import StockBiasLeakyReLU, StockFIRResample

    return Layers(
        name="stock",
        conv=nn.Conv2d,
        spectral_norm=parametrizations.spectral_norm,
        group_spectral_norm=lambda network: network,
        batch_norm=_stock_batch_norm,
        conditioned_batch_norm=ConditionedBatchNormReLU,
        block_up=stock_block_up,
        block_down=stock_block_down,
        bias_leaky_relu=StockBiasLeakyReLU,
        fir_resample=StockFIRResample,
        leaky_relu=nn.LeakyReLU,
        pixel_norm=StockPixelNorm,
        penalize=StockPenalizedDiscriminator,
        instance_norm=_stock_instance_norm,
        style=stock_style_functions(),
    )


def fast_layers() -> Layers:
    """The drop-ins of fastgan."""
    from fastgan.nn import (
        BatchNormAct2d,
        BiasAct,
        ConditionalBatchNorm2d,
        ConditionedBatchNorm2d,
        Conv2d,
        InstanceNormAct2d,
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

    def conditioned_batch_norm(channels: int, condition_dim: int, linear: Callable[..., nn.Module]) -> nn.Module:
        return ConditionedBatchNorm2d(channels, condition_dim, act="relu", linear=linear)

    def instance_norm(channels: int, *, affine: bool = False, relu: bool = False) -> nn.Module:
        return InstanceNormAct2d(channels, affine=affine, act="relu" if relu else "linear")

    def bias_leaky_relu(channels: int, negative_slope: float) -> nn.Module:
        return BiasAct(channels, act="lrelu", alpha=negative_slope, gain=1.0)

    return Layers(
        name="fast",
        conv=Conv2d,
        spectral_norm=spectral_norm,
        group_spectral_norm=group_spectral_norm,
        batch_norm=batch_norm,
        conditioned_batch_norm=conditioned_batch_norm,
        block_up=ResBlockUp,
        block_down=ResBlockDown,
        bias_leaky_relu=bias_leaky_relu,
        fir_resample=FIRResample,
        leaky_relu=LeakyReLU,
        pixel_norm=PixelNorm,
        penalize=PenalizedDiscriminator,
        instance_norm=instance_norm,
        style=fast_style_functions(),
    )
