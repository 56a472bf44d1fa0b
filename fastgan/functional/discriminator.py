"""A penalty on a discriminator's input gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fastgan.ops import checks
from fastgan.tape import Select, differentiate

if TYPE_CHECKING:  # penalties are made of this package's functions
    from fastgan.penalties import Penalty

__all__ = ["gradient_penalty"]


def gradient_penalty(
    discriminator: Callable[..., Any],
    x: Tensor,
    *conditions: Any,
    penalty: Penalty,
    fake: Tensor | None = None,
    fake_conditions: Sequence[Any] = (),
    select: Select = None,
) -> Tensor:
    """The penalty alone, for those who call the discriminator for its outputs themselves.

    Parameters
    ----------
    discriminator : callable
        Any module or function of ``(x, *conditions)``.
    x : Tensor
        Real samples ``[N, ...]``, floating point.
    *conditions
        Passed on.
    penalty : Penalty
        One of :mod:`fastgan.penalties`. Its `every` scales the result; when to call is the caller's business.
    fake : Tensor, optional
        Generated samples, for penalties that look at them or between.
    fake_conditions : sequence, default ()
        The conditions of the fake samples, where the penalty looks at these. Default: those of the real ones.
    select : int, str or callable, optional
        Which part of an output that is no tensor is penalised.

    Returns
    -------
    Tensor
        A scalar, differentiable once, with respect to the discriminator's parameters, x and fake.

    Raises
    ------
    TypeError, ValueError
        For x that is no floating point tensor, a missing `fake`, an output of which `select` chooses no tensor.

    Notes
    -----
    Where the loss needs the discriminator's outputs at the same points, as with R1,
    :class:`fastgan.nn.PenalizedDiscriminator` is faster: loss and penalty share what they have in common.
    """
    checks.check_floating("gradient_penalty", "x", x)
    finite_difference = getattr(penalty, "of_outputs", None)
    if finite_difference is not None:
        raise TypeError(f"gradient_penalty: penalty must be of a gradient, got {penalty!r}")
    points = penalty.place(x, fake)
    conditions = tuple(fake_conditions) if penalty.points == "fake" and fake_conditions else conditions
    _, gradient, _ = differentiate("gradient_penalty", discriminator, points, conditions, select)
    return penalty(gradient)
