"""spectral_norm in Triton, for NVIDIA and AMD: a whole group of weights in 2n + 1 launches forward, 2 backward.

A weight is read where it lies, as a matrix [outer, rows, inner] in memory whose row r is all (o, r, i). Where the
columns lie together instead (inner = 1: a channels_last transposed convolution), as the transposed of that. The vector
along the rows of what is read is called left, the other one right: u and v, or v and u where it is transposed.

Which weight a program works on, and the weights' extents, stand in tables on the device, which depend on shapes alone
and are built once. The tensors' addresses go by value, as tuples of pointers: a call copies nothing from the host.
A launch has room for 62 weights or more (:func:`_groups`); longer lists take several.

Sums that cross programs are written as partial sums, one a program, and every program that needs the sum adds them up
anew, in fixed order: no atomics. They are float64, in which no square of a float32 overflows or vanishes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops.layout import dense, match_layout
from fastgan.ops.spectral_norm.matrix import columns_in_memory, columns_of
from fastgan.ops.spectral_norm.reference import accumulator
from fastgan.ops.spectral_norm.triton_bwd import (
    spectral_norm_bwd_dot_kernel,
    spectral_norm_bwd_kernel,
    spectral_norm_double_bwd_dots_kernel,
    spectral_norm_double_bwd_kernel,
)
from fastgan.ops.spectral_norm.triton_fwd import spectral_norm_finish_kernel, spectral_norm_product_kernel
from fastgan.ops.spectral_norm.triton_plan import Blocks, Plan, make_plan
from fastgan.ops.triton_support import tl, unsupported_reason

__all__ = ["spectral_norm", "spectral_norm_backward", "spectral_norm_double_backward", "unsupported_reason"]

#: Bytes that a kernel's arguments may have on every device, and those kept for arguments that are no tuples.
_ARGUMENTS, _OTHER_ARGUMENTS = 4096, 128


class _Group(NamedTuple):
    """Weights that share launches."""

    members: list[int]  # which of the call's weights
    weights: list[Tensor]  # the call's
    dims: list[int]
    plan: Plan
    blocks: Blocks

    def of(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The members' tensors, for a kernel."""
        return tuple(tensors[i] for i in self.members)

    def permuted(self) -> list[int]:
        """The members whose v is brought into memory's order by a copy."""
        return [i for i, permuted in zip(self.members, self.plan.permuted, strict=True) if permuted]

    def vectors(self, us: Sequence[Tensor], vs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The members' u and v, for a kernel."""
        given = {i: vs[i] for i in self.members}
        given |= {i: columns_in_memory(vs[i], self.weights[i], self.dims[i]) for i in self.permuted()}
        return tuple(us[i].contiguous() for i in self.members), tuple(v.contiguous() for v in given.values())

    def launch(self, kernel: Any, stage: int, *arguments: Any, **constants: Any) -> None:
        programs = self.plan.programs[stage]
        kernel[(len(programs),)](programs, self.plan.layers, *arguments, **constants, num_warps=4)


def _groups(
    weights: list[Tensor],
    dims: list[int],
    tuples: int,
    materialize: Sequence[bool] | None = None,
    tensors: int = 1,
) -> Iterator[_Group]:
    """Share the weights among calls of kernels with so many tuples of pointers; those without elements are left out."""
    filled = [i for i, weight in enumerate(weights) if weight.numel()]
    most = (_ARGUMENTS - _OTHER_ARGUMENTS) // (8 * tuples)
    blocks = Blocks.of(weights[0].dtype, tensors)
    for start in range(0, len(filled), most):
        members = filled[start : start + most]
        described = tuple(
            (tuple(weights[i].shape), weights[i].stride(), dims[i], materialize is None or materialize[i])
            for i in members
        )
        yield _Group(members, weights, dims, make_plan(described, blocks, weights[0].device), blocks)


def _new_vector(vector: Tensor, weight: Tensor, n_power_iterations: int) -> Tensor:
    """Memory for a new vector; its values too where the weight has no elements, and no kernel writes them."""
    if weight.numel():
        return vector.new_empty(vector.shape)
    return vector.new_zeros(vector.shape) if n_power_iterations else vector.clone(memory_format=torch.contiguous_format)


def spectral_norm(
    weights: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
    materialize: list[bool],
    n_power_iterations: int,
    eps: float,
    v_first: bool,
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    weights = [dense(weight) for weight in weights]
    wide = accumulator(weights[0].dtype)
    outputs = [
        torch.empty_like(w) if wanted else w.new_empty(0) for w, wanted in zip(weights, materialize, strict=True)
    ]
    sigmas = [w.new_empty((), dtype=wide) if w.numel() else w.new_zeros((), dtype=wide) for w in weights]
    new_us, new_vs = (
        [_new_vector(x, weight, n_power_iterations) for x, weight in zip(vectors, weights, strict=True)]
        for vectors in (us, vs)
    )
    order = (1, 0) if v_first else (0, 1)
    # Without an iteration u and v are arguments of the last kernel too.
    for group in _groups(weights, dims, 5 if n_power_iterations else 7, materialize):
        matrices, vectors = group.of(weights), group.vectors(us, vs)
        scratch = weights[0].new_empty(group.plan.scratch, dtype=wide)
        sums = group.plan.sums(0), group.plan.sums(1)
        with torch.cuda.device_of(scratch):
            if n_power_iterations == 0:
                group.launch(
                    spectral_norm_product_kernel, 0, matrices, vectors[1], vectors[0], scratch, None, sums[0], eps,
                    STAGE=0, MOST=group.plan.most, **group.blocks.product(),
                )  # fmt: skip
            for half_step in range(2 * n_power_iterations):
                stage, first = order[half_step % 2], half_step == 0
                group.launch(
                    spectral_norm_product_kernel, stage, matrices, vectors[1 - stage] if first else None, None, scratch,
                    None if first else sums[1 - stage], sums[stage], eps, STAGE=stage,
                    MOST=group.plan.most, **group.blocks.product(),
                )  # fmt: skip
            given = (None, None) if n_power_iterations else vectors
            results = (group.of(outputs), group.of(sigmas), group.of(new_us), group.of(new_vs))
            group.launch(
                spectral_norm_finish_kernel, 2, matrices, *results, *given, scratch, *sums, eps,
                LAST=order[1], MOST=group.plan.most, **group.blocks.elementwise(),
            )  # fmt: skip
        for i in group.permuted():
            new_vs[i] = columns_of(new_vs[i], weights[i], dims[i])
    return outputs, sigmas, new_us, new_vs


def spectral_norm_backward(
    grad_outputs: list[Tensor],
    weights: list[Tensor],
    sigmas: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
) -> list[Tensor]:
    weights = [dense(weight) for weight in weights]
    grad_outputs = [match_layout(grad, weight) for grad, weight in zip(grad_outputs, weights, strict=True)]
    grads = [torch.empty_like(weight) for weight in weights]
    wide = tl.float64 if weights[0].dtype == torch.float64 else tl.float32
    for group in _groups(weights, dims, 5):
        cotangents, sums, constants = group.of(grad_outputs), group.plan.sums(2), group.blocks.elementwise()
        vectors = group.vectors(us, vs)
        with torch.cuda.device_of(sums):
            group.launch(spectral_norm_bwd_dot_kernel, 2, cotangents, group.of(weights), sums, ACC=wide, **constants)
            group.launch(
                spectral_norm_bwd_kernel,
                2,
                cotangents,
                group.of(sigmas),
                *vectors,
                group.of(grads),
                sums,
                MOST=group.plan.most,
                **constants,
            )
    return grads


def spectral_norm_double_backward(
    grad_grad_weights: list[Tensor],
    grad_outputs: list[Tensor],
    weights: list[Tensor],
    sigmas: list[Tensor],
    us: list[Tensor],
    vs: list[Tensor],
    dims: list[int],
) -> tuple[list[Tensor], list[Tensor]]:
    weights = [dense(weight) for weight in weights]
    cotangents = [
        [match_layout(grad, weight) for grad, weight in zip(grads, weights, strict=True)]
        for grads in (grad_grad_weights, grad_outputs)
    ]
    grad_grads, grads = [torch.empty_like(w) for w in weights], [torch.empty_like(w) for w in weights]
    wide = tl.float64 if weights[0].dtype == torch.float64 else tl.float32
    for group in _groups(weights, dims, 8, tensors=2):
        operands = (*(group.of(grads) for grads in cotangents), group.of(weights))
        vectors, sums = group.vectors(us, vs), group.plan.sums(2, 3)
        results, constants = (group.of(grad_grads), group.of(grads)), group.blocks.elementwise()
        with torch.cuda.device_of(sums):
            group.launch(spectral_norm_double_bwd_dots_kernel, 2, *operands, *vectors, sums, ACC=wide, **constants)
            group.launch(
                spectral_norm_double_bwd_kernel,
                2,
                *operands,
                group.of(sigmas),
                *vectors,
                *results,
                sums,
                MOST=group.plan.most,
                **constants,
            )
    return grad_grads, grads
