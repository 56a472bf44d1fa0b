"""The Parzen window estimate of a generator's log-likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastgan import functional

from .base import FeatureMetric

__all__ = ["ParzenLogLikelihood"]


class ParzenLogLikelihood(FeatureMetric):
    r"""Mean log-likelihood of real samples under a mixture of Gaussians that sit on generated ones.

    Parameters
    ----------
    sigma : float or sequence of float, optional
        Standard deviation of the Gaussians, in the samples' units. Of several, the one is taken under which validation
        samples are likeliest. Default: ten from 0.1 to 1, evenly spaced in the logarithm.
    feature : str, int, nn.Module or None, default: None
        A network whose features are taken for the samples; None, as published, takes the samples themselves: [N, d],
        images flattened.
    kwargs : Any
        Of ``torchmetrics.Metric``.

    Notes
    -----
    ``compute`` returns the mean in nats and its standard error, two float64 scalars; the width that was taken is then
    ``sigma_chosen``. See ``fastgan.functional.parzen_log_likelihood`` for how little it says in many dimensions. It is
    here to compare with what was published, with the same number of samples.

    I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 5.
    """

    higher_is_better = True

    def __init__(
        self,
        sigma: float | Sequence[float] | None = None,
        feature: str | int | nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature, False, **kwargs)
        if sigma is None:
            widths = torch.logspace(-1, 0, 10, dtype=torch.float64)
        else:
            widths = torch.as_tensor(sigma, dtype=torch.float64)
        if widths.dim() > 1 or widths.numel() == 0 or not (torch.isfinite(widths) & (widths > 0)).all():
            raise ValueError(f"ParzenLogLikelihood: sigma must be positive, one number or several, got {sigma}")
        self.sigma = widths.reshape(-1)
        self.sigma_chosen: float | None = None
        for name in ("fake_features", "real_features", "validation_features"):
            self._add_store(name)

    def update(self, imgs: Tensor, real: bool, validation: bool = False) -> None:
        """Take a batch.

        Parameters
        ----------
        imgs : Tensor
            Samples [N, d], or images where there is a network.
        real : bool
            Whether they are real: their likelihood is asked for. Fake ones make the mixture.
        validation : bool, default: False
            Whether real samples only choose sigma.

        Raises
        ------
        TypeError
            For samples that are not floating point, or flags that are no bool.
        ValueError
            For samples of another shape or size than before, not finite, or fake ones for validation.
        """
        for argument, given in (("real", real), ("validation", validation)):
            if not isinstance(given, bool):
                raise TypeError(f"ParzenLogLikelihood: {argument} must be a bool, got {type(given).__name__}")
        if validation and not real:
            raise ValueError("ParzenLogLikelihood: samples for validation must be real, got real=False")
        name = "validation_features" if validation else "real_features" if real else "fake_features"
        self._take(name, self._extract("imgs", imgs))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean log-likelihood of the real samples, and its standard error.

        Raises
        ------
        ValueError
            If samples are missing: fake ones, two real ones, or any for validation where sigma is to be chosen.
        """
        fake, real = self._stored("fake_features"), self._stored("real_features")
        if len(real) < 2:
            raise ValueError(f"ParzenLogLikelihood: real samples must be two at least, got {len(real)}")
        if len(self.sigma) == 1:
            chosen = self.sigma[0]
        else:
            held_out = self._stored("validation_features")
            chosen = self.sigma[functional.parzen_log_likelihood(held_out, fake, self.sigma).mean(1).argmax().cpu()]
        self.sigma_chosen = float(chosen)
        values = functional.parzen_log_likelihood(real, fake, self.sigma_chosen)
        return values.mean(), values.std() / len(values) ** 0.5
