"""Loading spectral norm from checkpoints of other layouts: torch's older hook, and BigGAN-PyTorch's own layers.

A reader takes one layer's foreign keys out of the state dict and gives the layout's name and the weight, u and v with
which evaluation is the same as where the checkpoint comes from; None where the state dict has no such keys.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fastgan import functional
from fastgan.nn.utils.spectral_norm import SpectralNorm

__all__ = ["accept_foreign_layouts"]

logger = logging.getLogger("fastgan")

StateDict = dict[str, Any]
Found = tuple[str, tuple[Tensor, Tensor, Tensor]]


def accept_foreign_layouts(module: nn.Module, name: str) -> None:
    """Let ``module.load_state_dict`` convert foreign layouts of the spectral norm of ``module.<name>``.

    The hook outlives :func:`torch.nn.utils.parametrize.remove_parametrizations`, which tells nobody, and then does
    nothing; where the parametrisation is registered again, it serves again.
    """
    converter = _Converter(name)
    if converter not in [getattr(hook, "hook", None) for hook in module._load_state_dict_pre_hooks.values()]:
        module.register_load_state_dict_pre_hook(converter)


@dataclass(frozen=True)
class _Converter:
    """The hook; it looks for the parametrisation at each call, which copies of the module need and removal allows."""

    name: str

    @torch.no_grad()
    def __call__(self, module: nn.Module, state_dict: StateDict, prefix: str, *rest: Any) -> None:
        *_, error_msgs = rest
        if not parametrize.is_parametrized(module, self.name):
            return
        norm = module.get_submodule(f"parametrizations.{self.name}.0")
        if not isinstance(norm, SpectralNorm):
            return
        try:
            found = _read_torch_hook(norm, state_dict, prefix, self.name)
            found = found or _read_biggan(norm, state_dict, prefix, self.name)
        except ValueError as error:
            error_msgs.append(str(error))  # torch raises all of a model's at the end
            return
        if found is None:
            return
        target = f"{prefix}parametrizations.{self.name}"
        layout, (weight, u, v) = found
        state_dict[f"{target}.original"] = weight
        if weight.dim() > 1:
            state_dict[f"{target}.0._u"], state_dict[f"{target}.0._v"] = u, v
        logger.info("spectral_norm: %s%s was saved by %s; converted", prefix, self.name, layout)


def _check_u(key: str, u: Tensor, weight: Tensor, dim: int) -> None:
    rows = weight.shape[dim] if dim < weight.dim() else None
    if u.dim() != 1 or u.shape[0] != rows:
        raise ValueError(
            f"spectral_norm: {key} must be [{rows}] to match a weight {list(weight.shape)} with dim={dim}, "
            f"got {list(u.shape)}"
        )


def _read_torch_hook(norm: SpectralNorm, state_dict: StateDict, prefix: str, name: str) -> Found | None:
    key = prefix + name
    has_v = f"{key}_v" in state_dict
    if not all(k in state_dict for k in (f"{key}_orig", f"{key}_u", f"{key}_v" if has_v else key)):
        return None
    if not has_v:
        _check_u(f"{key}_u", state_dict[f"{key}_u"], state_dict[f"{key}_orig"], norm.dim)
    weight, u = state_dict.pop(f"{key}_orig"), state_dict.pop(f"{key}_u")
    v = state_dict.pop(f"{key}_v") if has_v else _solve_v(weight, u, state_dict.pop(key), norm.dim)
    return "torch.nn.utils.spectral_norm (weight_orig, weight_u)", (weight, u, v)


def _solve_v(weight: Tensor, u: Tensor, normalized: Tensor, dim: int) -> Tensor:
    """The v that the first versions of torch's hook did not save: W v is along u, and uᵀ W v is the σ they used.

    Not of length one in general, as with torch's own conversion of such checkpoints.
    """
    matrix = weight.movedim(dim, 0).flatten(1).double()
    used = normalized.movedim(dim, 0).flatten(1).double()
    sigma = (matrix * used).sum() / used.square().sum()
    # The pseudoinverse of W by the smaller Gram matrix.
    if matrix.shape[0] <= matrix.shape[1]:
        v = matrix.mT @ (torch.linalg.pinv(matrix @ matrix.mT, hermitian=True) @ u.double())
    else:
        v = torch.linalg.pinv(matrix.mT @ matrix, hermitian=True) @ (matrix.mT @ u.double())
    return (v * (sigma / torch.dot(u.double(), matrix @ v))).to(weight.dtype)


def _read_biggan(norm: SpectralNorm, state_dict: StateDict, prefix: str, name: str) -> Found | None:
    key, u_key = prefix + name, f"{prefix}u0"
    if key not in state_dict or u_key not in state_dict:
        return None
    if f"{prefix}u1" in state_dict:
        raise ValueError(
            f"spectral_norm: {key} must have one singular value to load from BigGAN's layout, got several ({prefix}u1)"
        )
    weight, u = state_dict[key], state_dict[u_key].flatten()
    _check_u(u_key, u, weight, norm.dim)
    for taken in (key, u_key, f"{prefix}sv0"):  # sv0, the last σ, is only there to be logged
        state_dict.pop(taken, None)
    # BigGAN keeps u alone: each forward iterates from it, in evaluation too, where it does not store the result.
    v = weight.new_zeros(weight.numel() // max(1, u.shape[0]))
    _, _, u, v = functional.spectral_norm(weight, u.to(weight.dtype), v, eps=norm.eps, dim=norm.dim, v_first=True)
    return "BigGAN-PyTorch (weight, u0)", (weight, u, v)
