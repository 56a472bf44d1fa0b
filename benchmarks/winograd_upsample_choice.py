"""Measures Winograd's upsampled convolution against the quarter form, by shape and derivative.

``python -m benchmarks.winograd_upsample_choice OUT.json`` appends to a file as it goes; the two sides are interleaved.
``fastgan/ops/upsample_conv2d/choice.py`` is from it.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.winograd_choice import LAYOUTS, Shape, compare
from fastgan.ops import native
from fastgan.ops.upsample_conv2d.cpu import upsample_conv2d, upsample_conv2d_backward

PADDING = [1, 1]
#: Multiply-adds of the quarter form for the largest shapes.
MOST_WORK = 2.5e9


def shapes() -> Iterator[Shape]:
    """A grid, and shapes with unequal numbers of channels and sizes that tiles do not divide."""
    for channels, size, batch in itertools.product((16, 32, 64, 128, 256, 512), (4, 8, 16, 32, 64), (1, 16)):
        if (shape := Shape(batch, channels, channels, size)).work <= MOST_WORK:
            yield shape
    for c_in, c_out in ((256, 128), (128, 64), (64, 16), (100, 100), (200, 72)):
        yield from (Shape(16, c_in, c_out, size) for size in (8, 16))
    for size in (5, 7, 9, 13):
        yield Shape(8, 64, 64, size)


def sides(shape: Shape, layout: torch.memory_format) -> dict[str, Callable[[str], object]]:
    """The output and each gradient, by either algorithm, results in `layout`."""
    n, c_in, c_out, size = shape
    generator = torch.Generator().manual_seed(0)
    x, grad = (
        torch.randn(n, c, s, s, generator=generator).contiguous(memory_format=layout)
        for c, s in ((c_in, size), (c_out, 2 * size))
    )
    weight = (torch.randn(c_out, c_in, 3, 3, generator=generator) / (9 * c_in) ** 0.5).contiguous(memory_format=layout)
    return {
        "forward": lambda algorithm: upsample_conv2d(x, weight, None, PADDING, 1, None, False, algorithm),
        "grad_input": lambda a: upsample_conv2d_backward(grad, x, weight, PADDING, 1, a, [True, False]),
        "grad_weight": lambda a: upsample_conv2d_backward(grad, x, weight, PADDING, 1, a, [False, True]),
    }


def main(path: Path) -> None:
    """Measure every shape, at one and two threads."""
    rows = []
    for threads, shape, (name, layout) in itertools.product((1, 2), shapes(), LAYOUTS.items()):
        torch.set_num_threads(threads)
        for part, run in sides(shape, layout).items():
            ours, theirs, ratio = compare(lambda run=run: run("winograd"), lambda run=run: run("direct"))
            rows.append(
                {
                    **shape._asdict(), "layout": name, "threads": threads, "part": part, "isa": native.isa_level(),
                    "winograd_ms": round(1e3 * ours, 4), "quarter_ms": round(1e3 * theirs, 4), "ratio": round(ratio, 3),
                }
            )  # fmt: skip
        path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
