"""One list of inputs per op, read by every test of it: correctness, derivatives, opcheck, Triton, CUDA.

A sample names a case and makes its arguments: fresh random tensors in any dtype, the same for the same seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from fastgan.ops.bias_act.activations import ACTIVATIONS
from fastgan.ops.spectral_norm.matrix import as_matrix

__all__ = ["SAMPLES", "Sample", "tensors"]


@dataclass(frozen=True)
class Sample:
    """One case of an op, called through a public function.

    Parameters
    ----------
    op, name : str
        The op, and what the case is about.
    make : callable
        ``make(generator)`` gives the float64 keyword arguments: tensors, lists of tensors and options.
    function : str, optional
        In ``fastgan.functional``. Default: the op's name.
    constants : tuple of str
        Arguments without derivatives, of the leading argument's dtype.
    numerical : bool, default True
        Whether finite differences show the derivatives that the op is to have.
    leader : str, optional
        The argument whose tensors the function's first results are like, each of the dtype of one, under autocast too.
        Default: the first.
    keeps_layout : bool, default True
        Whether those results have the memory layout of the leading argument's tensors as well.
    """

    op: str
    name: str
    make: Callable[[torch.Generator], dict[str, Any]]
    function: str | None = None
    constants: tuple[str, ...] = ()
    numerical: bool = True
    leader: str | None = None
    keeps_layout: bool = True

    def arguments(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Any]:
        """Keyword arguments, tensors in `dtype` with the layout the case is about."""
        generator = torch.Generator().manual_seed(zlib.crc32(self.name.encode()) + seed)
        return tree_map_only(Tensor, lambda x: _cast(x, dtype), self.make(generator))

    def leading(self, arguments: dict[str, Any]) -> list[Tensor]:
        """The tensors that the first results are like."""
        return tensors(arguments[self.leader or next(iter(arguments))])

    def differentiable(self, arguments: dict[str, Any]) -> list[Tensor]:
        """The tensors that have derivatives."""
        return [x for k, v in arguments.items() if k not in self.constants for x in tensors(v)]

    def substitute(self, arguments: dict[str, Any], others: Sequence[Tensor]) -> dict[str, Any]:
        """The arguments with `others` in the places of those that :meth:`differentiable` gives."""
        rest = iter(others)
        replaced = {
            k: tree_map_only(Tensor, lambda _: next(rest), v) for k, v in arguments.items() if k not in self.constants
        }
        return {**arguments, **replaced}

    def __str__(self) -> str:
        return self.name


def tensors(values: Any) -> list[Tensor]:
    """The tensors in a value, or in lists, tuples and dicts of values."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    # Keeps strides and storage offset, which Tensor.to does not where there are gaps or overlaps.
    base = x._base if x._base is not None else x
    return torch.as_strided(base.to(dtype), x.shape, x.stride(), x.storage_offset())


def _tensor(shape: tuple[int, ...], layout: str, normal: Callable[..., Tensor]) -> Tensor:
    """Random numbers from `normal(*size)` in the memory layout called `layout`."""
    if layout == "contiguous":
        return normal(*shape)
    if layout == "channels_last":
        return normal(*shape).contiguous(memory_format={4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)])
    if layout == "transposed":
        return normal(*shape[::-1]).permute(*range(len(shape))[::-1])
    if layout == "expanded-permuted":
        return normal(1, *shape[2:], shape[1]).expand(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
    if layout == "gaps":
        return normal(*shape[:-1], 2 * shape[-1])[..., ::2]
    if layout == "expanded":
        return normal(1, *shape[1:]).expand(shape)
    assert layout == "offset"
    return normal(1 + torch.Size(shape).numel())[1:].view(shape)


def _bias_act(
    name: str, shape: tuple[int, ...], layout: str = "contiguous", bias: bool = True, **options: Any
) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        x = _tensor(shape, layout, normal)
        length = shape[options.get("dim", 1)] if bias else 0
        return {"input": x, "bias": normal(length) if bias else None, **options}

    return Sample("bias_act", name, make)


def _weight(
    shape: tuple[int, ...], layout: str, dim: int, strided: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A weight with unit vectors u and v, which are generic and give sigma = 2.

    u is in the weight's range and v about 30° from Wᵀ u: no product of the weight with a vector is so small that its
    rounding decides the next vector.
    """

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    weight = _tensor(shape, layout, normal)
    matrix = as_matrix(weight, dim % len(shape))
    columns = matrix.shape[1]
    u = F.normalize(matrix @ normal(columns), dim=0)
    v = F.normalize(F.normalize(matrix.mT @ u, dim=0) + 0.5 * F.normalize(normal(columns), dim=0), dim=0)
    sigma = torch.dot(u, matrix @ v)
    (weight if weight._base is None else weight._base).mul_(2 / sigma)
    if strided:
        u, v = (torch.stack([x, x], dim=1)[:, 1] for x in (u, v))
    return weight, u, v


def _spectral_norm(
    name: str,
    shape: tuple[int, ...],
    layout: str = "contiguous",
    dim: int = 0,
    strided_vectors: bool = False,
    **options: Any,
) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        weight, u, v = _weight(shape, layout, dim, strided_vectors, generator)
        return {"weight": weight, "u": u, "v": v, "dim": dim, **options}

    # Finite differences see that the vectors of an iteration depend on the weight.
    numerical = options.get("n_power_iterations") == 0
    return Sample("spectral_norm", name, make, constants=("u", "v"), numerical=numerical)


def _spectral_norm_group(name: str, *members: tuple[tuple[int, ...], str, int], **options: Any) -> Sample:
    """`members` are shapes, layouts and dims."""

    def make(generator: torch.Generator) -> dict[str, Any]:
        made = [_weight(shape, layout, dim, False, generator) for shape, layout, dim in members]
        weights, us, vs = (list(x) for x in zip(*made, strict=True))
        return {"weights": weights, "us": us, "vs": vs, "dims": [dim for _, _, dim in members], **options}

    numerical = options.get("n_power_iterations") == 0
    return Sample("spectral_norm", name, make, "spectral_norm_group", ("us", "vs"), numerical)


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

        w, u, v = _weight(weight, layouts[1], options.get("dim", 0), strided_vectors, generator)
        outputs = weight[1] * options.get("groups", 1) if options.get("transposed") else weight[0]
        b = normal(outputs) if bias else None
        return {"input": _tensor(input, layouts[0], normal), "weight": w, "bias": b, "u": u, "v": v, **options}

    function = "spectral_linear" if len(weight) == 2 else "spectral_conv"
    return Sample("spectral_conv", name, make, function, ("u", "v"), leader="weight", keeps_layout=False)


SAMPLES: dict[str, list[Sample]] = {
    "bias_act": [
        _bias_act("typical", (2, 3, 5, 7), act="tanh", gain=1.3),
        *(_bias_act(f"{act}", (2, 3, 5, 7), act=act) for act in ACTIVATIONS),
        *(_bias_act(f"{act}-clamp", (3, 4, 5), act=act, gain=-0.7, clamp=0.4) for act in ACTIVATIONS),
        *(_bias_act(f"{act}-channels_last", (2, 5, 4, 3), "channels_last", act=act) for act in ACTIVATIONS),
        *(_bias_act(f"{act}-no-bias", (3, 7), bias=False, act=act, gain=1.5) for act in ACTIVATIONS),
        _bias_act("lrelu-alpha", (2, 3, 9), act="lrelu", alpha=0.01),
        _bias_act("lrelu-negative-alpha", (2, 3, 9), act="lrelu", alpha=-0.5, clamp=0.6),
        _bias_act("lrelu-zero-alpha", (2, 3, 9), act="lrelu", alpha=0.0),
        _bias_act("linear-addition", (2, 3, 9), act="linear", gain=1.0),
        _bias_act("gain-zero", (2, 3, 9), act="sigmoid", gain=0.0),
        _bias_act("clamp-zero", (2, 3, 9), act="tanh", clamp=0.0),
        _bias_act("dim-0", (5, 4), act="tanh", dim=0),
        _bias_act("dim-last", (2, 3, 4, 6), act="swish", dim=-1),
        _bias_act("vector", (11,), act="elu", dim=0),
        _bias_act("vector-no-bias", (11,), bias=False, act="swish"),
        _bias_act("scalar", (), bias=False, act="tanh"),
        _bias_act("one", (1, 1, 1, 1), act="softplus"),
        _bias_act("one-channel", (3, 1, 8), act="sigmoid"),
        _bias_act("5-d", (2, 3, 2, 3, 2), act="selu"),
        _bias_act("linear-layer", (7, 33), act="lrelu"),
        _bias_act("long-rows", (2, 3, 5, 29), act="lrelu"),
        _bias_act("transposed", (4, 3, 5), "transposed", act="lrelu"),
        _bias_act("gaps", (2, 3, 5), "gaps", act="swish"),
        _bias_act("expanded", (4, 3, 5), "expanded", act="tanh"),
        _bias_act("expanded-permuted", (2, 3, 4, 4), "expanded-permuted", act="lrelu"),
        _bias_act("one-pixel", (2, 3, 1, 1), "channels_last", act="lrelu", clamp=0.5),
        _bias_act("offset", (2, 3, 5, 3), "offset", act="softplus"),
        _bias_act("empty-batch", (0, 3, 4, 4), act="lrelu"),
        _bias_act("empty-channels", (2, 0, 4), act="tanh"),
        _bias_act("empty-pixels", (2, 3, 0), act="swish"),
    ],
    "spectral_norm": [
        _spectral_norm_group(
            "typical",
            ((4, 3, 3, 3), "contiguous", 0),
            ((3, 4, 2, 2), "contiguous", 1),
            ((5, 7), "contiguous", 0),
            ((2, 6, 3), "contiguous", 0),
            n_power_iterations=1,
        ),
        *(
            sample
            for n in (0, 1)
            for sample in (
                _spectral_norm(f"linear-{n}", (6, 9), n_power_iterations=n),
                _spectral_norm(f"linear-tall-{n}", (11, 3), n_power_iterations=n),
                _spectral_norm(f"linear-dim-1-{n}", (5, 7), dim=1, n_power_iterations=n),
                _spectral_norm(f"conv1d-{n}", (4, 3, 5), n_power_iterations=n),
                _spectral_norm(f"conv2d-{n}", (4, 3, 3, 3), n_power_iterations=n),
                _spectral_norm(f"conv3d-{n}", (3, 2, 2, 3, 2), n_power_iterations=n),
                _spectral_norm(f"conv2d-1x1-{n}", (8, 5, 1, 1), n_power_iterations=n),
                _spectral_norm(f"conv-transpose1d-{n}", (4, 3, 5), dim=1, n_power_iterations=n),
                _spectral_norm(f"conv-transpose2d-{n}", (4, 3, 3, 3), dim=1, n_power_iterations=n),
                _spectral_norm(f"dim-last-{n}", (3, 2, 2, 5), dim=-1, n_power_iterations=n),
                _spectral_norm(f"conv2d-channels_last-{n}", (4, 3, 3, 3), "channels_last", n_power_iterations=n),
                _spectral_norm(f"conv3d-channels_last-{n}", (3, 2, 2, 3, 2), "channels_last", n_power_iterations=n),
                _spectral_norm(
                    f"conv-transpose2d-channels_last-{n}", (4, 3, 3, 3), "channels_last", dim=1, n_power_iterations=n
                ),
                _spectral_norm(f"conv2d-transposed-{n}", (4, 3, 2, 3), "transposed", n_power_iterations=n),
                _spectral_norm(f"linear-transposed-{n}", (5, 8), "transposed", n_power_iterations=n),
                _spectral_norm(f"linear-transposed-dim-1-{n}", (5, 8), "transposed", dim=1, n_power_iterations=n),
                _spectral_norm(f"gaps-dim-1-{n}", (3, 4, 5), "gaps", dim=1, n_power_iterations=n),
                _spectral_norm(f"expanded-permuted-{n}", (2, 3, 4, 2), "expanded-permuted", n_power_iterations=n),
                _spectral_norm(f"offset-{n}", (3, 5, 3), "offset", n_power_iterations=n),
                _spectral_norm(f"strided-vectors-{n}", (4, 3, 2), strided_vectors=True, n_power_iterations=n),
                _spectral_norm(f"one-row-{n}", (1, 13), n_power_iterations=n),
                _spectral_norm(f"one-column-{n}", (13, 1), n_power_iterations=n),
                _spectral_norm(f"one-column-channels_last-{n}", (3, 1, 1, 1), "channels_last", n_power_iterations=n),
                _spectral_norm(f"one-{n}", (1, 1), n_power_iterations=n),
                _spectral_norm(f"vector-{n}", (7,), n_power_iterations=n),
                _spectral_norm(f"empty-rows-{n}", (0, 5), n_power_iterations=n),
                _spectral_norm(f"empty-columns-{n}", (5, 0, 3), n_power_iterations=n),
            )
        ),
        _spectral_norm("channels_last", (6, 4, 3, 5), "channels_last"),
        _spectral_norm("gaps", (4, 3, 5), "gaps"),
        _spectral_norm("expanded", (4, 3, 5), "expanded"),
        _spectral_norm("two-iterations", (6, 5, 3), n_power_iterations=2),
        _spectral_norm("two-iterations-dim-1", (6, 5, 3), dim=1, n_power_iterations=2),
        _spectral_norm("v-first", (6, 5, 3), v_first=True),
        _spectral_norm("v-first-dim-1", (6, 5, 3), dim=1, v_first=True),
        _spectral_norm("v-first-two-iterations", (4, 6, 3, 3), "channels_last", v_first=True, n_power_iterations=2),
        _spectral_norm("v-first-none", (6, 5), v_first=True, n_power_iterations=0),
        _spectral_norm("long-row", (1, 9001), n_power_iterations=1),
        _spectral_norm("long-rows", (3, 5003), n_power_iterations=1),
        _spectral_norm("long-rows-dim-1", (1031, 3), dim=1, n_power_iterations=1),
        _spectral_norm("many-rows", (613, 7), n_power_iterations=1),
        _spectral_norm("many-rows-and-columns", (333, 5, 3, 3), v_first=True),
        _spectral_norm("many-rows-and-columns-channels_last", (333, 5, 3, 3), "channels_last", n_power_iterations=2),
        _spectral_norm_group(
            "group-mixed-layouts",
            ((4, 3, 3, 3), "channels_last", 0),
            ((3, 4), "transposed", 0),
            ((2, 3, 4), "gaps", 1),
            ((5, 2, 2, 2), "channels_last", 1),
            ((3, 5), "expanded", 0),
            ((2, 7), "offset", -1),
            n_power_iterations=0,
        ),
        _spectral_norm_group(
            "group-mixed-sizes",
            ((97, 5, 3, 3), "channels_last", 0),
            ((0, 5), "contiguous", 0),
            ((1, 2049), "contiguous", 0),
            ((300, 2), "contiguous", 0),
            ((1, 1), "contiguous", 0),
            ((7,), "contiguous", 0),
            n_power_iterations=2,
            v_first=True,
        ),
        _spectral_norm_group("group-of-one", ((3, 4, 2), "contiguous", 1), n_power_iterations=0),
    ],
    "spectral_conv": [
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
    ],
}
