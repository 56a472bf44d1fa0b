"""Measures the resampling convolutions of this library against torch's two ops, where a call's price is in the balance.

``python -m benchmarks.resampling_choice OUT.json [DTYPE ...]`` writes a file as it goes, and keeps what it has of other
dtypes; the two sides are interleaved. ``fastgan/ops/resampling_choice.py`` is from it.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from benchmarks.winograd_choice import LAYOUTS, compare
from fastgan.functional import conv2d_avg_pool2d, upsample_conv2d
from fastgan.ops import native

__all__ = ["Shape", "shapes"]

DTYPES = ("float32", "bfloat16", "float64", "float16")
OPS: dict[str, tuple[Callable[..., object], Callable[[Tensor, Tensor], Tensor]]] = {
    "upsample_conv2d": (upsample_conv2d, lambda x, w: F.conv2d(F.interpolate(x, scale_factor=2), w, padding=1)),
    "conv2d_avg_pool2d": (conv2d_avg_pool2d, lambda x, w: F.avg_pool2d(F.conv2d(x, w, padding=1), 2)),
}
#: Multiply–adds of the stock form for the smallest shapes, and for the largest by dtype: float16 is slow in torch.
LEAST_WORK, MOST_WORK = 1e6, {"float32": 8e7, "bfloat16": 8e7, "float64": 8e7, "float16": 1e7}


class Shape(NamedTuple):
    """Of a 3×3 convolution with as many channels in as out; `size` is the image's at the higher resolution."""

    batch: int
    channels: int
    size: int

    @property
    def work(self) -> int:
        """Multiply–adds of the stock form."""
        return 9 * self.channels**2 * self.batch * self.size**2


def shapes(dtype: str) -> Iterator[Shape]:
    """A grid on both sides of the choice."""
    for channels, size, batch in itertools.product((16, 32, 64, 128, 256), (8, 16, 32), (1, 8)):
        if LEAST_WORK <= (shape := Shape(batch, channels, size)).work <= MOST_WORK[dtype]:
            yield shape


def sides(op: str, shape: Shape, dtype: str, layout: torch.memory_format) -> list[Callable[[], object]]:
    """Forward and backward by ours and by torch."""
    ours, stock = OPS[op]
    n, channels, size = shape
    high = op == "conv2d_avg_pool2d"
    generator = torch.Generator().manual_seed(0)
    x, w, grad = (
        torch.randn(shape, generator=generator).to(getattr(torch, dtype)).contiguous(memory_format=layout)
        for shape in (
            (n, channels, *[size if high else size // 2] * 2),
            (channels, channels, 3, 3),
            (n, channels, *[size // 2 if high else size] * 2),
        )
    )
    leaves = (x.requires_grad_(), w.requires_grad_())

    def forced() -> object:
        with fastgan.use_backend("cpu"):
            return torch.autograd.grad(ours(*leaves), leaves, grad)

    return [forced, lambda: torch.autograd.grad(stock(*leaves), leaves, grad)]


def main(path: Path, dtypes: Sequence[str]) -> None:
    """Measure every shape, at one and two threads."""
    rows = [row for row in json.loads(path.read_text()) if row["dtype"] not in dtypes] if path.exists() else []
    for dtype in dtypes:
        for threads, shape in itertools.product((1, 2), shapes(dtype)):
            torch.set_num_threads(threads)
            for op, (name, layout) in itertools.product(OPS, LAYOUTS.items()):
                ours, theirs, ratio = compare(*sides(op, shape, dtype, layout))
                rows.append(
                    {
                        "op": op, "dtype": dtype, **shape._asdict(), "work": shape.work, "layout": name,
                        "threads": threads, "isa": native.isa_level(), "ours_ms": round(1e3 * ours, 4),
                        "stock_ms": round(1e3 * theirs, 4), "ratio": round(ratio, 3),
                    }
                )  # fmt: skip
        path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or DTYPES)
