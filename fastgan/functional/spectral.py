"""Spectral norm, and the layers that divide by it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.precision import convolution_algorithm
from fastgan.ops.registry import current_backend
from fastgan.ops.spectral_conv import spectral_conv as _spectral_conv
from fastgan.ops.spectral_norm import spectral_norm as _spectral_norm
from fastgan.ops.spectral_norm import vectors
from fastgan.ops.spectral_norm.arguments import (
    check_blocks,
    check_iteration,
    check_lengths,
    check_members,
    check_tensors,
    check_weight,
    row_dim,
)

__all__ = ["spectral_conv", "spectral_linear", "spectral_norm", "spectral_norm_group"]


def spectral_norm(
    weight: Tensor,
    u: Tensor,
    v: Tensor,
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int = 0,
    v_first: bool = False,
    exact: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Divide a weight by its largest singular value, estimated by power iteration.

    With W the weight as a matrix whose rows run along `dim`, an iteration is u ← W v / ‖W v‖, v ← Wᵀ u / ‖Wᵀ u‖, and

    .. math:: \sigma = u^\top W v, \qquad \hat W = W / \sigma

    Parameters
    ----------
    weight : Tensor
        At least one dimension; float32, float64, float16 or bfloat16; any memory layout, which the output keeps. It is
        read where it lies, whatever `dim`. Half types are computed in float32.
    u : Tensor
        ``[weight.shape[dim]]``, in weight's dtype: the last estimate of the left singular vector. ``[.., k]`` for an
        iteration of k vectors at once, whose error falls by (σ_{k+1} / σ₁)² instead of (σ₂ / σ₁)².
    v : Tensor
        ``[weight.numel() // weight.shape[dim]]``, the right one; ``[.., k]`` with such a u.
    n_power_iterations : int, default 1
        Iterations before the division; 0 keeps u and v, as torch does in eval mode.
    eps : float, default 1e-12
        Norms less than this count as this, as in :func:`torch.nn.functional.normalize`.
    dim : int, default 0
        The dimension of weight that the matrix's rows run along; 1 for transposed convolutions.
    v_first : bool, default False
        Iterate v before u, as torch's older hook and BigGAN do.
    exact : bool, default False
        Instead of iterating take the exact singular vectors, by the eigenvectors of W Wᵀ or Wᵀ W, whichever is smaller.

    Returns
    -------
    normalized : Tensor
        weight / sigma.
    sigma : Tensor
        A scalar; float32 for half types, else of weight's dtype.
    new_u, new_v : Tensor
        The vectors after the iterations; not differentiable. The inputs are not written.

    Raises
    ------
    TypeError
        For a dtype that is not real floating point, u or v of another dtype than weight, and arguments of the wrong
        type.
    ValueError
        For u or v of a length that does not match weight, or on another device; dim out of range; a negative
        n_power_iterations; eps not positive; more vectors than weight has rows or columns; v_first or exact with
        several vectors.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives, and for derivatives above the second.

    Notes
    -----
    Differentiable twice with respect to weight, with u and v as constants, as in
    :func:`torch.nn.utils.parametrizations.spectral_norm`: with :math:`E = u v^\top` the gradient is
    :math:`(G - \langle G, \hat W \rangle E) / \sigma`. A weight of zeros
    gives NaN, as in torch; NaN and infinity give NaN.
    With k vectors or `exact` small matrices are factorised by LAPACK or its GPU counterpart: not for CUDA graphs.

    σ is the norm of the weight as a matrix, not that of the convolution as an operator.

    T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, algorithm 1.
    """
    check_tensors("spectral_norm", weight=weight, u=u, v=v)
    dim = row_dim("spectral_norm", "weight", weight, dim)
    check_iteration("spectral_norm", n_power_iterations, eps)
    blocks = None
    if u.dim() == 2:
        check_weight("spectral_norm", ("weight", "u", "v"), weight, u, v, dim, block=True)
        check_blocks("spectral_norm", u, v, v_first=v_first, exact=exact)
        blocks = u, v = vectors.block_iteration(weight, u, v, n_power_iterations, dim)
        u, v = vectors.leading_pair(weight, u, v, dim)
        n_power_iterations = 0
    elif exact:
        check_weight("spectral_norm", ("weight", "u", "v"), weight, u, v, dim)
        u, v = vectors.exact_vectors(weight, dim, eps)
        n_power_iterations = 0
    outputs, sigmas, us, vs = _spectral_norm(
        [weight], [u], [v], [dim], [True], n_power_iterations, eps, v_first, current_backend()
    )
    return outputs[0], sigmas[0], *(blocks or (us[0], vs[0]))


def spectral_norm_group(
    weights: Sequence[Tensor],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dims: int | Sequence[int] = 0,
    v_first: bool = False,
    materialize: Sequence[bool] | None = None,
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    r"""Divide each of a list of weights by its largest singular value: :func:`spectral_norm` of all, in one call.

    Parameters
    ----------
    weights : sequence of Tensor
        Of any shapes and memory layouts, of one dtype (float32, float64, float16, bfloat16) and on one device.
    us, vs : sequence of Tensor
        The vectors of each weight.
    n_power_iterations, eps, v_first
        As for :func:`spectral_norm`, the same for all.
    dims : int or sequence of int, default 0
        The dimension of each weight that its matrix's rows run along; one for all where it is an integer.
    materialize : sequence of bool, optional
        Which of the divided weights to write; the others are empty tensors, for layers that need only sigma, u and v
        (:func:`spectral_conv`). Default: all.

    Returns
    -------
    normalized, sigmas, new_us, new_vs : list of Tensor
        What :func:`spectral_norm` returns, for each weight.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As :func:`spectral_norm`, naming the member; ValueError for lists of different lengths, an empty list, and
        members of different dtypes or devices.

    Notes
    -----
    One node of the autograd graph: its backward runs when the gradients of all outputs are there, for all at once.
    """
    name = "spectral_norm_group"
    weights, us, vs = list(weights), list(us), list(vs)
    dims = [dims] * len(weights) if isinstance(dims, int) else list(dims)
    check_lengths(name, weights, us=us, vs=vs, dims=dims)
    check_iteration(name, n_power_iterations, eps)
    check_members(name, us=us, vs=vs, weights=weights)
    dims = [row_dim(name, f"weights[{i}]", w, dim) for i, (w, dim) in enumerate(zip(weights, dims, strict=True))]
    wanted = [True] * len(weights) if materialize is None else list(materialize)
    return _spectral_norm(weights, us, vs, dims, wanted, n_power_iterations, eps, v_first, current_backend())


def spectral_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    u: Tensor,
    v: Tensor,
    *,
    sigma: Tensor | None = None,
    dim: int = 0,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    transposed: bool = False,
    output_padding: int | Sequence[int] = 0,
) -> Tensor:
    r"""Convolve with weight / sigma, which is never written.

    The input is scaled instead (the transformed weight, where :func:`conv2d` would take Winograd's algorithm), and the
    weight's gradient corrected where the convolution left it. That moves fewer bytes where the weight is larger than
    the activations; results are those of the convolution with the output of :func:`spectral_norm`, up to rounding.

    Parameters
    ----------
    input : Tensor
        ``[N, C_in, ...]`` or ``[C_in, ...]`` with one to three spatial dimensions, of weight's dtype.
    weight, u, v, dim
        As for :func:`spectral_norm` without an iteration.
    bias : Tensor or None
        ``[C_out]``.
    sigma : Tensor, optional
        uᵀ W v where it is known already, as :func:`spectral_norm_group` returns it. Default: it is computed.
    stride, padding, dilation, groups
        As for :func:`torch.nn.functional.conv2d`, but `padding` is no string.
    transposed : bool, default False
        A transposed convolution, with `output_padding`.

    Returns
    -------
    Tensor
        What the convolution gives.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As :func:`spectral_norm`; TypeError for an input of another dtype than weight.

    Notes
    -----
    Differentiable twice with respect to input, weight and bias; sigma counts as uᵀ W v in the derivative whoever
    computed it, u and v are constants. Where the gradient is to be differentiated (create_graph), weight / sigma is
    written after all. Under autocast the convolution runs in weight's dtype.
    """
    check_tensors("spectral_conv", input=input, weight=weight, u=u, v=v)
    dim = row_dim("spectral_conv", "weight", weight, dim)
    spatial = weight.dim() - 2
    if spatial < 1:
        raise ValueError(f"spectral_conv: weight must have at least 3 dimensions, got {list(weight.shape)}")
    sizes = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    strides, paddings, dilations, output_paddings = (
        _per_dimension("spectral_conv", name, value, spatial) for name, value in sizes.items()
    )
    arguments = (strides, paddings, dilations, transposed, output_paddings, groups)
    if input.dim() == spatial + 1:
        return _layer("spectral_conv", input[None], weight, bias, sigma, u, v, dim, arguments)[0]
    return _layer("spectral_conv", input, weight, bias, sigma, u, v, dim, arguments)


def spectral_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    u: Tensor,
    v: Tensor,
    *,
    sigma: Tensor | None = None,
    dim: int = 0,
) -> Tensor:
    r"""Apply a linear layer with weight / sigma, which is never written: :func:`spectral_conv` without a kernel.

    Parameters
    ----------
    input : Tensor
        ``[..., in_features]``, of weight's dtype.
    weight : Tensor
        ``[out_features, in_features]``.
    bias, u, v, sigma, dim
        As for :func:`spectral_conv`.

    Returns
    -------
    Tensor
        ``[..., out_features]``.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As :func:`spectral_conv`.
    """
    check_tensors("spectral_linear", input=input, weight=weight, u=u, v=v)
    dim = row_dim("spectral_linear", "weight", weight, dim)
    if weight.dim() != 2:
        raise ValueError(f"spectral_linear: weight must be [out_features, in_features], got {list(weight.shape)}")
    return _layer("spectral_linear", input, weight, bias, sigma, u, v, dim, ([], [], [], False, [], 1))


def _per_dimension(function: str, argument: str, given: int | Sequence[int], spatial: int) -> list[int]:
    values = [given] * spatial if isinstance(given, int) else list(given)
    if len(values) != spatial or not all(isinstance(value, int) for value in values):
        raise ValueError(f"{function}: {argument} must be an integer or {spatial} of them, got {given!r}")
    return values


def _layer(
    function: str, input: Tensor, weight: Tensor, bias: Tensor | None, sigma: Tensor | None, u: Tensor, v: Tensor,
    dim: int, geometry: tuple[list[int], list[int], list[int], bool, list[int], int],
) -> Tensor:  # fmt: skip
    checks.check_floating(function, "input", input)
    backend = current_backend()
    if sigma is not None:
        check_tensors(function, sigma=sigma)
    else:
        check_weight(function, ("weight", "u", "v"), weight, u, v, dim)
        sigma = _spectral_norm([weight.detach()], [u], [v], [dim], [False], 0, 1e-12, False, backend)[1][0]
    algorithm = convolution_algorithm()
    return _spectral_conv(input, weight, bias, sigma, u, v, dim, *geometry, algorithm, backend)
