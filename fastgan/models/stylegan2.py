"""The StyleGAN2 pair.

T. Karras, S. Laine, M. Aittala, J. Hellsten, J. Lehtinen, T. Aila, "Analyzing and Improving the Image Quality of
StyleGAN", CVPR 2020: figures 2 and 7, appendix B. Labels enter as in the code of T. Karras, M. Aittala, J. Hellsten,
S. Laine, J. Lehtinen, T. Aila, "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fastgan.distributed import mean_of_processes

from .layers import Layers, stock_layers
from .style_functions import StyleFunctions
from .style_layers import TAPS, EqualizedConv2d, EqualizedLinear, MappingNetwork

__all__ = ["StyleGAN2Discriminator", "StyleGAN2Generator"]


class StyledConv(nn.Module):
    """A 3×3 convolution modulated by a style, after upsampling or not; noise, bias and LeakyReLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Widths.
    w_dim : int
        Length of the style.
    size : int
        Height and width of the output.
    functions : StyleFunctions
        The functions to compute with.
    up : bool
        Whether to double the resolution.
    """

    filter: Tensor
    noise: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, size: int, functions: StyleFunctions, *, up: bool
    ) -> None:
        super().__init__()
        self.functions = functions
        self.up = up
        self.affine = EqualizedLinear(w_dim, in_channels, functions, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise", torch.randn(size, size))
        self.register_buffer("filter", torch.tensor(TAPS), persistent=False)

    def forward(self, x: Tensor, w: Tensor, batch: int | None = None) -> Tensor:
        """``x`` [N, in_channels, H, W], ``w`` [N, w_dim]; in training mode with fresh noise, as ``_noise`` draws it."""
        up = {"up": 2, "filter": self.filter, "flip_weight": False} if self.up else {}
        x = self.functions.modulated_conv2d(x, self.weight, self.affine(w), padding=1, **up)
        noise = _noise(x[:, :1], batch) if self.training else self.noise
        return self.functions.bias_act(x + (noise * self.noise_strength).to(x.dtype), self.bias, act="lrelu")


def _noise(images: Tensor, batch: int | None) -> Tensor:
    """Normal noise for ``images`` [N, C, H, W], which may be those at even places of a batch.

    It is drawn for all of the batch, for that is what several processes share out.
    """
    batch = batch or len(images)
    # Not randn_like, whose numbers depend on the memory layout.
    noise = torch.randn((batch, *images.shape[1:]), dtype=images.dtype, device=images.device)
    return noise if batch == len(images) else noise[::2]


class ToImage(nn.Module):
    """A 1×1 convolution modulated by a style, without demodulation."""

    def __init__(self, in_channels: int, image_channels: int, w_dim: int, functions: StyleFunctions) -> None:
        super().__init__()
        self.functions = functions
        self.affine = EqualizedLinear(w_dim, in_channels, functions, bias=1.0)
        self.weight = nn.Parameter(torch.randn(image_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(image_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``x`` [N, in_channels, H, W], ``w`` [N, w_dim]."""
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        return self.functions.bias_act(
            self.functions.modulated_conv2d(x, self.weight, styles, demodulate=False), self.bias
        )


class SynthesisNetwork(nn.Module):
    """Styles to images: a learned 4×4 start, two convolutions a resolution, images added up from each.

    Parameters
    ----------
    widths : list of int
        Width at 4×4, 8×8 and so on.
    w_dim : int
        Length of a style.
    image_channels : int
        Channels of the images made.
    functions : StyleFunctions
        The functions to compute with.
    """

    filter: Tensor

    def __init__(self, widths: list[int], w_dim: int, image_channels: int, functions: StyleFunctions) -> None:
        super().__init__()
        self.functions = functions
        self.start = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.convs = nn.ModuleList([StyledConv(widths[0], widths[0], w_dim, 4, functions, up=False)])
        for level, (lower, upper) in enumerate(pairwise(widths), 3):
            self.convs.append(StyledConv(lower, upper, w_dim, 2**level, functions, up=True))
            self.convs.append(StyledConv(upper, upper, w_dim, 2**level, functions, up=False))
        self.to_image = nn.ModuleList(ToImage(width, image_channels, w_dim, functions) for width in widths)
        self.register_buffer("filter", torch.tensor(TAPS), persistent=False)
        # Of an image and the convolution after it, the style is the same.
        self.num_styles = len(self.convs) + 1

    def forward(self, styles: Tensor, batch: int | None = None) -> Tensor:
        """``styles`` [N, num_styles, w_dim], or those at even places of a batch of ``batch``."""
        each = styles.unbind(1)
        x = self.convs[0](self.start.expand(len(styles), -1, -1, -1), each[0], batch)
        images = self.to_image[0](x, each[1])
        for level, to_image in enumerate(self.to_image[1:], 1):
            for index in (2 * level - 1, 2 * level):
                x = self.convs[index](x, each[index], batch)
            images = self.functions.upsample2d(images, self.filter) + to_image(x, each[2 * level + 1])
        return images


class StyleGAN2Generator(nn.Module):
    """Mapping and synthesis, with style mixing in training mode, truncation and path-length regularisation.

    Parameters
    ----------
    latent_dim : int
        Length of the noise vector.
    w_dim : int
        Length of a style.
    widths : list of int
        Width at 4×4, 8×8 and so on.
    mapping_layers : int, default: 8
        Layers of the mapping network.
    image_channels : int, default: 3
        Channels of the images made.
    num_classes : int, optional
        Number of labels; ``None`` makes an unconditional generator.
    style_mixing : float, default: 0.9
        In training mode, probability that a batch has the styles of a second noise from some layer on.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.

    Attributes
    ----------
    average : Tensor
        Moving average of w, [w_dim].
    path_length : Tensor
        Moving average of the path lengths, a scalar.
    """

    average: Tensor
    path_length: Tensor

    def __init__(
        self,
        latent_dim: int,
        w_dim: int,
        widths: list[int],
        mapping_layers: int = 8,
        image_channels: int = 3,
        num_classes: int | None = None,
        style_mixing: float = 0.9,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        functions = (layers or stock_layers()).style
        self.style_mixing = style_mixing
        self.mapping = MappingNetwork(latent_dim, w_dim, mapping_layers, num_classes, functions)
        self.synthesis = SynthesisNetwork(widths, w_dim, image_channels, functions)
        self.register_buffer("average", torch.zeros(w_dim))
        self.register_buffer("path_length", torch.zeros(()))

    def forward(
        self,
        latent: Tensor,
        labels: Tensor | None = None,
        *,
        truncation: float = 1.0,
        path: Sequence[Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Make images.

        Parameters
        ----------
        latent : Tensor
            Noise, [N, latent_dim], standard normal.
        labels : Tensor, optional
            int64 [N], for a conditional generator.
        truncation : float, default: 1
            ψ: styles are drawn to their average, down to it at 0.
        path : sequence of Tensor, optional
            More noise, and labels if there are any, for the path-length penalty: it takes every other one.

        Returns
        -------
        images : Tensor
            [N, image_channels, H, W], not bounded: those of the data are in [-1, 1].
        penalty : Tensor
            A scalar, where ``path`` is given.
        """
        styles = self._styles(latent, labels)
        if truncation != 1:
            styles = torch.lerp(self.average, styles, truncation)
        images = self.synthesis(styles)
        if path is None:
            return images
        return images, self._path_length_penalty(self._styles(*path)[::2], len(path[0]))

    def _styles(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """[N, num_styles, w_dim]."""
        w = self.mapping(latent, labels)
        count = self.synthesis.num_styles
        if self.training:
            self.average.lerp_(mean_of_processes(w.detach().mean(0)), 0.005)
        # Drawn on the CPU, for nothing must wait for a device.
        if not self.training or torch.rand(()).item() >= self.style_mixing:
            return w[:, None].repeat(1, count, 1)
        first = int(torch.randint(1, count, ()))
        other = self.mapping(torch.randn_like(latent), labels)
        return torch.cat([w[:, None].repeat(1, first, 1), other[:, None].repeat(1, count - first, 1)], 1)

    def _path_length_penalty(self, styles: Tensor, batch: int | None = None) -> Tensor:
        """Equation 4 of the paper: squared distance of ‖Jᵀy‖ from its moving average, y normal noise."""
        images = self.synthesis(styles, batch).to(styles.dtype)
        noise = _noise(images, batch) / math.sqrt(images[0, 0].numel())
        (gradient,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        mean = torch.lerp(self.path_length, mean_of_processes(lengths.mean()), 0.01)
        self.path_length.copy_(mean.detach())
        return (lengths - mean).square().mean()


class DiscriminatorBlock(nn.Module):
    """Two 3×3 convolutions, the second halving the resolution; around them a 1×1 convolution, if residual."""

    def __init__(self, in_channels: int, out_channels: int, functions: StyleFunctions, *, residual: bool) -> None:
        super().__init__()
        gain = math.sqrt(0.5) if residual else 1.0
        self.conv0 = EqualizedConv2d(in_channels, in_channels, 3, functions)
        self.conv1 = EqualizedConv2d(in_channels, out_channels, 3, functions, down=True, gain=gain)
        self.shortcut = (
            EqualizedConv2d(in_channels, out_channels, 1, functions, "linear", down=True, gain=gain)
            if residual
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, in_channels, H, W], of even height and width."""
        y = self.conv1(self.conv0(x))
        return y if self.shortcut is None else self.shortcut(x) + y


class StyleGAN2Discriminator(nn.Module):
    """Augmentation, blocks to 4×4, minibatch standard deviation, a 3×3 convolution and two linear layers.

    Parameters
    ----------
    widths : list of int
        Width at 4×4, 8×8 and so on.
    image_channels : int, default: 3
        Channels of the images judged.
    num_classes : int, optional
        Number of labels, mapped by eight layers, for the projection; ``None`` makes an unconditional discriminator.
    stddev_group : int, default: 4
        Samples in a group of the minibatch standard deviation.
    residual : bool, default: True
        Whether the blocks are residual.
    augment : nn.Module, optional
        What all images, real and generated ones, go through first; its state is in the state dict.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(
        self,
        widths: list[int],
        image_channels: int = 3,
        num_classes: int | None = None,
        stddev_group: int = 4,
        residual: bool = True,
        augment: nn.Module | None = None,
        layers: Layers | None = None,
    ) -> None:
        super().__init__()
        functions = (layers or stock_layers()).style
        self.functions = functions
        self.stddev_group = stddev_group
        self.augment = augment
        last = widths[0]
        self.from_image = EqualizedConv2d(image_channels, widths[-1], 1, functions)
        self.blocks = nn.Sequential(
            *(DiscriminatorBlock(m, n, functions, residual=residual) for m, n in pairwise(reversed(widths)))
        )
        self.conv = EqualizedConv2d(last + 1, last, 3, functions)
        self.dense = EqualizedLinear(last * 16, last, functions, "lrelu")
        self.out = EqualizedLinear(last, 1 if num_classes is None else last, functions)
        self.mapping = None if num_classes is None else MappingNetwork(0, last, 8, num_classes, functions)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge ``images`` [N, image_channels, H, W], of ``labels`` int64 [N] or none: one logit an image, [N]."""
        if self.augment is not None:
            images = self.augment(images)
        x = self.blocks(self.from_image(images))
        x = self.conv(self.functions.minibatch_stddev(x, self.stddev_group))
        x = self.out(self.dense(x.flatten(1)))
        if self.mapping is None:
            return x.squeeze(1)
        return (x * self.mapping(None, labels)).sum(1) / math.sqrt(x.shape[1])
