"""The Inception score."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastgan import functional

from .base import FeatureMetric
from .order import shuffled

__all__ = ["InceptionScore"]


class InceptionScore(FeatureMetric):
    r"""How sure a classifier is of each image, and how diverse its answers are, by splits of the images.

    Takes the place of ``torchmetrics.image.inception.InceptionScore``.

    Parameters
    ----------
    feature : str, int, nn.Module or None, default: "logits_unbiased"
        A network that ``fastgan.features.get`` knows and that tells classes apart, a module of one's own that returns
        logits [N, C], or None where ``update`` takes logits. Inception's weights must be here: no other network is put
        in its place.
    splits : int, default: 10
        Parts of the images that are scored each by themselves.
    normalize : bool, default: False
        Whether images are in [0, 1] and are rounded down to 256 steps, as in torchmetrics.
    seed : int, default: 0
        Of the splits, which depend on it and on the logits, not on their order.
    feature_extractor_weights_path : str, optional
        A file with Inception's weights.
    antialias : bool, default: True
        How images are brought to Inception's size, as in torchmetrics.
    kwargs : Any
        Of ``torchmetrics.Metric``.

    Notes
    -----
    ``compute`` returns the mean and the standard deviation over the splits (divided by one less than their number, as
    torchmetrics does; zero for one split), two float64 scalars. Logits are kept.

    The score rises with the number of images, and says nothing of real ones. T. Salimans et al., "Improved Techniques
    for Training GANs", NeurIPS 2016; S. Barratt, R. Sharma, "A Note on the Inception Score", 2018.
    """

    higher_is_better = True

    def __init__(
        self,
        feature: str | int | nn.Module | None = "logits_unbiased",
        splits: int = 10,
        normalize: bool = False,
        *,
        seed: int = 0,
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
        **kwargs: Any,
    ) -> None:
        if isinstance(splits, bool) or not isinstance(splits, int) or splits < 1:
            raise ValueError(f"InceptionScore: splits must be an integer of at least 1, got {splits!r}")
        super().__init__(feature, normalize, feature_extractor_weights_path, antialias, **kwargs)
        self.splits, self.seed = splits, seed
        self._add_store("logits")

    def update(self, imgs: Tensor) -> None:
        """Take a batch of images, or of logits [N, C] where ``feature`` is None.

        Raises
        ------
        TypeError
            For images that are no tensor, or logits that are not floating point.
        ValueError
            For logits of another shape or number than before, or that are not finite.
        NotImplementedError
            If the network has no classes.
        """
        self._take("logits", self._extract("imgs", imgs))

    def _apply_network(self, images: Tensor) -> Tensor:
        features = super()._apply_network(images)
        logits = getattr(self.network, "logits", None)  # a module of one's own returns them itself
        return logits(features) if logits is not None else features

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over the splits.

        Raises
        ------
        ValueError
            If there are fewer images than splits.
        """
        logits = self._stored("logits")
        if len(logits) < self.splits:
            raise ValueError(
                f"InceptionScore: splits must be at most the number of images, {len(logits)}, got {self.splits}"
            )
        order = shuffled(logits, torch.Generator().manual_seed(self.seed))
        scores = torch.stack([functional.inception_score(logits[part]) for part in order.tensor_split(self.splits)])
        return scores.mean(), scores.std() if self.splits > 1 else torch.zeros_like(scores[0])
