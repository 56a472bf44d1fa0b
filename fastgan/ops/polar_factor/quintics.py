"""The odd quintics whose composition takes singular values to 1: minimax, each for the interval the last one left.

Each step applies p(x) = a x + b x³ + c x⁵ to the singular values. Of all such polynomials the one that is nearest to 1
on an interval [l, u] maps it to [1 - E, 1 + E], and the composition of those is the best there is of its kind (Amsel,
Persson, Musco, Gower: The Polar Express, 2025, theorem 3.1). A small value grows at first by 8, then by 4 a step;
the last steps converge with order three.

Beyond its interval such a polynomial leaves fast, so every interval is stretched upwards by more than rounding could
ever exceed it.
"""

from __future__ import annotations

import functools
import itertools

import torch

__all__ = ["FEWEST_STEPS", "Quintic", "minimax_quintic", "quintics"]

Quintic = tuple[float, float, float]

#: Fewer reach no interval at all in float64.
FEWEST_STEPS = 4
#: The smallest lower end, as a power of 1/2, whose coefficients float64 still tells apart.
_SMALLEST = 44
#: Where a narrower interval about 1 is left, the limit of the minimax polynomials, and safe to compute.
_NARROW = 1e-4
_LIMIT: Quintic = (15 / 8, -10 / 8, 3 / 8)
_EXCHANGES = 50
#: The share of its length by which an interval is stretched.
_SLACK = 0.01


def _newton_form(nodes: list[float], values: list[float]) -> list[float]:
    """Divided differences: the coefficients of the polynomial through the points, in Newton's form."""
    values = list(values)
    for order in range(1, len(nodes)):
        for i in range(len(nodes) - 1, order - 1, -1):
            values[i] = (values[i] - values[i - 1]) / (nodes[i] - nodes[i - order])
    return values


def minimax_quintic(lower: float, upper: float) -> Quintic:
    """(a, b, c) of the odd quintic nearest to 1 on [lower, upper], by Remez' exchange."""
    inner = (3 * lower + upper) / 4, (lower + 3 * upper) / 4
    for _ in range(_EXCHANGES):
        # p(x) = 1 ∓ E at four points in turn. In y = x² that is a parabola through (1 ∓ E)/x, so E makes the third
        # divided difference vanish.
        points = (lower, *inner, upper)
        squares = [x * x for x in points]
        ones = _newton_form(squares, [1 / x for x in points])
        signs = _newton_form(squares, [(-1) ** i / x for i, x in enumerate(points)])
        error = ones[3] / signs[3]
        constant, slope, c = (one - error * sign for one, sign in zip(ones[:3], signs[:3], strict=True))
        b = slope - c * (squares[0] + squares[1])
        a = constant - slope * squares[0] + c * squares[0] * squares[1]
        # The extrema between the ends: a + 3 b y + 5 c y² = 0.
        root = (9 * b * b - 20 * a * c) ** 0.5
        found = ((-3 * b - root) / (10 * c)) ** 0.5, ((-3 * b + root) / (10 * c)) ** 0.5
        if max(abs(x - y) for x, y in zip(inner, found, strict=True)) < 1e-12 * upper:
            break
        inner = found
    return a, b, c


def _composition(lower: float, steps: int) -> tuple[list[Quintic], float]:
    """The quintics for [lower, 1], and the distance from 1 that they leave."""
    chosen: list[Quintic] = []
    upper = 1.0
    for _ in range(steps):
        stretched = upper + _SLACK * (upper - lower)
        a, b, c = minimax_quintic(lower, stretched) if upper - lower > _NARROW else _LIMIT
        chosen.append((a, b, c))
        lower = lower * (a + lower**2 * (b + lower**2 * c))
        upper = 2 - lower
    return chosen, 1 - lower


@functools.cache
def quintics(steps: int, dtype: torch.dtype) -> tuple[float, tuple[Quintic, ...]]:
    """The smallest singular value, of a largest of 1, that `steps` steps take to 1 in `dtype`; and their quintics.

    It is a power of two: 2⁻¹⁶ for 10 steps in float32, 2⁻¹⁵ in float64.
    """
    for exponent in itertools.count(min(3 * steps, _SMALLEST), -1):
        chosen, error = _composition(2.0**-exponent, steps)
        if error <= 2 * torch.finfo(dtype).eps:
            return 2.0**-exponent, tuple(chosen)
    raise AssertionError("unreachable")
