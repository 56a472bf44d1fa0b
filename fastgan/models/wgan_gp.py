"""The residual critic of WGAN-GP for 32×32 images; its generator is that of SNGAN, which took it from here.

Architecture: I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of Wasserstein GANs",
NeurIPS 2017, appendix F, the tables of the CIFAR-10 ResNet.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layers import Layers, stock_layers
from .sngan import initialised

__all__ = ["WGANGPCritic"]


class WGANGPCritic(nn.Module):
    """Two downsampling and two plain residual blocks, ReLU, global mean, dense; no normalisation.

    Parameters
    ----------
    channels : int, default: 128
        Width of every block; 128 is the paper's.
    image_channels : int, default: 3
        Channels of the images judged.
    layers : Layers, optional
        The set of layers to build from; stock PyTorch modules by default.
    """

    def __init__(self, channels: int = 128, image_channels: int = 3, layers: Layers | None = None) -> None:
        super().__init__()
        layers = layers or stock_layers()
        self.blocks = nn.Sequential(
            layers.block_down(image_channels, channels, wrap=initialised, preactivation=False),
            layers.block_down(channels, channels, wrap=initialised),
            layers.block_down(channels, channels, wrap=initialised, downsample=False),
            layers.block_down(channels, channels, wrap=initialised, downsample=False),
        )
        self.act = nn.ReLU()
        self.dense = nn.Linear(channels, 1)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Rate ``images`` [N, image_channels, 32, 32] in [-1, 1]: one number an image, [N]."""
        return self.dense(self.act(self.blocks(images)).mean((2, 3))).squeeze(1)
