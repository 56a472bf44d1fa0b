"""spectral_norm: schemas, fake kernels, autograd formulas, table of backends, for a list of weights in one call.

With E = u vᵀ and σ = ⟨W, E⟩ the op computes Ŵ = W / σ; u and v are constants of the derivatives, as in torch. Its
backward dW = (G − ⟨G, Ŵ⟩ E) / σ is an op of its own, and so is the derivative of that. σ is differentiable too.
Layers that never write Ŵ ask for σ, u and v only: a member that is not to be materialised has an empty output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.registry import OpTable
from fastgan.ops.spectral_norm.arguments import check_iteration, check_lengths, check_sigma, check_weight, fits
from fastgan.ops.spectral_norm.matrix import from_matrix
from fastgan.ops.spectral_norm.reference import accumulator

__all__ = ["gradients", "spectral_norm", "spectral_norm_backward"]

table = OpTable("spectral_norm", ("cpu", "triton", "cuda", "reference"))


def _check(
    name: str, weights: list[Tensor], sigmas: list[Tensor], us: list[Tensor], vs: list[Tensor], dims: list[int]
) -> None:
    check_lengths(name, weights, us=us, vs=vs, dims=dims)
    first = weights[0]
    for i, (weight, u, v, dim) in enumerate(zip(weights, us, vs, dims, strict=True)):
        if fits(weight, u, v, dim, first):
            continue
        names = ("weight", "u", "v") if len(weights) == 1 else (f"weights[{i}]", f"us[{i}]", f"vs[{i}]")
        check_weight(name, names, weight, u, v, dim)
        raise ValueError(
            f"{name}: {names[0]} must be {first.dtype} on {first.device} like weights[0], "
            f"got {weight.dtype} on {weight.device}"
        )
    for i, sigma in enumerate(sigmas):
        check_sigma(name, f"sigmas[{i}]", sigma, first)


def _check_forward(
    name: str, weights: list[Tensor], us: list[Tensor], vs: list[Tensor], dims: list[int], materialize: list[bool],
    n_power_iterations: int, eps: float, *_: Any,
) -> None:  # fmt: skip
    check_lengths(name, weights, materialize=materialize)
    _check(name, weights, [], us, vs, dims)
    check_iteration(name, n_power_iterations, eps)


def _check_gradients(name: str, argument: str, grads: list[Tensor], weights: list[Tensor]) -> None:
    check_lengths(name, weights, **{argument: grads})
    for i, (grad, weight) in enumerate(zip(grads, weights, strict=True)):
        if grad.shape == weight.shape and grad.dtype == weight.dtype and grad.device == weight.device:
            continue
        checks.check_alike(name, **{f"weights[{i}]": weight, f"{argument}[{i}]": grad})


def _check_backward(name: str, grads: list[Tensor], weights: list[Tensor], sigmas: list[Tensor], *rest: Any) -> None:
    check_lengths(name, weights, sigmas=sigmas)
    _check(name, weights, sigmas, *rest[:3])
    _check_gradients(name, "grad_outputs", grads, weights)


def _check_double_backward(
    name: str, grad_grads: list[Tensor], grads: list[Tensor], weights: list[Tensor], *rest: Any
) -> None:
    _check_backward(name, grads, weights, *rest)
    _check_gradients(name, "grad_grad_weights", grad_grads, weights)


def _empty_like(tensors: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in tensors]


def _fake_forward(
    weights: list[Tensor], us: list[Tensor], vs: list[Tensor], dims: list[int], materialize: list[bool], *_: Any
) -> tuple[list[Tensor], ...]:
    outputs = [
        torch.empty_like(w) if wanted else w.new_empty(0) for w, wanted in zip(weights, materialize, strict=True)
    ]
    sigmas = [w.new_empty((), dtype=accumulator(w.dtype)) for w in weights]
    return outputs, sigmas, *([x.new_empty(x.shape) for x in vectors] for vectors in (us, vs))


spectral_norm = define_op(
    table,
    "spectral_norm(Tensor[] weights, Tensor[] us, Tensor[] vs, int[] dims, bool[] materialize,"
    " int n_power_iterations, float eps, bool v_first, str? backend)"
    " -> (Tensor[] outputs, Tensor[] sigmas, Tensor[] new_us, Tensor[] new_vs)",
    _fake_forward,
    _check_forward,
)
spectral_norm_backward = define_op(
    table,
    "spectral_norm_backward(Tensor[] grad_outputs, Tensor[] weights, Tensor[] sigmas, Tensor[] us, Tensor[] vs,"
    " int[] dims, str? backend) -> Tensor[]",
    lambda grad_outputs, weights, *_: _empty_like(weights),
    _check_backward,
)
spectral_norm_double_backward = define_op(
    table,
    "spectral_norm_double_backward(Tensor[] grad_grad_weights, Tensor[] grad_outputs, Tensor[] weights,"
    " Tensor[] sigmas, Tensor[] us, Tensor[] vs, int[] dims, str? backend)"
    " -> (Tensor[] grad_grad_outputs, Tensor[] grad_weights)",
    lambda grad_grads, grads, weights, *_: (_empty_like(weights), _empty_like(weights)),
    _check_double_backward,
)


def rank_one(scale: Tensor, u: Tensor, v: Tensor, weight: Tensor, dim: int) -> Tensor:
    """``scale · u vᵀ`` in `weight`'s shape and dtype: the derivative of `scale` times σ."""
    return from_matrix(torch.outer(scale * u.to(scale.dtype), v.to(scale.dtype)), weight, dim).to(weight.dtype)


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[list[Tensor], ...]) -> None:
    weights, _, _, ctx.dims, ctx.materialize = inputs[:5]
    ctx.backend = inputs[-1]
    outputs, sigmas, us, vs = output
    ctx.save_for_backward(*weights, *sigmas, *us, *vs)
    unwritten = [y for y, wanted in zip(outputs, ctx.materialize, strict=True) if not wanted]
    ctx.mark_non_differentiable(*us, *vs, *unwritten)


def _split(ctx: Any, parts: int) -> list[list[Tensor]]:
    saved = ctx.saved_tensors
    n = len(saved) // parts
    return [list(saved[i * n : (i + 1) * n]) for i in range(parts)]


def gradients(
    grad_outputs: Sequence[Tensor | None],
    grad_sigmas: Sequence[Tensor | None],
    members: Sequence[Sequence[Any]],
    wanted: Sequence[bool],
    backend: str | None,
) -> list[Tensor | None]:
    """The weights' gradients where `wanted`; `members` are the lists weights, sigmas, us, vs and dims."""
    weights, _, us, vs, dims = members
    # Sparse ones come from embeddings; what is left of them after the division is dense.
    grad_outputs = [grad if grad is None or grad.layout == torch.strided else grad.to_dense() for grad in grad_outputs]
    grads: list[Tensor | None] = [None] * len(weights)
    through = [i for i, grad in enumerate(grad_outputs) if wanted[i] and grad is not None]
    if through:
        lists = ([each[i] for i in through] for each in (grad_outputs, *members))
        for i, grad in zip(through, spectral_norm_backward.run(*lists, backend), strict=True):
            grads[i] = grad
    for i, scale in enumerate(grad_sigmas):
        if wanted[i] and scale is not None:
            along, grad = rank_one(scale, us[i], vs[i], weights[i], dims[i]), grads[i]
            grads[i] = along if grad is None else grad + along
    return grads


def _backward(
    ctx: Any, grad_outputs: list[Tensor | None], grad_sigmas: list[Tensor | None], *_: Any
) -> tuple[Any, ...]:
    members = (*_split(ctx, 4), ctx.dims)
    wanted = ctx.needs_input_grad[1 : 1 + len(members[0])]
    return (gradients(grad_outputs, grad_sigmas, members, wanted, ctx.backend), *(None,) * 8)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grads, weights, sigmas, us, vs, ctx.dims, ctx.backend = inputs
    ctx.save_for_backward(*grads, *weights, *sigmas, *us, *vs)


def _double_backward(ctx: Any, grad_grads: list[Tensor | None]) -> tuple[Any, ...]:
    grads, weights, sigmas, us, vs = _split(ctx, 5)
    defined = [i for i, h in enumerate(grad_grads) if h is not None]
    members = ([x[i] for i in defined] for x in (grad_grads, grads, weights, sigmas, us, vs, ctx.dims))
    results = spectral_norm_double_backward.run(*members, ctx.backend)
    spread: list[list[Tensor | None]] = [[None] * len(weights), [None] * len(weights)]
    for filled, result in zip(spread, results, strict=True):
        for i, tensor in zip(defined, result, strict=True):
            filled[i] = tensor
    return (*spread, *(None,) * 5)


def _third(ctx: Any, *_: Any) -> tuple[Any, ...]:
    raise NotImplementedError(
        "spectral_norm: third derivatives are not implemented; "
        "fastgan.ops.spectral_norm.reference.spectral_norm is differentiable to any order"
    )


define_autograd(spectral_norm, _setup_forward, _backward)
define_autograd(spectral_norm_backward, _setup_backward, _double_backward)
define_autograd(spectral_norm_double_backward, lambda ctx, inputs, output: None, _third)

# Under autocast a weight keeps its dtype: what multiplies with it casts it, and the norm is taken before that.
define_autocast(spectral_norm, lambda *args: args)
