"""A file of emoji as ``fastgan data fetch`` makes it, of a few made-up drawings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastgan.data.emoji import STYLES


def write_emoji(folder: Path, count: int = 40) -> None:
    """Write into a ``cache_folder()``: each emoji has a colour, each style has a place for it."""
    keys = np.array(sorted(f"1f{i:03x}" for i in range(count)))
    colours = np.random.default_rng(0).integers(0, 200, (count, 3), dtype=np.uint8)
    arrays = {"keys": keys, "categories": np.array(["Objects"] * count)}
    for place, style in enumerate(STYLES):
        pictures = np.full((count, 64, 64, 3), 255, np.uint8)
        pictures[:, 16 * place : 16 * place + 32, 16:48] = colours[:, None, None]
        arrays |= {style: pictures, f"{style}_rows": np.arange(count)}
    np.savez(folder / "emoji-16.0.0.npz", **arrays)
