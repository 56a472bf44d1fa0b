"""Pictures of any mode, as arrays of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["need_pillow", "square", "to_rgb"]


def need_pillow(what: str) -> None:
    """Raise a DataError that says how to get Pillow, where it is missing."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise DataError(f'{what} needs Pillow: pip install "fastgan[train]"') from error


def to_rgb(image: Image) -> Image:
    """The picture in RGB: palettes looked up, what is transparent composited on white."""
    from PIL import Image as images

    if not image.has_transparency_data:
        return image.convert("RGB")
    picture = image.convert("RGBA")
    return images.alpha_composite(images.new("RGBA", picture.size, "white"), picture).convert("RGB")


def square(image: Image, size: int, channels: int = 3) -> np.ndarray:
    """The central square of the picture, resized (antialiased): uint8, [size, size, channels], channels 3 or 1."""
    from PIL import Image as images
    from PIL import ImageOps

    # fit cuts and resizes in one pass; on white before that, for transparent pixels have colours of no meaning.
    resized = ImageOps.fit(to_rgb(image), (size, size), images.Resampling.BICUBIC)
    return np.asarray(resized) if channels == 3 else np.asarray(resized.convert("L"))[..., None]
