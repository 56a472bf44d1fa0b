"""Any pretrained model of the package timm as a feature network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import FeatureNetwork, to_pixels

__all__ = ["TimmModel"]


class TimmModel(FeatureNetwork):
    """A timm model without its classifier; frozen, always in evaluation mode.

    Images are resized to the model's size by its own filter, antialiased, and normalised by its own mean and deviation.

    Parameters
    ----------
    name : str
        As ``timm.create_model`` takes it, e.g. ``"resnet50.a1_in1k"``.
    weights : str or Path, optional
        A checkpoint to load instead of fetching the pretrained one.

    Raises
    ------
    ImportError
        If timm is missing, or torchvision, which it imports.
    ValueError
        If timm has no such model.
    FileNotFoundError
        If ``weights`` do not exist, or cannot be fetched.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str | Path | None = None) -> None:
        super().__init__()
        try:
            import timm
            from timm.data import resolve_model_data_config
        except ImportError as error:
            raise ImportError(f"features timm:{name} need timm and torchvision: pip install timm ({error})") from error
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(f"features timm:{name}: no weights at {weights}")
        source = {} if weights is None else {"pretrained_cfg_overlay": {"file": str(weights)}}
        try:
            with torch.random.fork_rng(devices=[]):
                network = timm.create_model(name, pretrained=True, num_classes=0, **source)
        except RuntimeError as error:  # how timm says that it has no such model, or no weights for it
            raise ValueError(f"features timm:{name}: {error}") from error
        config = resolve_model_data_config(network)
        self.network = network.requires_grad_(False).eval()
        # Models whose head has a layer before the classifier name that one's size beside the feature maps'.
        self.dim = getattr(network, "head_hidden_size", network.num_features)
        self.size = tuple(config["input_size"][1:])
        self.mode = config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic") else "bicubic"
        whose = name if weights is None else f"{name} of {Path(weights).name}"
        self.title = f"timm's {whose} at {'x'.join(map(str, self.size))} px"
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(config[key]).view(3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, dim] of images [N, 1 or 3, H, W], uint8 in 0..255 or floating point in [-1, 1]."""
        x = F.interpolate(to_pixels(images, "TimmModel"), self.size, mode=self.mode, antialias=True)
        return self.network((x - self.mean) / self.std)
