"""Scores of images by what a classifier says of them."""

from __future__ import annotations

import math

from torch import Tensor

from .distances import check_features

__all__ = ["inception_score"]


def inception_score(logits: Tensor) -> Tensor:
    r"""Exponential of the mutual information between an image and its label, ``exp E KL(p(y|x) ‖ p(y))``.

    Parameters
    ----------
    logits : Tensor
        [N, C], what the classifier gives before the softmax; float32, float64, float16 or bfloat16.

    Returns
    -------
    Tensor
        A float64 scalar from 1 to C, computed in float64; differentiable.

    Raises
    ------
    TypeError
        For logits that are not floating point.
    ValueError
        For another shape, or values that are not finite.

    Notes
    -----
    T. Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016.
    """
    check_features("inception_score", logits=logits)
    log_p = logits.double().log_softmax(1)
    # By logarithms: a class that no image has counts nothing, where the logarithm of its probability would be infinite.
    log_marginal = log_p.logsumexp(0) - math.log(len(logits))
    conditional, marginal = ((t.exp() * t).sum(-1) for t in (log_p, log_marginal))
    return (conditional.mean() - marginal).exp()
