"""StyleGAN2's layers of equalised learning rate, and the mapping network made of them."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .style_functions import StyleFunctions

__all__ = ["TAPS", "EqualizedConv2d", "EqualizedLinear", "MappingNetwork"]

#: The filter of all resampling, [1, 3, 3, 1] normalised.
TAPS = (0.125, 0.375, 0.375, 0.125)
_MAPPING_LR = 0.01


class EqualizedLinear(nn.Module):
    """A linear layer whose weights are of variance 1 and scaled at run time, then an activation.

    Parameters
    ----------
    in_features, out_features : int
        Lengths of input and output.
    functions : StyleFunctions
        The functions to compute with.
    act : str, default: "linear"
        "linear" or "lrelu".
    lr : float, default: 1
        Multiplier of the learning rate: weights and bias are kept so many times smaller than they are stored.
    bias : float, default: 0
        The initial bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        functions: StyleFunctions,
        act: str = "linear",
        lr: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.functions = functions
        self.act = act
        self.lr = lr
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, in_features]."""
        x = F.linear(x, self.weight * (self.lr / math.sqrt(self.weight.shape[1])))
        return self.functions.bias_act(x, self.bias * self.lr, act=self.act)


class EqualizedConv2d(nn.Module):
    """A convolution whose weights are of variance 1 and scaled at run time, then an activation.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
        As for ``nn.Conv2d``; the output has the input's size.
    functions : StyleFunctions
        The functions to compute with.
    act : str, default: "lrelu"
        With a bias before it; "linear" has none.
    down : bool, default: False
        Halve the resolution, with the filter.
    gain : float, default: 1
        Factor on the output.
    """

    filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        functions: StyleFunctions,
        act: str = "lrelu",
        *,
        down: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.functions = functions
        self.down = down
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if act == "lrelu" else None
        self.scale = (gain if self.bias is None else 1) / math.sqrt(in_channels * kernel_size**2)
        self.gain = gain * math.sqrt(2)
        self.register_buffer("filter", torch.tensor(TAPS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, in_channels, H, W], H and W even where they are halved."""
        weight = self.weight * self.scale
        size = weight.shape[2]
        if not self.down:
            x = self.functions.conv2d(x, weight, padding=size // 2)
        elif size == 1:
            x = self.functions.conv2d(self.functions.downsample2d(x, self.filter), weight, padding=0)
        else:
            x = F.conv2d(self.functions.upfirdn2d(x, self.filter, padding=2), weight, stride=2, padding=size // 2 - 1)
        return x if self.bias is None else self.functions.bias_act(x, self.bias, act="lrelu", gain=self.gain)


class MappingNetwork(nn.Module):
    """Noise and labels to a style w, in float32 under autocast.

    Parameters
    ----------
    latent_dim : int
        Length of the noise vector; 0 for labels alone.
    w_dim : int
        Length of w.
    layers : int
        Linear layers.
    num_classes : int or None
        Number of labels, None for none.
    functions : StyleFunctions
        The functions to compute with.
    """

    def __init__(
        self, latent_dim: int, w_dim: int, layers: int, num_classes: int | None, functions: StyleFunctions
    ) -> None:
        super().__init__()
        self.norm = partial(functions.norm_act, norm="pixel", eps=1e-8)
        self.embedding = None if num_classes is None else EqualizedLinear(num_classes, w_dim, functions)
        sizes = [latent_dim + (0 if num_classes is None else w_dim)] + [w_dim] * layers
        self.layers = nn.Sequential(
            *(EqualizedLinear(m, n, functions, "lrelu", _MAPPING_LR) for m, n in pairwise(sizes))
        )

    def forward(self, latent: Tensor | None, labels: Tensor | None) -> Tensor:
        """``latent`` [N, latent_dim] or None, ``labels`` int64 [N] or None."""
        weight = next(self.parameters())
        with torch.autocast(weight.device.type, enabled=False):
            parts = [] if latent is None else [self.norm(latent.to(weight.dtype))]
            if self.embedding is not None:
                if labels is None:
                    raise ValueError("MappingNetwork: labels must be given to a conditional network, got None")
                classes = F.one_hot(labels, self.embedding.weight.shape[1]).to(weight.dtype)
                parts.append(self.norm(self.embedding(classes)))
            return self.layers(torch.cat(parts, 1))
