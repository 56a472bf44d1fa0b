"""Grids of images as arrays and PNG files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .config import ConfigError
from .files import replacing

__all__ = ["image_grid", "save_png", "to_uint8"]


def to_uint8(images: Tensor) -> Tensor:
    """Round images in [-1, 1] to the bytes that a file would hold."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def image_grid(images: Tensor, columns: int) -> Tensor:
    """Lay out images row by row.

    Parameters
    ----------
    images : Tensor
        [N, 1 or 3, H, W] in [-1, 1].
    columns : int
        Images a row; a short last row is filled with black.

    Returns
    -------
    Tensor
        uint8 [rows * H, columns * W, 1 or 3], on the CPU.
    """
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    pixels = torch.zeros(rows * columns, channels, height, width, dtype=torch.uint8)
    pixels[:n] = to_uint8(images)
    grid = pixels.view(rows, columns, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)


def save_png(path: Path, grid: Tensor) -> None:
    """Write a grid of ``image_grid`` as a PNG file, whole or not at all; the folder is made.

    Raises
    ------
    ConfigError
        For a name that does not end in .png.
    OSError
        If the file cannot be written.
    """
    from PIL import Image

    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: a picture's name must end in .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(grid.squeeze(2).numpy()).save(temporary, format="png")
