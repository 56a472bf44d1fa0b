"""Spectral norm of a whole model in one call, at the start of its forward."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.spectral_norm import SpectralNorm as Hook

from fastgan import functional
from fastgan.nn.spectral import FORWARDS, folding_forward, folds, parametrisations
from fastgan.nn.utils.spectral_norm import SpectralNorm
from fastgan.ops import checks
from fastgan.ops.registry import current_backend
from fastgan.ops.spectral_norm.share import share

__all__ = ["group_spectral_norm", "ungroup_spectral_norm"]

ModuleType = TypeVar("ModuleType", bound=nn.Module)
#: weight / sigma or an empty tensor, sigma, u and v.
Prepared = tuple[Tensor, Tensor, Tensor, Tensor]

_ATTRIBUTE = "_spectral_group"


class _Parametrized:
    """A weight under torch's parametrisation or ours; torch's is replaced by ours on the same buffers."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name
        self.applied = parametrisations(module, name)
        given = self.applied[0]
        self.stock: Any = None if isinstance(given, SpectralNorm) else given
        norm: SpectralNorm = given if self.stock is None else SpectralNorm.of_stock(given)
        self.norm = self.applied[0] = norm
        norm.grouped = True
        self.dim = self.norm.dim
        known = name == "weight" and parametrize.type_before_parametrizations(module) in FORWARDS
        self.patched = known and "forward" not in module.__dict__
        if self.patched:
            module.forward = MethodType(folding_forward, module)

    def weight(self) -> Tensor:
        return self.applied.original

    def buffers(self) -> tuple[Tensor, Tensor]:
        return self.norm._u, self.norm._v

    def options(self) -> tuple[int, float, bool]:
        return self.norm.n_power_iterations if self.norm.training else 0, self.norm.eps, self.norm.v_first

    def folds(self) -> bool:
        return self.name == "weight" and folds(self.module, self.weight())

    def prepare(self, prepared: Prepared) -> None:
        self.norm.prepared = prepared

    def release(self) -> None:
        self.norm.prepared = None

    def undo(self) -> None:
        self.norm.grouped = False
        if self.patched:
            del self.module.forward
        if self.stock is not None:
            self.stock._u, self.stock._v = self.buffers()  # the model may have moved since
            self.applied[0] = self.stock.train(self.norm.training)


class _Hooked:
    """A weight under ``torch.nn.utils.spectral_norm``, the older hook, whose place this takes."""

    def __init__(self, module: nn.Module, key: int, hook: Hook) -> None:
        self.module, self.key, self.hook, self.dim = module, key, hook, hook.dim
        self.prepared = False
        module._forward_pre_hooks[key] = self

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        if not self.prepared:
            self.hook(module, inputs)

    def weight(self) -> Tensor:
        return getattr(self.module, self.hook.name + "_orig")

    def buffers(self) -> tuple[Tensor, Tensor]:
        return getattr(self.module, self.hook.name + "_u"), getattr(self.module, self.hook.name + "_v")

    def options(self) -> tuple[int, float, bool]:
        return self.hook.n_power_iterations if self.module.training else 0, self.hook.eps, True

    def folds(self) -> bool:
        return False

    def prepare(self, prepared: Prepared) -> None:
        self.prepared = True
        setattr(self.module, self.hook.name, prepared[0])

    def release(self) -> None:
        self.prepared = False
        # Without its history, with which the module could not be copied.
        setattr(self.module, self.hook.name, getattr(self.module, self.hook.name).detach())

    def undo(self) -> None:
        self.module._forward_pre_hooks[self.key] = self.hook


_Member = _Parametrized | _Hooked


class _Step(NamedTuple):
    """What the forwards of one step share, and what tells that the step is over."""

    weights: list[Tensor]
    state: list[Any]
    prepared: list[Prepared]

    def lasts(self, weights: list[Tensor], state: list[Any]) -> bool:
        same = all(a is b for a, b in zip(self.weights, weights, strict=True))
        return same and self.state == state


class _Group:
    """The model's hooks: one before its forward, which normalises everything, and one after it."""

    def __init__(self, model: nn.Module, members: list[_Member], once_per_step: bool) -> None:
        self.members = members
        self.once_per_step = once_per_step
        self.step: _Step | None = None
        self.handles = [
            model.register_forward_pre_hook(self.before, prepend=True),  # the model itself may be a hooked layer
            model.register_forward_hook(self.after, always_call=True),
        ]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"step": None}  # a copy's weights count their versions anew

    def before(self, model: nn.Module, inputs: Any) -> None:
        if getattr(model, "_is_replica", False):
            raise NotImplementedError(
                "group_spectral_norm: nn.DataParallel is not supported; use DistributedDataParallel"
            )
        prepared = self._of_step() if self.once_per_step else self._normalize()
        for member, each in zip(self.members, prepared, strict=True):
            member.prepare(each)

    def after(self, model: nn.Module, inputs: Any, output: Any) -> None:
        for member in self.members:
            member.release()

    def _normalize(self) -> list[Prepared]:
        """Normalise all weights: one call for all that have the same dtype, device and options."""
        calls: dict[Any, list[int]] = {}
        weights = [member.weight() for member in self.members]
        for i, (member, weight) in enumerate(zip(self.members, weights, strict=True)):
            calls.setdefault((weight.device, weight.dtype, member.options()), []).append(i)
        prepared: dict[int, Prepared] = {}
        old, new = [], []
        for (_, _, (n_power_iterations, eps, v_first)), indices in calls.items():
            members = [self.members[i] for i in indices]
            us, vs = zip(*(member.buffers() for member in members), strict=True)
            result = functional.spectral_norm_group(
                [weights[i] for i in indices], us, vs, n_power_iterations=n_power_iterations, eps=eps,
                dims=[member.dim for member in members], v_first=v_first,
                materialize=[not member.folds() for member in members],
            )  # fmt: skip
            prepared.update(zip(indices, zip(*result, strict=True), strict=True))
            if n_power_iterations:
                old += [*us, *vs]
                new += [*result[2], *result[3]]
        if old:
            with torch.no_grad():
                torch._foreach_copy_(old, new)  # into the buffers, never in their place
        return [prepared[i] for i in range(len(self.members))]

    def _of_step(self) -> list[Prepared]:
        if torch.compiler.is_compiling():
            raise NotImplementedError("group_spectral_norm: once_per_step=True is not supported under torch.compile")
        weights = [member.weight() for member in self.members]
        # An optimiser's step, or loading a checkpoint, changes the weights' versions.
        if any(weight.is_inference() for weight in weights):
            return self._normalize()  # such weights keep no version, and have no training steps
        state = [
            (weight._version, weight.dtype, weight.device, *member.options())
            for weight, member in zip(weights, self.members, strict=True)
        ]
        if self.step is None or not self.step.lasts(weights, state):
            # Not even in inference mode inference tensors: the step's next forward may record a graph.
            with torch.inference_mode(False), torch.no_grad():
                self.step = _Step(weights, state, self._normalize())
        if not torch.is_grad_enabled():
            return self.step.prepared
        normalized, sigmas, us, vs = zip(*self.step.prepared, strict=True)
        dims = [member.dim for member in self.members]
        shared = share(normalized, weights, sigmas, us, vs, dims, current_backend())
        return list(zip(*shared, us, vs, strict=True))

    def undo(self) -> None:
        for handle in self.handles:
            handle.remove()
        for member in self.members:
            member.undo()


def _computable(weight: Tensor, eps: float) -> bool:
    """Whether our op takes the weight; torch's norms also take complex ones, and no eps."""
    return weight.dtype in checks.FLOATING and weight.layout == torch.strided and eps > 0


def _find(model: nn.Module) -> list[_Member]:
    """Take over the weights that can be grouped; all are looked at before the first is changed."""
    found: list[Callable[[], _Member]] = []
    taken: list[str] = []
    for path, module in model.named_modules():
        if parametrize.is_parametrized(module):
            for name, applied in module.parametrizations.items():
                norm, weight = applied[0], applied.original
                ours = isinstance(norm, SpectralNorm) and norm.n_vectors == 1 and not norm.exact
                if len(applied) > 1 or weight.dim() == 1 or not (ours or type(norm) is parametrizations._SpectralNorm):
                    continue
                if ours and norm.grouped:
                    taken.append(f"{path}.{name}".lstrip("."))
                elif _computable(weight, norm.eps):
                    found.append(partial(_Parametrized, module, name))
        for key, hook in module._forward_pre_hooks.items():
            if isinstance(hook, _Hooked):
                taken.append(f"{path}.{hook.hook.name}".lstrip("."))
            elif isinstance(hook, Hook) and _computable(getattr(module, hook.name + "_orig"), hook.eps):
                found.append(partial(_Hooked, module, key, hook))
    if taken:
        raise ValueError(
            f"group_spectral_norm: model must not have weights that another group normalises, got {', '.join(taken)}; "
            "ungroup_spectral_norm undoes a group"
        )
    return [take_over() for take_over in found]


def group_spectral_norm(model: ModuleType, *, once_per_step: bool = False) -> ModuleType:
    """Normalise every spectrally normalised weight of a model in one call, at the start of the model's forward.

    Parameters
    ----------
    model : nn.Module
        A model with weights under :func:`fastgan.nn.utils.spectral_norm`, the layers of :mod:`fastgan.nn` that have it
        built in, :func:`torch.nn.utils.parametrizations.spectral_norm` or :func:`torch.nn.utils.spectral_norm`. It is
        changed in place; its state dict is not. Weights with several or exact vectors, vectors, and what only torch's
        can normalise (complex weights, ``eps=0``) are left to themselves.
    once_per_step : bool, default False
        Let all forwards share one normalisation until a weight changes, as an optimiser's step does. That is fewer
        iterations than without: one a step, instead of one a forward. Each forward still has its own history, so
        that each may have its own backward.

    Returns
    -------
    nn.Module
        `model`.

    Raises
    ------
    ValueError
        For a model without such weights, or with weights that are in a group already.
    NotImplementedError
        In the forward, under ``nn.DataParallel``, or with once_per_step under ``torch.compile``.

    Notes
    -----
    Every forward of the model is one iteration of every weight, where layer by layer it is one for each access: a layer
    that a forward uses twice iterates once, and one that it does not use iterates too. The layers' own forwards
    outside of the model's, and accesses to their weights, work as before; but the weight of a layer under torch's
    older hook has no history after the model's forward. Inside the model, ``torch.utils.checkpoint`` needs
    ``use_reentrant=True``: what runs again in the backward is normalised by itself, which the other form takes for an
    error.

    All weights are one node of a forward's graph. Two backwards from one forward, as of a model with two heads, need
    ``retain_graph=True`` in the first.

    Weights changed through ``.data`` are not noticed by once_per_step.
    """
    if hasattr(model, _ATTRIBUTE):
        raise ValueError("group_spectral_norm: model must not be grouped already; ungroup_spectral_norm undoes it")
    members = _find(model)
    if not members:
        raise ValueError(
            f"group_spectral_norm: model must have spectrally normalised weights, got {type(model).__name__}"
        )
    setattr(model, _ATTRIBUTE, _Group(model, members, once_per_step))
    return model


def ungroup_spectral_norm(model: ModuleType) -> ModuleType:
    """Undo :func:`group_spectral_norm`: the layers normalise by themselves again, by what they had before.

    Parameters
    ----------
    model : nn.Module
        A grouped model; it is changed in place.

    Returns
    -------
    nn.Module
        `model`.

    Raises
    ------
    ValueError
        For a model that is not grouped.
    """
    group = getattr(model, _ATTRIBUTE, None)
    if group is None:
        raise ValueError(f"ungroup_spectral_norm: model must be grouped, got {type(model).__name__}")
    group.undo()
    delattr(model, _ATTRIBUTE)
    return model
