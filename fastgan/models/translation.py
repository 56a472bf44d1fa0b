"""What the networks that translate images have in common."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import Layers

__all__ = ["InstanceNormResBlock", "conv_leaky_relu", "conv_norm_relu"]

#: PyTorch's default, which the authors of both StarGAN and UNIT have.
_SLOPE = 0.01


def conv_leaky_relu(conv: nn.Conv2d | nn.ConvTranspose2d, layers: Layers) -> nn.Sequential:
    """A convolution without bias, and a learned bias before LeakyReLU."""
    return nn.Sequential(conv, layers.bias_leaky_relu(conv.out_channels, _SLOPE))


def conv_norm_relu(conv: nn.Conv2d | nn.ConvTranspose2d, layers: Layers) -> nn.Sequential:
    """A convolution without bias, instance norm with scale and shift, ReLU."""
    return nn.Sequential(conv, layers.instance_norm(conv.out_channels, affine=True, relu=True))


class InstanceNormResBlock(nn.Module):
    """3×3 convolution, instance norm, ReLU, 3×3 convolution, instance norm; added to the input.

    Parameters
    ----------
    channels : int
        Width.
    layers : Layers
        The set of layers to build from.
    affine : bool, default: True
        Whether the norms have a scale and a shift.
    """

    def __init__(self, channels: int, layers: Layers, *, affine: bool = True) -> None:
        super().__init__()
        # A bias would be subtracted again by the norm.
        self.conv1 = layers.conv(channels, channels, 3, padding=1, bias=False)
        self.norm1 = layers.instance_norm(channels, affine=affine, relu=True)
        self.conv2 = layers.conv(channels, channels, 3, padding=1, bias=False)
        self.norm2 = layers.instance_norm(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, channels, H, W], and what the block adds."""
        return x + self.norm2(self.conv2(self.norm1(self.conv1(x))))
