"""Penalties on a discriminator's input gradient: where they look, and what they ask of the gradient there.

A penalty is an object that is called with gradients ``[N, ...]``, one for each sample, and returns a scalar.
:class:`fastgan.nn.PenalizedDiscriminator` and :func:`fastgan.functional.gradient_penalty` find the gradients;
:func:`get` makes a penalty by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastgan.functional.penalties import gradient_norm_penalty
from fastgan.ops import checks

__all__ = [
    "DRAGAN",
    "PENALTIES",
    "POINTS",
    "R1",
    "R2",
    "WGANGP",
    "WGANLP",
    "ApproximateR1",
    "Penalty",
    "ZeroCentered",
    "get",
    "interpolate",
    "per_sample_norm",
    "perturb",
]

#: Where a penalty may look.
POINTS = ("real", "fake", "interpolated", "perturbed")


def per_sample_norm(gradients: Tensor) -> Tensor:
    """The 2-norm of each sample, ``[N]``; in float32 for half types. Its gradient at zero is zero."""
    wide = gradients.float() if gradients.dtype in (torch.float16, torch.bfloat16) else gradients
    return torch.linalg.vector_norm(wide.flatten(1), dim=1)


def interpolate(real: Tensor, fake: Tensor) -> Tensor:
    """A point on the line between each real and its fake sample, uniformly distributed."""
    epsilon = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    return torch.lerp(fake, real, epsilon)


def perturb(real: Tensor) -> Tensor:
    """DRAGAN's neighbourhood: half the batch's standard deviation times uniform noise, added."""
    return real + 0.5 * real.detach().std(correction=0) * torch.rand_like(real)


class Penalty:
    """What the penalties have in common.

    Parameters
    ----------
    points : str
        Where the gradient is taken: at the real or the fake samples, at points interpolated between them, or at
        perturbed real ones.
    every : int, default 1
        Lazy regularisation: the penalty is computed at every so many calls only, beginning with the first, and counts
        so many times as much.
    norm : callable, optional
        From gradients ``[N, ...]`` to ``[N]``. Default: the 2-norm over all of a sample.
    perturbation : callable, optional
        From real samples to perturbed ones. Default: :func:`perturb`.

    References
    ----------
    Lazy regularisation: T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.
    """

    def __init__(
        self,
        points: str,
        *,
        every: int = 1,
        norm: Callable[[Tensor], Tensor] = per_sample_norm,
        perturbation: Callable[[Tensor], Tensor] = perturb,
    ) -> None:
        name = type(self).__name__
        checks.check_choice(name, "points", points, POINTS)
        if isinstance(every, bool) or not isinstance(every, int):
            raise TypeError(f"{name}: every must be an integer, got {type(every).__name__}")
        if every < 1:
            raise ValueError(f"{name}: every must be at least 1, got {every}")
        self.points, self.every, self.norm, self.perturbation = points, every, norm, perturbation

    @property
    def needs_fake(self) -> bool:
        """Whether the points are made of fake samples."""
        return self.points in ("fake", "interpolated")

    def place(self, real: Tensor, fake: Tensor | None) -> Tensor:
        """The points at which the gradient is to be taken."""
        name = type(self).__name__
        if self.points == "real":
            return real
        if self.points == "perturbed":
            return self.perturbation(real)
        if fake is None:
            raise ValueError(f"{name}: fake must be given for points='{self.points}', got None")
        if self.points == "fake":
            return fake
        if fake.shape != real.shape:
            raise ValueError(f"{name}: fake must be {list(real.shape)} like the real samples, got {list(fake.shape)}")
        return interpolate(real, fake)

    def __call__(self, gradients: Tensor) -> Tensor:
        """The penalty, a scalar, for gradients ``[N, ...]``."""
        return self.every * self.of_norms(self.norm(gradients)).mean()

    def of_norms(self, norms: Tensor) -> Tensor:
        """Each sample's penalty for the norm of its gradient."""
        raise NotImplementedError(f"{type(self).__name__}: of_norms must be defined")

    def __repr__(self) -> str:
        shown = [f"{name}={value}" for name, value in vars(self).items() if isinstance(value, (int, float))]
        return f"{type(self).__name__}({', '.join(shown)}) at {self.points} points"


class _SquaredDistance(Penalty):
    """A multiple of the squared distance of norms from a center: with the 2-norm, one reduction."""

    _one_sided = False

    @property
    def _factor(self) -> float:
        raise NotImplementedError

    @property
    def _center(self) -> float | None:
        return None

    def of_norms(self, norms: Tensor) -> Tensor:
        """A multiple of the square of the norm's distance from the center."""
        distance = norms if self._center is None else norms - self._center
        return self._factor * (distance.clamp_min(0) if self._one_sided else distance).square()

    def __call__(self, gradients: Tensor) -> Tensor:
        """The penalty, a scalar, for gradients ``[N, ...]``."""
        overridden = type(self).of_norms is not _SquaredDistance.of_norms
        if overridden or self.norm is not per_sample_norm or len(gradients) == 0:
            return super().__call__(gradients)
        weight = self.every * self._factor / len(gradients)
        return gradient_norm_penalty(gradients, weight=weight, center=self._center, one_sided=self._one_sided)


class ZeroCentered(_SquaredDistance):
    r"""Zero-centred penalty: the mean of :math:`\lambda\|\nabla D\|^2`.

    Parameters
    ----------
    weight : float, default 10
        λ.
    points : str, default "interpolated"
    **options
        As for :class:`Penalty`.

    References
    ----------
    H. Thanh-Tung, T. Tran, S. Venkatesh, "Improving Generalization and Stability of Generative Adversarial Networks",
    ICLR 2019.
    """

    def __init__(self, weight: float = 10.0, points: str = "interpolated", **options: Any) -> None:
        super().__init__(points, **options)
        self.weight = _number(self, "weight", weight)

    @property
    def _factor(self) -> float:
        return self.weight


class R1(_SquaredDistance):
    r"""The mean of :math:`\tfrac{\gamma}{2}\|\nabla D\|^2` over the real samples.

    Parameters
    ----------
    gamma : float, default 10
    **options
        As for :class:`Penalty`.

    References
    ----------
    L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9.
    """

    _points = "real"

    def __init__(self, gamma: float = 10.0, **options: Any) -> None:
        super().__init__(self._points, **options)
        self.gamma = _number(self, "gamma", gamma)

    @property
    def _factor(self) -> float:
        return self.gamma / 2


class R2(R1):
    """:class:`R1` over the fake samples."""

    _points = "fake"


class WGANGP(_SquaredDistance):
    r"""The mean of :math:`\lambda(\|\nabla D\| - c)^2` over interpolated points.

    Parameters
    ----------
    weight : float, default 10
        λ.
    center : float, default 1
        c.
    points : str, default "interpolated"
    **options
        As for :class:`Penalty`.

    References
    ----------
    I. Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, equation 3.
    """

    def __init__(self, weight: float = 10.0, center: float = 1.0, points: str = "interpolated", **options: Any) -> None:
        super().__init__(points, **options)
        self.weight, self.center = _number(self, "weight", weight), _number(self, "center", center)
        if not self.center >= 0:
            raise ValueError(f"{type(self).__name__}: center must be at least 0, got {center}")

    @property
    def _factor(self) -> float:
        return self.weight

    @property
    def _center(self) -> float:
        return self.center


class WGANLP(WGANGP):
    r"""The one-sided :class:`WGANGP`: the mean of :math:`\lambda\max(0, \|\nabla D\| - c)^2`.

    References
    ----------
    H. Petzka, A. Fischer, D. Lukovnikov, "On the regularization of Wasserstein GANs", ICLR 2018, equation 8.
    """

    _one_sided = True


class DRAGAN(WGANGP):
    r"""The penalty of :class:`WGANGP` at perturbed real samples.

    Parameters
    ----------
    weight : float, default 10
    center : float, default 1
    **options
        As for :class:`Penalty`: `perturbation` says what a perturbed sample is, by default :func:`perturb`, as in the
        authors' implementation.

    References
    ----------
    N. Kodali et al., "On Convergence and Stability of GANs", 2017.
    """

    def __init__(self, weight: float = 10.0, center: float = 1.0, **options: Any) -> None:
        super().__init__(weight, center, "perturbed", **options)


class ApproximateR1(R1):
    r"""R1 by a finite difference along noise: inexact, and without a derivative of a derivative.

    The mean of :math:`\tfrac{\gamma}{2}(D(x + \sigma\epsilon) - D(x))^2 / \sigma^2` with normal ε, whose expectation is
    that of R1 as σ goes to zero. For each batch it costs a second forward and backward instead of a penalty.

    Parameters
    ----------
    gamma : float, default 10
        As for R1. The paper's weight λ is γ / 2σ².
    sigma : float, default 0.01
    every : int, default 1
        As for :class:`Penalty`.

    References
    ----------
    S. Lin et al., "Diffusion Adversarial Post-Training for One-Step Video Generation", 2025, equation 6.
    """

    def __init__(self, gamma: float = 10.0, sigma: float = 0.01, *, every: int = 1) -> None:
        super().__init__(gamma, every=every)
        self.sigma = _number(self, "sigma", sigma)
        if not self.sigma > 0:
            raise ValueError(f"ApproximateR1: sigma must be positive, got {sigma}")

    def neighbours(self, real: Tensor) -> Tensor:
        """The points to compare with."""
        return real + self.sigma * torch.randn_like(real)

    def of_outputs(self, outputs: Tensor, neighbours: Tensor) -> Tensor:
        """The penalty for outputs at the samples and at their neighbours; of several a sample, their sums."""
        difference = (neighbours - outputs).flatten(1).sum(1) if outputs.dim() > 1 else neighbours - outputs
        return self.every * self.of_norms(difference / self.sigma).mean()


#: Every penalty by name; each takes its weight first.
PENALTIES: dict[str, Callable[[float], Penalty]] = {
    "r1": R1,
    "r2": R2,
    "zero_centered": ZeroCentered,
    "wgan_gp": WGANGP,
    "wgan_lp": WGANLP,
    "dragan": DRAGAN,
    "approximate_r1": ApproximateR1,
}


def get(name: str, weight: float = 10.0) -> Penalty:
    """The penalty called `name`.

    Parameters
    ----------
    name : str
        r1, r2, zero_centered, wgan_gp, wgan_lp, dragan or approximate_r1.
    weight : float, default 10
        Its γ or λ; everything else has its default.

    Returns
    -------
    Penalty

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in PENALTIES:
        raise ValueError(f"penalties.get: name must be one of {', '.join(PENALTIES)}, got {name!r}")
    return PENALTIES[name](weight)


def _number(penalty: Penalty, argument: str, given: float) -> float:
    checks.check_number(type(penalty).__name__, argument, given)
    return float(given)
