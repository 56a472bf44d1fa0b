"""Norms and residual blocks on PyTorch's own modules: what those of fastgan.nn stand in for.

Signatures and ``state_dict`` keys are theirs. The 1×1 convolutions of the shortcuts are applied on the low-resolution
side: they commute with nearest upsampling and with average pooling, so the function and its gradients are those of the
papers for a quarter of the work.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "BatchNormLeakyReLU", "BatchNormReLU", "ConditionalBatchNormReLU", "ConditionedBatchNormReLU", "InstanceNormReLU",
    "StockPixelNorm", "StockResBlockDown", "StockResBlockUp", "pixel_norm",
]  # fmt: skip


class BatchNormReLU(nn.BatchNorm2d):
    """Batch norm, then ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` [N, C, H, W]."""
        return F.relu_(super().forward(input))


class BatchNormLeakyReLU(nn.BatchNorm2d):
    """Batch norm, then LeakyReLU."""

    def __init__(self, num_features: int, negative_slope: float) -> None:
        super().__init__(num_features)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` [N, C, H, W]."""
        return F.leaky_relu_(super().forward(input), self.negative_slope)


class InstanceNormReLU(nn.InstanceNorm2d):
    """Instance norm, then ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` [N, C, H, W]."""
        return F.relu_(super().forward(input))


class ConditionalBatchNormReLU(nn.Module):
    """Batch norm whose scale and shift are looked up by the sample's label, then ReLU."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features, affine=False)
        self.weight = nn.Embedding(num_classes, num_features)
        self.bias = nn.Embedding(num_classes, num_features)
        nn.init.ones_(self.weight.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, input: Tensor, labels: Tensor) -> Tensor:
        """Normalise ``input`` [N, C, H, W], then scale and shift by rows ``labels`` [N] of the tables."""
        scale = self.weight(labels)[:, :, None, None]
        shift = self.bias(labels)[:, :, None, None]
        return F.relu_(shift.addcmul(self.norm(input), scale))


class ConditionedBatchNormReLU(nn.Module):
    """Batch norm whose scale, less 1, and shift are linear in a vector of the sample, then ReLU."""

    def __init__(self, num_features: int, condition_dim: int, linear: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features, affine=False)
        self.gain = linear(condition_dim, num_features, bias=False)
        self.bias = linear(condition_dim, num_features, bias=False)

    def forward(self, input: Tensor, condition: Tensor) -> Tensor:
        """Normalise ``input`` [N, C, H, W], then scale and shift by what ``condition`` [N, condition_dim] gives."""
        scale = 1 + self.gain(condition)[:, :, None, None]
        shift = self.bias(condition)[:, :, None, None]
        return F.relu_(shift.addcmul(self.norm(input), scale))


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Each vector of ``x`` [N, C, ...] over its root mean square."""
    return x * (x.square().mean(1, keepdim=True) + eps).rsqrt()


class StockPixelNorm(nn.Module):
    """What ``fastgan.nn.PixelNorm`` stands in for."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C, ...]."""
        return pixel_norm(x)


class StockResBlockUp(nn.Module):
    """Norm, ReLU, upsampling, convolution, norm, ReLU, convolution; around them a 1×1 convolution, or nothing."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: Callable[[int], nn.Module],
        wrap: Callable[[nn.Module], nn.Module],
        residual: bool = True,
    ) -> None:
        super().__init__()
        # Convolutions are made before norms, for the same random numbers.
        conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm1, self.conv1 = norm(in_channels), wrap(conv)
        conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2, self.conv2 = norm(out_channels), wrap(conv)
        self.shortcut = wrap(nn.Conv2d(in_channels, out_channels, 1)) if residual else None

    def forward(
        self, x: Tensor, *conditions: Tensor, statistics: None = None, return_statistics: bool = False
    ) -> Tensor | tuple[Tensor, None]:
        """Double the resolution of ``x``; there are no statistics to hand on."""
        h = self.conv1(F.interpolate(self.norm1(x, *conditions), scale_factor=2, mode="nearest"))
        h = self.conv2(self.norm2(h, *conditions))
        output = h if self.shortcut is None else h + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")
        return (output, None) if return_statistics else output


class StockResBlockDown(nn.Module):
    """ReLU or LeakyReLU, convolution, the same again, pooling; around them a 1×1 convolution where shapes change."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int | None = None,
        act: str = "relu",
        alpha: float = 0.2,
        wrap: Callable[[nn.Module], nn.Module],
        downsample: bool = True,
        residual: bool = True,
        preactivation: bool = True,
    ) -> None:
        super().__init__()
        hidden = out_channels if hidden_channels is None else hidden_channels
        slope = {"relu": 0.0, "lrelu": alpha}[act]
        # The block's input feeds the shortcut too, so the first rectifier must not work in place.
        self.act1 = _rectifier(slope, inplace=False) if preactivation else nn.Identity()
        self.conv1 = wrap(nn.Conv2d(in_channels, hidden, 3, padding=1))
        self.act2 = _rectifier(slope, inplace=True)
        self.conv2 = wrap(nn.Conv2d(hidden, out_channels, 3, padding=1))
        mapped = downsample or in_channels != out_channels
        shortcut = wrap(nn.Conv2d(in_channels, out_channels, 1)) if residual and mapped else nn.Identity()
        self.shortcut = shortcut if residual else None
        self.pool = nn.AvgPool2d(2) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Halve the resolution of ``x``, unless the block was made not to."""
        h = self.pool(self.conv2(self.act2(self.conv1(self.act1(x)))))
        return h if self.shortcut is None else h + self.shortcut(self.pool(x))


def _rectifier(slope: float, *, inplace: bool) -> nn.Module:
    return nn.LeakyReLU(slope, inplace=inplace) if slope else nn.ReLU(inplace=inplace)
