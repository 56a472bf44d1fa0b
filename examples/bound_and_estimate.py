"""A bound on the likelihood, a VAE's, against an estimate of it, a GAN's, on data whose entropy is known.

No model's mean log-likelihood of held-out data exceeds that of the data's own density, minus its entropy: what is
missing is KL(data, model). A VAE comes with a lower bound, the ELBO (D. Kingma, M. Welling, 2014), which importance
weighting raises to the likelihood itself as its samples k grow (Y. Burda, R. Grosse, R. Salakhutdinov, "Importance
Weighted Autoencoders", 2016, theorem 1). Of a GAN one has samples; I. Goodfellow et al., 2014, put a Parzen window on
them. That is an estimate of something else, the window's likelihood (L. Theis, A. van den Oord, M. Bethge, "A note on
the evaluation of generative models", 2016), and the further off the more dimensions there are.

Here both models are the same network, a decoder of two latent variables with normal noise, trained once by the ELBO
and once as a GAN's generator; the data are of such a kind, too, in 8 dimensions. So that all three densities are
known, by quadrature over the latent plane.

What to see: on the left the bounds close in from below on the VAE's likelihood, which is a little under minus the
entropy. On the right Parzen windows on samples of the data's own density, of the VAE and of the GAN, each to be
compared with the dotted line of its colour. With 30,000 samples each is still some tenths of a nat below, several
times what the VAE misses: by its window the data's own density would be a worse model than the VAE is by its ELBO.
Estimates by windows compare with each other at most, bounds with likelihoods.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from lecture import LatentVariableModel, parzen_window, save, train_gan

FIGURE = Path(__file__).parent / "figures" / "bound_and_estimate.png"
DIMENSIONS = 8
DRAWS = (1, 2, 5, 10, 30, 100, 300)
SAMPLES = (100, 300, 1000, 3000, 10_000, 30_000)
WIDTHS = torch.logspace(-1.2, 0.3, 12, dtype=torch.float64)


def data_distribution() -> LatentVariableModel:
    """A smooth surface in the space of the data, and normal noise about it: a decoder that nobody trains."""
    truth = LatentVariableModel(DIMENSIONS)
    first, last = nn.Linear(2, 16), nn.Linear(16, DIMENSIONS)
    nn.init.normal_(first.weight)
    nn.init.normal_(last.weight, std=0.5)
    truth.decoder = nn.Sequential(first, nn.Tanh(), last)
    nn.init.constant_(truth.log_scale, math.log(0.3))
    return truth


@torch.no_grad()
def bound(vae: LatentVariableModel, x: Tensor, draws: int) -> Tensor:
    """The importance weighted bound on each log p(x); of one draw, the ELBO."""
    return torch.logsumexp(vae.log_weights(x, draws).double(), 0) - math.log(draws)


def measure(vae_steps: int, gan_steps: int, test_size: int) -> dict[str, Any]:
    """Mean log-likelihoods in nats: exact, bounds on the VAE's, and windows'."""
    truth = data_distribution()
    data, validation, test = truth.sample(20_000), truth.sample(test_size // 2), truth.sample(test_size)
    vae, gan = LatentVariableModel(DIMENSIONS).fit(data, vae_steps), LatentVariableModel(DIMENSIONS)
    train_gan(gan, lambda n: data[torch.randint(len(data), (n,))], gan_steps)
    models = {"data": truth, "VAE": vae, "GAN": gan}
    exact = {name: model.log_density(test) for name, model in models.items()}
    results: dict[str, Any] = {
        "exact": {name: values.mean().item() for name, values in exact.items()},
        "error": {name: values.std().item() / math.sqrt(test_size) for name, values in exact.items()},
        "bounds": [bound(vae, test, k).mean().item() for k in DRAWS],
        "windows": {
            name: [parzen_window(model.sample(n), validation, WIDTHS)(test).mean().item() for n in SAMPLES]
            for name, model in models.items()
        },
    }
    for name, value in results["exact"].items():
        window = results["windows"][name][-1]
        print(f"{name:4} log-likelihood {value:8.3f} ± {results['error'][name]:.3f}  Parzen window {window:8.3f}")
    print("VAE  bounds", *(f"{k}: {value:.3f}" for k, value in zip(DRAWS, results["bounds"], strict=True)))
    return results


def draw(results: dict[str, Any], path: Path) -> None:
    """Save the figure."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    colours = {"data": "black", "VAE": "#d62728", "GAN": "#1f77b4"}
    entropy, exact = results["exact"]["data"], results["exact"]
    left.axhline(entropy, color="black", lw=1, label="minus the data's entropy")
    left.axhline(exact["VAE"], color="#d62728", lw=1, ls=":", label="VAE, exact (quadrature)")
    left.plot(DRAWS, results["bounds"], "o-", ms=4, lw=1, color="#d62728", label="VAE, bound of k draws; k = 1: ELBO")
    left.set(xscale="log", xlabel="draws k", ylabel="held-out log-likelihood, nats", title="bounds")
    for name, values in results["windows"].items():
        right.plot(SAMPLES, values, "o-", ms=4, lw=1, color=colours[name], label=f"{name}, Parzen window")
        right.axhline(exact[name], color=colours[name], lw=1, ls=":", label=f"{name}, exact")
    right.set(xscale="log", xlabel="samples of the model in the window", title="estimates")
    for axis in (left, right):
        axis.legend(fontsize=8)
    save(figure, path)


def main(vae_steps: int = 2500, gan_steps: int = 2000, test_size: int = 1000, figure: Path = FIGURE) -> dict[str, Any]:
    """Measure and draw."""
    torch.manual_seed(0)
    results = measure(vae_steps, gan_steps, test_size)
    draw(results, figure)
    return results


if __name__ == "__main__":
    main()
