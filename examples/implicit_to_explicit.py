"""From implicit to explicit models: a density put on a GAN's samples, and what it costs.

Where a generator has no density that one could compute, a likelihood takes a density model fitted to its samples: a
Parzen window, as in the first GAN's evaluation (I. Goodfellow et al., 2014), or a mixture of Gaussians fitted by EM.
Both are densities in their own right, so that their held-out log-likelihood is at most minus the entropy of the data;
how far below it is, is the generator's error and the density estimate's together. L. Theis, A. van den Oord, M.
Bethge, "A note on the evaluation of generative models", 2016, section 3.2, warn that the second grows with the
dimension until it hides the first.

What to see: above, samples of a GAN trained on the noisy circle, and the window and the mixture on 5,000 of them.
Below on the left, mean log-likelihood of the circle's own points under either, on samples of the GAN and, for
comparison, of the circle itself. Dashed: what they estimate, the circle's own density and the GAN's, whose generator
has two latent variables and adds noise so that quadrature gives it. On the right windows on 5,000 samples of the very
distribution that they are to estimate, a normal one, which no model could better: the nats that are missing grow with
the dimension.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lecture import Circle, LatentVariableModel, LogDensity, parzen_window, save, train_gan

FIGURE = Path(__file__).parent / "figures" / "implicit_to_explicit.png"
SAMPLES = (50, 200, 1000, 5000)
DIMENSIONS = (1, 2, 4, 8, 16, 32, 64)
WIDTHS = torch.logspace(-1.5, 0.2, 16, dtype=torch.float64)


def parzen(samples: Tensor, validation: Tensor) -> LogDensity:
    """A window of the best of ``WIDTHS``."""
    return parzen_window(samples, validation, WIDTHS)


def mixture(samples: Tensor, validation: Tensor) -> LogDensity:
    """A mixture fitted by EM, of as many components, and of as much added variance, as are best for ``validation``."""
    choices = [(k, added) for k in (4, 8, 16) for added in (1e-3, 2e-2)]
    fits = [GaussianMixture(k, reg_covar=added, random_state=0).fit(samples.numpy()) for k, added in choices]
    best = max(fits, key=lambda fit: fit.score(validation.numpy()))
    return lambda x: torch.from_numpy(best.score_samples(x.numpy()))


def gap(dimension: int, samples: int = 5000, test_size: int = 500) -> float:
    """Nats missing under a window on samples of the true distribution, a normal one."""
    window = parzen(torch.randn(samples, dimension), torch.randn(test_size, dimension))
    test = torch.randn(test_size, dimension)
    truth = -0.5 * (test.double().square().sum(1) + dimension * math.log(2 * math.pi))
    return (truth - window(test)).mean().item()


def measure(steps: int, samples: tuple[int, ...], dimensions: tuple[int, ...]) -> dict[Any, Any]:
    """Log-likelihoods on the circle for each number of samples, and the gap for each dimension."""
    circle, generator = Circle(), LatentVariableModel(2)
    train_gan(generator, circle.sample, steps)
    validation, test = circle.sample(1000), circle.sample(4000)
    sources = {"GAN": generator.sample(max(samples)), "circle": circle.sample(max(samples))}
    results: dict[Any, Any] = {"points": sources["GAN"], "samples": samples}
    results["exact"] = {
        "circle": circle.log_density(test).mean().item(),
        "GAN": generator.log_density(test).mean().item(),
    }
    for kind, fit in (("Parzen window", parzen), ("mixture", mixture)):
        for source, points in sources.items():
            densities = [fit(points[:n], validation) for n in samples]
            results[kind, source] = [density(test).mean().item() for density in densities]
            results[kind, source, "density"] = densities[-1]
            print(
                f"{kind:14} on {source:6}",
                *(f"{n}: {v:.3f}" for n, v in zip(samples, results[kind, source], strict=True)),
            )
    results["gap"] = {d: gap(d) for d in dimensions}
    print("exact", results["exact"], "gaps", *(f"d = {d}: {nats:.2f}" for d, nats in results["gap"].items()))
    return results


def draw(results: dict[Any, Any], path: Path) -> None:
    """Save the figure."""
    figure = plt.figure(figsize=(9.5, 7), layout="constrained")
    grid = figure.add_gridspec(2, 6, height_ratios=(1, 1.2))
    axes = [figure.add_subplot(grid[0, 2 * i : 2 * i + 2]) for i in range(3)]
    axes[0].scatter(results["points"][:2000, 0], results["points"][:2000, 1], s=1, alpha=0.5)
    axes[0].set_title("samples of the GAN")
    axis = torch.linspace(-3.5, 3.5, 120)
    points = torch.cartesian_prod(axis, axis)
    for image, kind in zip(axes[1:], ("Parzen window", "mixture"), strict=True):
        density = results[kind, "GAN", "density"](points).exp().reshape(120, 120).T
        image.imshow(density, origin="lower", extent=(-3.5, 3.5) * 2, cmap="magma")
        image.set_title(f"{kind} on them")
    for image in axes:
        image.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), xticks=[], yticks=[], aspect="equal")
    left, right = figure.add_subplot(grid[1, :3]), figure.add_subplot(grid[1, 3:])
    left.axhline(results["exact"]["circle"], color="black", lw=1, ls="--", label="the circle's own density")
    left.axhline(results["exact"]["GAN"], color="#7f7f7f", lw=1, ls="--", label="the GAN's, by quadrature")
    for kind, colour in (("Parzen window", "#1f77b4"), ("mixture", "#d62728")):
        for source, style in (("circle", "s:"), ("GAN", "o-")):
            label = f"{kind} on samples of the {source}"
            left.plot(results["samples"], results[kind, source], style, ms=4, lw=1, color=colour, label=label)
    left.set(xscale="log", xlabel="samples", ylabel="held-out log-likelihood, nats")
    left.legend(fontsize=7, loc="lower right")
    right.plot(list(results["gap"]), list(results["gap"].values()), "o-", ms=4, lw=1, color="#1f77b4")
    right.set_xscale("log", base=2)
    right.set(xlabel="dimension", ylabel="nats below the truth", title="a window on the true distribution's samples")
    save(figure, path)


def main(
    steps: int = 2500,
    samples: tuple[int, ...] = SAMPLES,
    dimensions: tuple[int, ...] = DIMENSIONS,
    figure: Path = FIGURE,
) -> dict[Any, Any]:
    """Measure and draw."""
    torch.manual_seed(0)
    results = measure(steps, samples, dimensions)
    draw(results, figure)
    return results


if __name__ == "__main__":
    main()
