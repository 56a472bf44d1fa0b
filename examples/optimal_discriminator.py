"""The optimal discriminator, and the divergence that it estimates.

For a convex f with f(1) = 0 and its conjugate f*, every function T of the samples bounds the f-divergence from below,

    D_f(p, q) = sum q f(p / q)  >=  E_p T - E_q f*(T),

and the bound is attained by T = f'(p / q) alone (X. Nguyen, M. Wainwright, M. Jordan, "Estimating divergence
functionals and the likelihood ratio by convex risk minimization", 2010). A discriminator trained to raise the
right-hand side is therefore a measuring device: its objective estimates the divergence, and its output the ratio of
the densities (S. Nowozin, B. Cseke, R. Tomioka, "f-GAN", 2016; the first GAN is the case of Jensen and Shannon's
divergence).

What to see: p = N(m, 0.9²), q = N(0, 1). Above, the bound that trained discriminators reach on fresh samples, for five
divergences and several m, on the closed forms (of Jensen-Shannon's there is none: quadrature). Below, for m = 1, what
the discriminator has learnt on the optimum f'(p / q), over the middle 99.9 % of both distributions; it strays where
samples are rare. KL(q, p) asks for the mean of q / p over p, which a few rare samples decide: its error bars are the
widest, and for m well above 1 the estimate fails.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from fastgan.losses import DIVERGENCES, get
from lecture import jensen_shannon_of_densities, mlp, optimizer_with_decay, save

FIGURE = Path(__file__).parent / "figures" / "optimal_discriminator.png"
SCALE = 0.9  # of p; q is the standard normal distribution
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHOWN = 1.0  # the m whose discriminators are drawn
TAILS = torch.tensor([5e-4, 0.9995])  # beyond, there is hardly a sample to learn from
#: Divergence: (its name, f').
FAMILY: dict[str, tuple[str, Any]] = {
    "kl": ("KL(p, q)", lambda u: 1 + u.log()),
    "reverse_kl": ("KL(q, p)", lambda u: -1 / u),
    "jensen_shannon": ("2 JS(p, q)", lambda u: (2 * u / (1 + u)).log()),
    "pearson_chi2": ("Pearson χ²(p, q)", lambda u: 2 * (u - 1)),
    "squared_hellinger": ("squared Hellinger(p, q)", lambda u: 1 - u.rsqrt()),
}


def distributions(shift: float) -> tuple[Normal, Normal]:
    """The distributions p and q."""
    return Normal(shift, SCALE), Normal(0.0, 1.0)


def exact(name: str, shift: float) -> float:
    """The divergence between the Gaussians."""
    p, q = distributions(shift)
    variance = SCALE**2
    if name == "kl":
        return torch.distributions.kl_divergence(p, q).item()
    if name == "reverse_kl":
        return torch.distributions.kl_divergence(q, p).item()
    if name == "pearson_chi2":
        return math.exp(shift**2 / (2 - variance)) / (SCALE * math.sqrt(2 - variance)) - 1
    if name == "squared_hellinger":
        return 2 - 2 * math.sqrt(2 * SCALE / (1 + variance)) * math.exp(-(shift**2) / (4 * (1 + variance)))
    x = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    return 2 * jensen_shannon_of_densities(p.log_prob(x), q.log_prob(x), (x[1] - x[0]).item())


def train(name: str, shift: float, steps: int, batch: int = 512) -> nn.Module:
    """A discriminator that has raised the bound for ``steps`` steps, on fresh samples each."""
    p, q = distributions(shift)
    discriminator, loss = mlp(1, 1, width=32), get(name).discriminator
    optimizer, schedule = optimizer_with_decay(discriminator, 5e-3, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(discriminator(p.sample((batch, 1))), discriminator(q.sample((batch, 1)))).backward()
        nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)  # some conjugates are exponentials
        optimizer.step()
        schedule.step()
    return discriminator


@torch.no_grad()
def estimate(name: str, shift: float, discriminator: nn.Module, samples: int = 200_000) -> tuple[float, float]:
    """The bound on fresh samples, and its standard error."""
    (p, q), f = distributions(shift), DIVERGENCES[name]
    real = f.activation(discriminator(p.sample((samples, 1)))).double()
    fake = f.activated_conjugate(discriminator(q.sample((samples, 1)))).double()
    error = math.sqrt((real.var() + fake.var()).item() / samples)
    return (real.mean() - fake.mean()).item(), error


def measure(steps: int, names: tuple[str, ...] = tuple(FAMILY), shifts: tuple[float, ...] = SHIFTS) -> dict[str, Any]:
    """For each divergence: (m, exact, estimate, its standard error) for each m, and the discriminator of ``SHOWN``."""
    results: dict[str, Any] = {}
    for name in names:
        critics = {shift: train(name, shift, steps) for shift in shifts}
        rows = [(m, exact(name, m), *estimate(name, m, critic)) for m, critic in critics.items()]
        results[name] = rows, critics[SHOWN]
        for m, true, found, error in rows:
            print(f"{name:18} m = {m:.2f}  exact {true:.4f}  trained {found:.4f} ± {error:.4f}")
    return results


@torch.no_grad()
def draw(results: dict[str, Any], path: Path) -> None:
    """Save the figure."""
    figure, axes = plt.subplots(2, len(results), figsize=(3 * len(results), 5.6), squeeze=False, layout="constrained")
    line = torch.linspace(0, 1.05, 43).tolist()
    x = torch.linspace(-4, 4.5, 400)
    p, q = distributions(SHOWN)
    ratio = (p.log_prob(x) - q.log_prob(x)).exp()
    for (name, (rows, critic)), (above, below) in zip(results.items(), axes.T, strict=True):
        title, derivative = FAMILY[name]
        above.plot(line, [exact(name, m) for m in line], color="black", lw=1, label="exact")
        shifts, _, found, errors = zip(*rows, strict=True)
        above.errorbar(shifts, found, [2 * e for e in errors], fmt="o", color="#d62728", label="trained, ± 2 s.e.")
        above.set(title=title, xlabel="m")
        optimum: Tensor = derivative(ratio)
        ends = torch.stack([p.icdf(TAILS), q.icdf(TAILS)])
        covered = (x > ends.min()) & (x < ends.max())
        below.plot(x[covered], optimum[covered], color="black", lw=1, label="f'(p / q)")
        learnt = DIVERGENCES[name].activation(critic(x[:, None])[:, 0])
        below.plot(x[covered], learnt[covered], "--", color="#d62728", lw=1.8, label="trained")
        low, high = optimum[(x > -2) & (x < 3)].min(), optimum[(x > -2) & (x < 3)].max()
        below.set(xlabel="x", ylim=(low - 0.15 * (high - low), high + 0.15 * (high - low)))
        ground = below.twinx()
        for density, colour, label in ((p, "#1f77b4", "p"), (q, "#7f7f7f", "q")):
            ground.fill_between(x, density.log_prob(x).exp(), color=colour, alpha=0.2, lw=0, label=label)
        ground.set(ylim=(0, 1.2), yticks=[])
    axes[0, 0].legend(fontsize=8)
    axes[1, 0].legend(fontsize=8, loc="upper left")
    ground.legend(fontsize=8, loc="center right")
    save(figure, path)


def main(steps: int = 1000, figure: Path = FIGURE) -> dict[str, Any]:
    """Measure and draw."""
    torch.manual_seed(0)
    results = measure(steps)
    draw(results, figure)
    return results


if __name__ == "__main__":
    main()
