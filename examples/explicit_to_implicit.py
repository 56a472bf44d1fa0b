"""From explicit to implicit models: whatever can be sampled can be treated as a GAN's generator.

An explicit model has a density, an implicit one only a sampler (S. Mohamed, B. Lakshminarayanan, "Learning in Implicit
Generative Models", 2016). The way from the first to the second is always open: draw from the mixture's components, or
from the VAE's prior and then its decoder, and forget the density. What is left is what a discriminator needs to
compare the model with the data, by samples alone: its loss at the optimum is 2 log 2 - 2 JS (I. Goodfellow et al.,
2014).

What to see: mixtures of Gaussians with ever more components, fitted by EM to points on a noisy circle, and a VAE with
two latent variables (D. Kingma, M. Welling, "Auto-Encoding Variational Bayes", 2014), all reduced to samples. Below,
how far each is from the data in Jensen-Shannon divergence: as a discriminator estimates it that sees samples only, and
by quadrature of the densities, which here are known: the circle's and the mixtures' in closed form, and the VAE's by
integration over its latent plane. A discriminator's estimate is a bound, which training closes: here it stays at most
some thousandths of a nat below, too much to tell 8 components from 16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lecture import (
    Circle,
    LatentVariableModel,
    Sampler,
    jensen_shannon_of_densities,
    jensen_shannon_of_samples,
    save,
    train_discriminator,
)

FIGURE = Path(__file__).parent / "figures" / "explicit_to_implicit.png"
COMPONENTS = (1, 2, 4, 8, 16)
#: Points of a grid over the plane, and the area of a cell.
GRID = torch.cartesian_prod(*[torch.linspace(-5, 5, 101)] * 2)
CELL = 0.1**2


def mixture(data: Tensor, components: int) -> tuple[Sampler, Tensor]:
    """A mixture fitted by EM: its sampler, and its log density on the grid."""
    fitted = GaussianMixture(components, n_init=2, random_state=0).fit(data.numpy())
    weights, means = torch.from_numpy(fitted.weights_).float(), torch.from_numpy(fitted.means_).float()
    factors = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_).float())

    def sample(n: int) -> Tensor:
        chosen = torch.multinomial(weights, n, replacement=True)
        return means[chosen] + (factors[chosen] @ torch.randn(n, 2, 1))[..., 0]

    return sample, torch.from_numpy(fitted.score_samples(GRID.numpy()))


def measure(steps: int, vae_steps: int, components: tuple[int, ...]) -> list[dict[str, Any]]:
    """For each model its samples, and its divergence from the circle by either way."""
    circle = Circle()
    data = circle.sample(5000)
    models = {f"{k} Gaussian{'s' * (k > 1)}": mixture(data, k) for k in components}
    vae = LatentVariableModel(2).fit(data, vae_steps)
    models["VAE"] = vae.sample, vae.log_density(GRID)
    results = []
    for name, (sampler, log_density) in models.items():
        exact = jensen_shannon_of_densities(circle.log_density(GRID), log_density, CELL)
        discriminator = train_discriminator(circle.sample, sampler, steps, 3e-3)
        found, error = jensen_shannon_of_samples(discriminator, circle.sample(50_000), sampler(50_000))
        print(f"{name:12} JS by densities {exact:.4f}  by samples {found:.4f} ± {error:.4f}")
        results.append({"name": name, "samples": sampler(2000), "exact": exact, "estimate": found, "error": error})
    return results


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Save the figure."""
    figure = plt.figure(figsize=(2.1 * len(results), 5.2), layout="constrained")
    grid = figure.add_gridspec(2, len(results), height_ratios=(2, 2.4))
    for column, result in enumerate(results):
        axis = figure.add_subplot(grid[0, column])
        axis.scatter(result["samples"][:, 0], result["samples"][:, 1], s=1, alpha=0.4, color="#1f77b4", rasterized=True)
        axis.set(title=result["name"], xlim=(-4, 4), ylim=(-4, 4), xticks=[], yticks=[], aspect="equal")
    axis = figure.add_subplot(grid[1, :])
    places = range(len(results))
    axis.bar(places, [r["exact"] for r in results], 0.5, color="#c7c7c7", label="quadrature of the densities")
    estimates, errors = [r["estimate"] for r in results], [2 * r["error"] for r in results]
    axis.errorbar(places, estimates, errors, fmt="o", color="#d62728", label="discriminator, samples alone, ± 2 s.e.")
    axis.set_xticks(places, [r["name"] for r in results])
    axis.set_xlim(-0.5, len(results) - 0.5)
    axis.set_ylabel("JS divergence from the data")
    axis.legend()
    save(figure, path)


def main(
    steps: int = 1500, vae_steps: int = 3000, components: tuple[int, ...] = COMPONENTS, figure: Path = FIGURE
) -> list[dict[str, Any]]:
    """Measure and draw."""
    torch.manual_seed(0)
    results = measure(steps, vae_steps, components)
    draw(results, figure)
    return results


if __name__ == "__main__":
    main()
