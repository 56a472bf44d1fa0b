"""The inputs of spectral_conv."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out
from tests.samples.spectral_norm import spectral_weight

__all__ = ["SAMPLES"]


def _spectral_conv(
    name: str,
    input: tuple[int, ...],
    weight: tuple[int, ...],
    layouts: tuple[str, str] = ("contiguous", "contiguous"),
    bias: bool = True,
    strided_vectors: bool = False,
    **options: Any,
) -> Sample:
    """`input` and `weight` are shapes, and `layouts` those of the two. A matrix is the weight of a linear layer."""

    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        w, u, v = spectral_weight(weight, layouts[1], options.get("dim", 0), strided_vectors, generator)
        outputs = weight[1] * options.get("groups", 1) if options.get("transposed") else weight[0]
        b = normal(outputs) if bias else None
        return {"input": laid_out(input, layouts[0], normal), "weight": w, "bias": b, "u": u, "v": v, **options}

    function = "spectral_linear" if len(weight) == 2 else "spectral_conv"
    return Sample("spectral_conv", name, make, function, ("u", "v"), leader="weight", keeps_layout=False)


SAMPLES = [
    _spectral_conv("typical", (2, 3, 5, 4), (4, 3, 3, 3), padding=1),
    _spectral_conv("strided", (2, 3, 6, 5), (4, 3, 3, 2), stride=(2, 1), padding=(1, 0)),
    _spectral_conv("dilated", (2, 2, 7, 5), (3, 2, 3, 2), dilation=(2, 3), padding=1),
    _spectral_conv("grouped", (2, 4, 4, 3), (6, 2, 3, 3), groups=2, padding=1),
    _spectral_conv("depthwise", (2, 3, 4, 4), (3, 1, 3, 3), groups=3, padding=1),
    _spectral_conv("no-bias", (2, 3, 4, 4), (4, 3, 3, 3), bias=False),
    _spectral_conv("1x1", (2, 5, 3, 2), (4, 5, 1, 1)),
    _spectral_conv("one", (1, 1, 1, 1), (1, 1, 1, 1)),
    _spectral_conv("unbatched", (3, 5, 4), (4, 3, 3, 3), padding=1),
    _spectral_conv("empty-batch", (0, 3, 5, 4), (4, 3, 3, 3), padding=1),
    _spectral_conv("dim-1", (2, 3, 4, 4), (4, 3, 3, 3), dim=1),
    _spectral_conv("dim-last", (2, 3, 4, 4), (4, 3, 2, 3), dim=-1),
    _spectral_conv("strided-vectors", (2, 3, 4, 4), (4, 3, 2, 3), strided_vectors=True),
    _spectral_conv("channels_last", (2, 3, 5, 4), (4, 3, 3, 3), ("channels_last", "channels_last"), padding=1),
    _spectral_conv("channels_last-input", (2, 3, 5, 4), (4, 3, 3, 3), ("channels_last", "contiguous")),
    _spectral_conv("channels_last-weight", (2, 3, 5, 4), (4, 3, 3, 3), ("contiguous", "channels_last")),
    _spectral_conv("gaps", (2, 3, 4, 4), (4, 3, 2, 3), ("gaps", "gaps")),
    _spectral_conv("expanded", (2, 3, 4, 4), (4, 3, 2, 3), ("expanded", "expanded-permuted")),
    _spectral_conv("expanded-permuted", (2, 3, 4, 4), (4, 3, 2, 3), ("expanded-permuted", "expanded")),
    _spectral_conv("transposed-memory", (2, 3, 4, 4), (4, 3, 2, 3), ("transposed", "transposed")),
    _spectral_conv("offset", (2, 3, 4, 4), (4, 3, 2, 3), ("offset", "offset")),
    _spectral_conv("conv1d", (2, 3, 7), (4, 3, 5), padding=2, stride=2),
    _spectral_conv("conv1d-unbatched", (3, 7), (4, 3, 5), bias=False),
    _spectral_conv("conv3d", (1, 2, 3, 4, 3), (3, 2, 2, 3, 2), padding=(1, 0, 1)),
    _spectral_conv(
        "conv3d-channels_last", (2, 2, 3, 3, 2), (3, 2, 2, 2, 2), ("channels_last", "channels_last"), stride=2
    ),
    _spectral_conv("conv-transpose1d", (2, 3, 4), (3, 4, 3), dim=1, transposed=True, stride=2),
    _spectral_conv(
        "conv-transpose2d",
        (2, 3, 3, 4),
        (3, 4, 3, 3),
        dim=1,
        transposed=True,
        stride=2,
        padding=1,
        output_padding=(1, 0),
    ),
    _spectral_conv(
        "conv-transpose2d-grouped", (2, 4, 3, 3), (4, 3, 2, 3), bias=False, dim=1, transposed=True, groups=2
    ),
    _spectral_conv(
        "conv-transpose2d-channels_last",
        (2, 3, 3, 4),
        (3, 4, 3, 3),
        ("channels_last", "channels_last"),
        dim=1,
        transposed=True,
        dilation=2,
    ),
    _spectral_conv("linear", (3, 7), (5, 7)),
    _spectral_conv("linear-vector", (7,), (5, 7)),
    _spectral_conv("linear-3-d", (2, 3, 7), (5, 7), bias=False),
    _spectral_conv("linear-dim-1", (3, 7), (5, 7), dim=1),
    _spectral_conv("linear-transposed", (3, 7), (5, 7), ("transposed", "transposed")),
    _spectral_conv("linear-gaps", (2, 3, 7), (5, 7), ("gaps", "gaps")),
    _spectral_conv("linear-expanded", (3, 7), (5, 7), ("expanded", "expanded")),
    _spectral_conv("linear-empty-batch", (0, 7), (5, 7)),
    _spectral_conv("linear-one", (1, 1), (1, 1)),
]
