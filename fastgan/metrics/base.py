"""What the metrics share: the network that makes features, and states that processes and checkpoints carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from . import moments

__all__ = ["FeatureMetric"]

#: Makes a state of no samples, of a given number of features.
_Empty = Callable[[int], Tensor]


class FeatureMetric(torchmetrics.Metric):
    """A metric of images by way of their features, or of features themselves.

    Parameters
    ----------
    feature : str, int, nn.Module or None
        A name or number that ``fastgan.features.get`` knows, a network of one's own that makes [N, d] of images, or
        None where ``update`` takes features.
    normalize : bool
        Whether images are in [0, 1], as torchmetrics means it: a named network is given them in 256 steps, a network
        of one's own as they come.
    kwargs : Any
        ``torchmetrics.Metric``'s, and ``features.get``'s in ``network_options``.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self,
        feature: str | int | nn.Module | None,
        normalize: bool,
        network_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(normalize, bool):
            raise TypeError(f"{self._name}: normalize must be a bool, got {type(normalize).__name__}")
        if isinstance(feature, bool) or not (feature is None or isinstance(feature, (str, int, nn.Module))):
            raise TypeError(
                f"{self._name}: feature must be a name, an integer, an nn.Module or None, got {type(feature).__name__}"
            )
        self._quantize = normalize and isinstance(feature, (str, int))
        if isinstance(feature, (str, int)):
            from fastgan import features

            feature = features.get(feature, **(network_options or {}))
        self.network = feature.eval() if feature is not None else None
        #: What the features are, which every figure should be printed with.
        self.title: str = "given features" if feature is None else getattr(feature, "title", type(feature).__name__)
        self._empty: dict[str, _Empty] = {}
        self._keep_real = False

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        """Name of the metric, and of the features."""
        return f"{self._name}({self.title})"

    def train(self, mode: bool = True) -> FeatureMetric:
        """Set the metric's mode; the network stays in evaluation mode, so that features do not depend on the batch."""
        super().train(mode)
        if self.network is not None:
            self.network.eval()
        return self

    def set_dtype(self, dst_type: str | torch.dtype) -> FeatureMetric:
        """Nothing: sums are float64 in any case, features what the network gives."""
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: one batch is one set of images, and has no distance of its own.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(f"{self._name}: call update for each batch and compute at the end")

    def reset(self) -> None:
        """Forget what was seen; with ``reset_real_features=False``, only what was fake."""
        kept = {name: self._defaults.pop(name) for name in list(self._defaults) if self._keep_real and "real" in name}
        super().reset()
        self._defaults.update(kept)

    # States

    def _add_moments(self, name: str) -> None:
        """A state of mean and scatter; of width 0 until there are features."""
        self.add_state(name, moments.empty(0), dist_reduce_fx=moments.merge, persistent=True)
        self._empty[name] = lambda d: moments.empty(d, self.device)

    def _add_store(self, name: str, dtype: torch.dtype = torch.float32) -> None:
        """A state that keeps features [N, d], or one integer a sample."""
        self.add_state(name, [], dist_reduce_fx="cat", persistent=True)
        size = (0,) if dtype == torch.long else (0, -1)
        self._empty[name] = lambda d: torch.zeros([d if s < 0 else s for s in size], dtype=dtype, device=self.device)

    def _stored(self, name: str) -> Tensor:
        """What a state keeps, in one tensor."""
        parts = getattr(self, name)
        if isinstance(parts, Tensor):  # after a synchronisation
            return parts
        if not parts:
            raise ValueError(f"{self._name}: there are no {name.replace('_', ' ')}; call update first")
        if len(parts) > 1:
            setattr(self, name, [torch.cat(parts)])
        return getattr(self, name)[0]

    def _width(self) -> int:
        """Features of a sample, 0 where none was seen."""
        for name, empty in self._empty.items():
            state = getattr(self, name)
            if empty(1).dim() == 2 and len(state):
                width = state.shape[-1] if isinstance(state, Tensor) else state[0].shape[-1]
                if width:
                    return width
        return 0

    def _fill_empty(self, width: int) -> None:
        for name, empty in self._empty.items():
            state = getattr(self, name)
            if isinstance(state, list) and not state:
                setattr(self, name, [empty(width)])
            elif isinstance(state, Tensor) and 0 in state.shape:
                setattr(self, name, empty(width))

    def _sync_dist(self, dist_sync_fn: Callable = gather_all_tensors, process_group: Any = None) -> None:
        # A process may have seen nothing, and must still bring tensors of the others' shape.
        own = torch.tensor([self._width()], device=self.device)
        widths = {int(width) for width in dist_sync_fn(own, group=process_group or self.process_group)} - {0}
        if len(widths) > 1:
            raise ValueError(f"{self._name}: features must be as many in all processes, got {sorted(widths)}")
        self._fill_empty(widths.pop() if widths else 0)
        super()._sync_dist(dist_sync_fn, process_group)

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        other = type(self).__new__(type(self))
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        seen = any(prefix + name in state_dict for name in self._defaults)
        super()._load_from_state_dict(state_dict, prefix, *args)
        if seen:
            # States are added to in place, which must not reach the caller's.
            for name in self._defaults:
                state = getattr(self, name)
                setattr(self, name, state.clone() if isinstance(state, Tensor) else [part.clone() for part in state])
            self._computed, self._update_count = None, max(1, self._update_count)

    # Features

    def _extract(self, argument: str, images: Tensor) -> Tensor:
        """Features [N, d] of images, or the features given; finite, and as many as before."""
        if not isinstance(images, Tensor):
            raise TypeError(f"{self._name}: {argument} must be a Tensor, got {type(images).__name__}")
        if self.network is None:
            x = images
        else:
            if self._quantize:
                images = (images * 255).byte()
            with torch.no_grad():
                x = self.network(images)
        if not x.is_floating_point():
            raise TypeError(f"{self._name}: features must be floating point, got {x.dtype}")
        width = self._width()
        if x.dim() != 2 or (width and x.shape[1] != width):
            raise ValueError(f"{self._name}: features must be [N, {width or 'd'}], got {list(x.shape)}")
        if not torch.isfinite(x).all():
            raise ValueError(f"{self._name}: features must be finite, got NaN or infinite values")
        return x.detach()
