"""``fastgan tune``: which form of each resampling convolution is fastest on this GPU, measured, and saved in a file."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from fastgan import functional
from fastgan.ops import tuned
from fastgan.ops.registry import use_backend

__all__ = ["LAYERS", "Layer", "Timer", "candidates", "cuda_timer", "merged", "save", "tune"]

#: Seconds that a call takes.
Timer = Callable[[Callable[[], object]], float]


class Layer(NamedTuple):
    """A 3×3 resampling convolution of an image of `size`² pixels."""

    op: str
    c_in: int
    c_out: int
    size: int


def _generator(channels: tuple[int, ...], size: int) -> list[Layer]:
    return [Layer("upsample_conv2d", a, b, size << i) for i, (a, b) in enumerate(itertools.pairwise(channels))]


def _discriminator(channels: tuple[int, ...], size: int) -> list[Layer]:
    return [Layer("conv2d_avg_pool2d", a, b, size >> i) for i, (a, b) in enumerate(itertools.pairwise(channels))]


#: Those of BigGAN-128, SNGAN-32 and a network of StyleGAN's widths; each once.
LAYERS = list(
    dict.fromkeys(
        [
            *_generator((1536, 1536, 768, 384, 192, 96), 4),
            *(Layer("conv2d_avg_pool2d", 96 << i, 96 << i, 128 >> i) for i in range(5)),
            *_generator((256, 256, 256, 256), 4),
            *_discriminator((128, 128, 128), 32),
            *_generator((512, 512, 512, 512, 256, 128, 64), 4),
            *_discriminator((64, 128, 256, 512, 512, 512, 512), 256),
        ]
    )
)


def cuda_timer(call: Callable[[], object]) -> float:
    """Median of 20 runs after 5, by the device's clock."""
    times = []
    for run in range(25):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        if run >= 5:
            times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def candidates(
    layer: Layer, batch: int, dtype: torch.dtype, device: str
) -> tuple[str, dict[str, Callable[[], object]]]:
    """What a saved table calls the layer, and for each form a call of it, forward and backward, in channels_last."""
    input = torch.randn(batch, layer.c_in, layer.size, layer.size, dtype=dtype, device=device)
    weight = torch.randn(layer.c_out, layer.c_in, 3, 3, dtype=dtype, device=device) * (9 * layer.c_in) ** -0.5
    input, weight = (x.contiguous(memory_format=torch.channels_last).requires_grad_() for x in (input, weight))
    op = getattr(functional, layer.op)

    def call(form: str) -> Callable[[], object]:
        def run() -> object:
            with tuned.forcing(form), use_backend("triton"):
                output = op(input, weight)
                return torch.autograd.grad(output, (input, weight), torch.ones_like(output))

        return run

    return tuned.describe(input, weight), {form: call(form) for form in tuned.FORMS[layer.op]}


def tune(
    layers: Iterable[Layer],
    batch: int,
    dtype: torch.dtype,
    device: str,
    timer: Timer,
    report: Callable[[Layer, dict[str, float]], None],
) -> dict[str, dict[str, str]]:
    """The fastest form of each layer, as a table has it for one GPU.

    Parameters
    ----------
    layers : iterable of Layer
    batch : int
        Images in a call.
    dtype : torch.dtype
    device : str
    timer : callable
        ``timer(call)`` gives seconds.
    report : callable
        ``report(layer, seconds)`` is told the seconds of each form.
    """
    found: dict[str, dict[str, str]] = {}
    for layer in layers:
        name, calls = candidates(layer, batch, dtype, device)
        seconds = {form: timer(call) for form, call in calls.items()}
        report(layer, seconds)
        found.setdefault(layer.op, {})[name] = min(seconds, key=lambda form: seconds[form])
    return found


def merged(table: tuned.Table, gpu: str, found: dict[str, dict[str, str]]) -> tuned.Table:
    """The table with what was `found` on a GPU put in the place of what it said of the same layers."""
    before = table.get(gpu, {})
    return {**table, gpu: {**before, **{op: {**before.get(op, {}), **layers} for op, layers in found.items()}}}


def save(table: tuned.Table, path: Path) -> None:
    """Write a table; whoever reads the file meanwhile sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(table, file, indent=1)
            file.write("\n")
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
