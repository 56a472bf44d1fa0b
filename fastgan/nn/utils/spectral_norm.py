"""Spectral normalisation as a parametrisation: the drop-in for ``torch.nn.utils.parametrizations.spectral_norm``."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fastgan import functional
from fastgan.ops import checks
from fastgan.ops.spectral_norm import matrix

__all__ = ["SpectralNorm", "spectral_norm"]

ModuleType = TypeVar("ModuleType", bound=nn.Module)

#: As many as in torch: the first estimate of u and v.
INITIAL_ITERATIONS = 15


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value; what :func:`spectral_norm` registers on a module.

    Parameters
    ----------
    weight : Tensor
        The weight to start from. It is not kept.
    n_power_iterations, dim, eps, v_first, n_vectors, exact
        As for :func:`spectral_norm`.

    Attributes
    ----------
    prepared : tuple of Tensor or None
        What :meth:`normalize` returned for the model's current forward, where the weights of the whole model are
        normalised together before it; its first member may be empty, where only the vectors were wanted.
    grouped : bool
        Whether a group normalises the weight: no second one may.
    """

    _u: Tensor
    _v: Tensor
    prepared: tuple[Tensor, Tensor, Tensor, Tensor] | None
    grouped: bool

    def __init__(
        self,
        weight: Tensor,
        n_power_iterations: int = 1,
        dim: int = 0,
        eps: float = 1e-12,
        *,
        v_first: bool = False,
        n_vectors: int = 1,
        exact: bool = False,
    ) -> None:
        super().__init__()
        checks.check_floating("spectral_norm", "weight", weight)
        for argument, given in (("n_power_iterations", n_power_iterations), ("dim", dim), ("n_vectors", n_vectors)):
            if isinstance(given, bool) or not isinstance(given, int):
                raise TypeError(f"spectral_norm: {argument} must be an integer, got {type(given).__name__}")
        rank = weight.dim()
        if not -rank <= dim < rank:
            raise IndexError(
                f"spectral_norm: dim must be in [{-rank}, {rank - 1}] for weight {list(weight.shape)}, got {dim}"
            )
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        if n_vectors < 1:
            raise ValueError(f"spectral_norm: n_vectors must be at least 1, got {n_vectors}")
        if n_vectors > 1 and (exact or v_first):
            option = "exact" if exact else "v_first"
            raise ValueError(
                f"spectral_norm: {option} must be False for n_vectors > 1, got {option}=True with {n_vectors}"
            )
        self.dim = dim % rank
        self.n_power_iterations = n_power_iterations
        self.eps = eps
        self.v_first = v_first
        self.exact = exact
        self.prepared, self.grouped = None, False
        rows = weight.shape[self.dim]
        columns = matrix.columns(weight, self.dim)
        self.n_vectors = max(1, min(n_vectors, rows, columns))
        if rank > 1:  # the norm of a vector needs no estimate
            self._start(weight, rows, columns)

    @classmethod
    def of_stock(cls, stock: Any) -> SpectralNorm:
        """Return one in the place of torch's parametrisation, with the same options and on the same buffers."""
        norm = cls.__new__(cls)  # without new estimates, which would draw random numbers
        nn.Module.__init__(norm)
        norm.dim, norm.eps = stock.dim, stock.eps
        norm.n_power_iterations = getattr(stock, "n_power_iterations", 1)  # torch's has none for a vector
        norm.v_first, norm.n_vectors, norm.exact = False, 1, False
        norm.prepared, norm.grouped = None, False
        for name, buffer in stock.named_buffers(recurse=False):
            norm.register_buffer(name, buffer)
        return norm.train(stock.training)

    @torch.no_grad()
    def _start(self, weight: Tensor, rows: int, columns: int) -> None:
        # torch's draws, u before v and in weight's dtype, whatever the options: what is initialised after this layer
        # starts from the same random numbers as with torch's.
        u, v = weight.new_empty(rows).normal_(), weight.new_empty(columns).normal_()
        if self.n_vectors > 1:
            u, v = (_orthonormal_block(x, self.n_vectors) for x in (u, v))
        else:
            u, v = (F.normalize(x, dim=0, eps=self.eps) for x in (u, v))
        self.register_buffer("_u", u)
        self.register_buffer("_v", v)
        self._call(weight, INITIAL_ITERATIONS, self.exact, store=True)

    def _call(
        self, weight: Tensor, n_power_iterations: int, exact: bool, store: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        result = functional.spectral_norm(
            weight, self._u, self._v, n_power_iterations=n_power_iterations, eps=self.eps, dim=self.dim,
            v_first=self.v_first, exact=exact,
        )  # fmt: skip
        if store:
            self._store(*result[2:])
        return result

    @torch.no_grad()
    def _store(self, u: Tensor, v: Tensor) -> None:
        # Into the buffers, never in their place: a captured CUDA graph and DataParallel's replicas hold these. The
        # graph holds what the op returned, so that a second forward before the backward disturbs nothing.
        self._u.copy_(u)
        self._v.copy_(v)

    def normalize(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return ``(weight / sigma, sigma, u, v)``; in training mode after an iteration, whose u and v are kept."""
        if self.training:
            return self._call(weight, self.n_power_iterations, self.exact, store=True)
        return self._call(weight, 0, False, store=False)

    def measure(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same with an empty tensor for ``weight / sigma``, which is not written; for a single pair of vectors."""
        n_power_iterations = self.n_power_iterations if self.training else 0
        (written,), (sigma,), (u,), (v,) = functional.spectral_norm_group(
            [weight], [self._u], [self._v], n_power_iterations=n_power_iterations, eps=self.eps, dims=self.dim,
            v_first=self.v_first, materialize=[False],
        )  # fmt: skip
        if self.training:
            self._store(u, v)
        return written, sigma, u, v

    def forward(self, weight: Tensor) -> Tensor:
        """Return ``weight / sigma``."""
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        if self.prepared is None:
            return self.normalize(weight)[0]
        normalized, _, u, v = self.prepared
        if normalized.shape == weight.shape:
            return normalized
        return functional.spectral_norm(weight, u, v, n_power_iterations=0, eps=self.eps, dim=self.dim)[0]

    def right_inverse(self, value: Tensor) -> Tensor:
        """Return `value`: assigning to the weight sets the weight before normalisation, as in torch."""
        return value

    def extra_repr(self) -> str:
        """The options that torch's parametrisation has not, where they are not off."""
        parts = [f"n_vectors={self.n_vectors}"] * (self.n_vectors > 1)
        parts += [f"{option}=True" for option in ("v_first", "exact") if getattr(self, option)]
        return ", ".join(parts)


def _orthonormal_block(first: Tensor, k: int) -> Tensor:
    """An orthonormal block of `k` vectors whose first is along `first`."""
    # A generator of its own: the others are any directions, and torch's random numbers go on as with one vector.
    others = torch.randn(first.shape[0], k - 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    block = torch.cat([first[:, None].double(), others.to(first.device)], dim=1)
    return torch.linalg.qr(block).Q.to(first.dtype)


def spectral_norm(
    module: ModuleType,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    *,
    v_first: bool = False,
    n_vectors: int = 1,
    exact: bool = False,
) -> ModuleType:
    r"""Divide a module's weight by its largest singular value at each access.

    Drop-in for :func:`torch.nn.utils.parametrizations.spectral_norm`: the same arguments and defaults, the same random
    numbers at initialisation, the same iterations, the same keys of the state dict, and the tools of
    :mod:`torch.nn.utils.parametrize`.

    Parameters
    ----------
    module : nn.Module
        The module that has the weight; it is changed.
    name : str, default "weight"
        The parameter or buffer to normalise; float32, float64, float16 or bfloat16. A vector is divided by its length.
    n_power_iterations : int, default 1
        Iterations at each access in training mode. There are none in evaluation mode.
    eps : float, default 1e-12
        Norms less than this count as this.
    dim : int, optional
        The dimension that the rows of the weight's matrix run along. Default: 0, but 1 for ConvTranspose1d, 2d and 3d.
    v_first : bool, default False
        Iterate v before u, the order of :func:`torch.nn.utils.spectral_norm` and of BigGAN.
    n_vectors : int, default 1
        Iterate so many vectors at once, which estimates σ better where singular values lie close together. At most as
        many as the matrix has rows and columns are used. The buffers are then ``[rows, n_vectors]`` and
        ``[columns, n_vectors]``: torch's cannot load them.
    exact : bool, default False
        Instead of iterating, compute the singular vectors at each access in training mode; evaluation uses the last.

    Returns
    -------
    nn.Module
        `module`, its class replaced by a parametrised one.

    Raises
    ------
    TypeError
        For a weight that is not real floating point, and numbers that are no integers.
    IndexError
        For dim out of range.
    ValueError
        For a module without such a parameter or buffer, n_power_iterations or n_vectors less than 1, eps not positive,
        or n_vectors above 1 together with exact or v_first.

    Notes
    -----
    :func:`torch.nn.utils.parametrize.remove_parametrizations` leaves a hook on the module's loading that does nothing.

    ``load_state_dict`` also takes checkpoints of torch's older hook (``weight_orig``, ``weight_u``, ``weight_v``) and
    of BigGAN-PyTorch's layers (``weight``, ``u0``, ``sv0``), and logs that it did (logger ``fastgan``, level INFO).

    Differentiable twice, with u and v as constants. σ is the norm of the weight as a matrix: for a convolution that is
    not the Lipschitz constant of the layer.

    T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"spectral_norm: name must be that of a parameter or buffer of {module}, got {name!r}")
    if dim is None:
        dim = 1 if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)) else 0
    from fastgan.nn.utils.checkpoints import accept_foreign_layouts  # needs the class above

    norm = SpectralNorm(weight, n_power_iterations, dim, eps, v_first=v_first, n_vectors=n_vectors, exact=exact)
    parametrize.register_parametrization(module, name, norm)
    accept_foreign_layouts(module, name)
    return module
