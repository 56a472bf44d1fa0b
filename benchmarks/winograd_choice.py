"""Measures Winograd's convolution against torch's, by shape and derivative: what fastgan/ops/conv2d/choice.py is from.

``python -m benchmarks.winograd_choice OUT.json`` appends to a file as it goes; the two sides are interleaved. With
``--fresh`` it measures, at shapes that the model was not fitted to, the cases where the model takes Winograd's.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from fastgan.ops import native, resampling
from fastgan.ops.conv2d import winograd
from fastgan.ops.conv2d.choice import Part, prefers_winograd

PADDING = [1, 1]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
#: Seconds that the rounds of one comparison take together, and how many there are at least.
BUDGET, FEWEST_ROUNDS = 0.15, 5
#: Multiply-adds of the largest shapes.
MOST_WORK = 2.5e9


class Shape(NamedTuple):
    """Of a same-size convolution of square images."""

    batch: int
    c_in: int
    c_out: int
    size: int

    @property
    def work(self) -> int:
        """Multiply-adds of the direct convolution."""
        return 9 * self.batch * self.c_in * self.c_out * self.size**2


def shapes() -> Iterator[Shape]:
    """A grid, and shapes with unequal or odd numbers of channels and sizes that tiles do not divide."""
    for channels, size, batch in itertools.product((8, 16, 32, 64, 128, 256, 512), (2, 4, 6, 8, 16, 32, 64), (1, 16)):
        if (shape := Shape(batch, channels, channels, size)).work <= MOST_WORK:
            yield shape
    for c_in, c_out in ((3, 64), (64, 3), (16, 128), (128, 16), (24, 24), (40, 40), (100, 100), (200, 72)):
        yield from (Shape(16, c_in, c_out, size) for size in (8, 32))
    for size in (5, 7, 9, 10, 13, 17, 30):
        yield Shape(8, 64, 64, size)


def fresh_shapes() -> Iterator[Shape]:
    """Shapes that are in no grid above."""
    for channels, size, batch in itertools.product((48, 80, 96, 160, 192, 320), (12, 20, 28, 48), (2, 8)):
        if (shape := Shape(batch, channels, channels, size)).work <= MOST_WORK:
            yield shape
    for c_in, c_out in ((48, 160), (160, 48), (36, 300)):
        yield from (Shape(4, c_in, c_out, size) for size in (11, 24))


def taken(part: Part, shape: Shape, layout: torch.memory_format) -> bool:
    """Whether the model takes Winograd's algorithm."""
    n, c_in, c_out, size = shape
    x, weight = (torch.empty(s, memory_format=layout) for s in ((n, c_in, size, size), (c_out, c_in, 3, 3)))
    return prefers_winograd(part, x, weight, PADDING)


def sides(shape: Shape, layout: torch.memory_format) -> dict[Part, tuple[Callable[[], object], Callable[[], object]]]:
    """For the output and each derivative, Winograd's and torch's way to it, results in `layout`."""
    n, c_in, c_out, size = shape
    generator = torch.Generator().manual_seed(0)
    x, grad = (
        torch.randn(n, c, size, size, generator=generator).contiguous(memory_format=layout) for c in (c_in, c_out)
    )
    weight = (torch.randn(c_out, c_in, 3, 3, generator=generator) / (9 * c_in) ** 0.5).contiguous(memory_format=layout)

    def laid_out(y: torch.Tensor | None) -> torch.Tensor:
        assert y is not None
        return y.contiguous(memory_format=layout)

    def convolved(done: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor | None:
        return None if done is None else done[0]

    def stock(wanted: list[bool]) -> object:
        return resampling.convolution_backward(grad, x, weight, 1, PADDING, 1, wanted)

    return {
        "forward": (
            lambda: laid_out(convolved(winograd.convolution(x, weight, PADDING))),
            lambda: F.conv2d(x, weight, padding=1),
        ),
        "grad_input": (
            lambda: laid_out(winograd.grad_input(grad, weight, PADDING)),
            lambda: stock([True, False]),
        ),
        "grad_weight": (
            lambda: winograd.grad_weight(grad, x, weight, PADDING),
            lambda: stock([False, True]),
        ),
    }


def compare(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Median seconds of either, and the median of the ratios theirs / ours."""
    for _ in range(2):
        ours(), theirs()
    times: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(times) < FEWEST_ROUNDS or time.perf_counter() - begin < BUDGET:
        a = time.perf_counter()
        ours()
        b = time.perf_counter()
        theirs()
        times.append((b - a, time.perf_counter() - b))
    first, second = zip(*times, strict=True)
    return statistics.median(first), statistics.median(second), statistics.median(t / o for o, t in times)


def main(path: Path, fresh: bool) -> None:
    """Measure every shape, at one and two threads."""
    rows: list[dict[str, Any]] = []
    every = list(fresh_shapes() if fresh else shapes())
    for threads, shape, (name, layout) in itertools.product((1, 2), every, LAYOUTS.items()):
        torch.set_num_threads(threads)
        for part, pair in sides(shape, layout).items():
            if fresh and not taken(part, shape, layout):
                continue
            ours, theirs, ratio = compare(*pair)
            rows.append(
                {
                    **shape._asdict(), "layout": name, "threads": threads, "part": part, "isa": native.isa_level(),
                    "winograd_ms": round(1e3 * ours, 4), "torch_ms": round(1e3 * theirs, 4), "ratio": round(ratio, 3),
                }
            )  # fmt: skip
        path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    ratios = sorted(row["ratio"] for row in rows)
    slower = sum(ratio < 1 for ratio in ratios)
    print(f"{len(rows)} cases, {slower} slower, ratio {ratios[0]} to {ratios[-1]}, median {statistics.median(ratios)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--fresh" in sys.argv[2:])
