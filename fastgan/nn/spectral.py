"""Layers with spectral norm built in: torch's layers whose weight is divided by its largest singular value.

Each is the torch layer under ``fastgan.nn.utils.spectral_norm``, with the same state dict. What they add is the
forward: where the weight is larger than the activations, weight / sigma is never written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fastgan import functional
from fastgan.nn.utils.spectral_norm import SpectralNorm, spectral_norm

__all__ = ["SNConv1d", "SNConv2d", "SNConv3d", "SNConvTranspose2d", "SNEmbedding", "SNLinear"]

#: A smaller weight stays in cache: dividing it costs less than the calls that would avoid it.
FOLDED_ELEMENTS = 1 << 18

Forward = Callable[..., Tensor]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def parametrisations(module: nn.Module, name: str = "weight") -> Any:
    """The parametrisations of one of the module's tensors; they also hold the original."""
    return module.parametrizations[name]  # type: ignore[index]


def norm_of(module: nn.Module) -> SpectralNorm | None:
    """The spectral norm of the module's weight, where that is the weight's only parametrisation."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    applied = parametrisations(module)
    return applied[0] if len(applied) == 1 and isinstance(applied[0], SpectralNorm) else None


def worth_folding(weight: Tensor) -> bool:
    """Whether a layer with this weight may do without weight / sigma, if its input is no larger."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.float64)
        and weight.numel() >= FOLDED_ELEMENTS
        and not torch.is_autocast_enabled("cpu")
    )


def _measured(module: nn.Module, norm: SpectralNorm) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """The weight itself, sigma, u and v; None where weight / sigma is there already, or must be."""
    if parametrize._cache_enabled or norm.n_vectors > 1 or norm.exact:
        return None
    weight: Tensor = parametrisations(module).original
    written, sigma, u, v = norm.prepared or norm.measure(weight)
    return None if written.numel() else (weight, sigma, u, v)


def multiplying_forward(module: nn.Module, stock: Forward, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The forward of a convolution or linear layer, `stock`, on weight / sigma that is not written where that pays."""
    norm, geometry = norm_of(module), _geometry(module)
    if norm is None or geometry is None or args or kwargs:
        return stock(input, *args, **kwargs)
    weight: Tensor = parametrisations(module).original
    if not worth_folding(weight) or input.numel() > weight.numel() or input.dtype != weight.dtype:
        return stock(input)
    measured = _measured(module, norm)
    if measured is None:
        return stock(input)
    weight, sigma, u, v = measured
    bias: Tensor | None = module.bias  # type: ignore[assignment]
    layer = functional.spectral_linear if isinstance(module, nn.Linear) else functional.spectral_conv
    return layer(input, weight, bias, u, v, sigma=sigma.detach(), dim=norm.dim, **geometry)


def _geometry(module: nn.Module) -> dict[str, Any] | None:
    """The arguments of a convolution, or None where it pads in ways that spectral_conv does not know."""
    if isinstance(module, nn.Linear):
        return {}
    assert isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED))
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return None
    geometry = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}
    if isinstance(module, _TRANSPOSED):
        geometry.update(transposed=True, output_padding=module.output_padding)
    return geometry


def gathering_forward(module: nn.Module, stock: Forward, input: Tensor) -> Tensor:
    """The forward of an embedding: only the rows that were looked up are divided."""
    assert isinstance(module, nn.Embedding)
    norm = norm_of(module)
    # These change the divided weight or its gradient in ways that its rows alone do not show.
    altered = module.padding_idx is not None or module.scale_grad_by_freq or module.max_norm is not None
    measured = None if norm is None or altered else _measured(module, norm)
    if measured is None:
        return stock(input)
    weight, sigma, _, _ = measured
    return F.embedding(input, weight, sparse=module.sparse) / sigma


#: How torch's layers compute with a weight that is divided but not written. Not their subclasses: those may compute
#: anything in their forward.
FORWARDS: dict[type[nn.Module], Callable[..., Tensor]] = {
    **dict.fromkeys((*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear), multiplying_forward),
    nn.Embedding: gathering_forward,
}


def folding_forward(module: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
    """The forward of one of torch's own layers in FORWARDS, as a method for its instances."""
    kind: Any = parametrize.type_before_parametrizations(module)
    return FORWARDS[kind](module, partial(kind.forward, module), *args, **kwargs)


def folds(module: nn.Module, weight: Tensor) -> bool:
    """Whether the module can do without weight / sigma, and gains by it if its input is small."""
    kind = parametrize.type_before_parametrizations(module)
    return (kind in FORWARDS or issubclass(kind, _SpectralLayer)) and worth_folding(weight)


class _SpectralLayer(nn.Module):
    """Constructor and forward of the layers below; the torch layer follows in the order of resolution."""

    def __init__(
        self,
        *args: Any,
        n_power_iterations: int = 1,
        eps: float = 1e-12,
        v_first: bool = False,
        n_vectors: int = 1,
        exact: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        spectral_norm(self, "weight", n_power_iterations, eps, v_first=v_first, n_vectors=n_vectors, exact=exact)

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the layer; arguments and shapes as for the torch layer, differentiable twice."""
        compute = gathering_forward if isinstance(self, nn.Embedding) else multiplying_forward
        return compute(self, super().forward, input, *args, **kwargs)


class SNConv1d(_SpectralLayer, nn.Conv1d):
    """:class:`torch.nn.Conv1d` under spectral norm: its arguments, and those of
    :func:`fastgan.nn.utils.spectral_norm` from `n_power_iterations` on, by keyword.
    """


class SNConv2d(_SpectralLayer, nn.Conv2d):
    """:class:`torch.nn.Conv2d` under spectral norm: its arguments, and those of
    :func:`fastgan.nn.utils.spectral_norm` from `n_power_iterations` on, by keyword.
    """


class SNConv3d(_SpectralLayer, nn.Conv3d):
    """:class:`torch.nn.Conv3d` under spectral norm: its arguments, and those of
    :func:`fastgan.nn.utils.spectral_norm` from `n_power_iterations` on, by keyword.
    """


class SNConvTranspose2d(_SpectralLayer, nn.ConvTranspose2d):
    """:class:`torch.nn.ConvTranspose2d` under spectral norm of the matrix with a row for each output channel: its
    arguments, and those of :func:`fastgan.nn.utils.spectral_norm` from `n_power_iterations` on, by keyword.
    """


class SNLinear(_SpectralLayer, nn.Linear):
    """:class:`torch.nn.Linear` under spectral norm: its arguments, and those of
    :func:`fastgan.nn.utils.spectral_norm` from `n_power_iterations` on, by keyword.
    """


class SNEmbedding(_SpectralLayer, nn.Embedding):
    """:class:`torch.nn.Embedding` under spectral norm: its arguments, and those of
    :func:`fastgan.nn.utils.spectral_norm` from `n_power_iterations` on, by keyword. Rows are divided as they are
    looked up.
    """
