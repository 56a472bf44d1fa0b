"""tr (Σ₁Σ₂)^½ and the nuclear norm: accuracy over spectra and ranks, symmetries, derivatives, what is refused."""

from __future__ import annotations

import sys
from typing import Any

import mpmath
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fastgan
from fastgan.functional import product_nuclear_norm, psd_factor, trace_sqrtm_product
from tests.functional.spectra import SPECTRA, covariance, orthogonal, scale, spectrum

#: Errors are relative to (tr Σ₁ tr Σ₂)^½.
FLOAT64, FLOAT32 = 1e-9, 1e-5


def centred(n: int, d: int, seed: int, spread: str = "flat") -> Tensor:
    """Centred features [n, d] over (n - 1)^½, whose covariance has rank min(n - 1, d)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) * spectrum(spread, d).sqrt()
    x = x @ orthogonal(d, seed)
    return (x - x.mean(0)) / (n - 1) ** 0.5


def exact(sigma1: Tensor, sigma2: Tensor) -> float:
    """The trace in 40 digits, of the matrices as they are in float64."""
    with mpmath.workdps(40):
        s1, s2 = (mpmath.matrix(s.tolist()) for s in (sigma1, sigma2))
        values, vectors = mpmath.eigsy(s1)
        assert min(values) > 0
        root = vectors * mpmath.diag([mpmath.sqrt(v) for v in values]) * vectors.T
        k = root * s2 * root
        values = mpmath.eigsy((k + k.T) / 2, eigvals_only=True)
        return float(sum(mpmath.sqrt(v) for v in values))


@pytest.mark.parametrize(
    "pair", [("flat", "flat"), *zip(SPECTRA[1:], SPECTRA[2:] + SPECTRA[1:2], strict=True)], ids=str
)
@pytest.mark.parametrize("related", [False, True])
def test_against_40_digits(pair: tuple[str, str], related: bool) -> None:
    d = 32
    u = orthogonal(d, 1)
    v = torch.linalg.qr(u + 0.01 * orthogonal(d, 2)).Q if related else orthogonal(d, 2)
    s1, s2 = covariance(u, spectrum(pair[0], d)), covariance(v, spectrum(pair[1], d))
    expected, size = exact(s1, s2), scale(s1, s2)
    trace, error = trace_sqrtm_product(s1, s2, return_error=True)
    assert abs(trace.item() - expected) <= min(FLOAT64 * size, error.item())
    with fastgan.use_backend("reference"):
        assert abs(trace_sqrtm_product(s1, s2).item() - expected) <= FLOAT64 * size


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("kind", SPECTRA)
def test_common_eigenvectors_have_a_closed_form(kind: str, backend: str) -> None:
    """With the same eigenvectors it is the sum of the roots of products: of spectra in any order, and with zeros."""
    d = 48
    a, u = spectrum(kind, d), orthogonal(d, 3)
    for b in (a, a.flip(0), a.roll(7), torch.where(torch.arange(d) % 3 == 0, 0.0, a), a * 0):
        s1, s2 = covariance(u, a), covariance(u, b)
        with fastgan.use_backend(backend):
            error = abs(trace_sqrtm_product(s1, s2).item() - (a * b).sqrt().sum().item())
            assert error <= FLOAT64 * scale(s1, s2), f"{error / scale(s1, s2):.1e}"


@pytest.mark.parametrize("overlap", [0, 5, 16])
def test_block_diagonal_rotated(overlap: int) -> None:
    """Covariances of half the rank whose ranges share some directions, or none: the others have no part."""
    d = 32
    u = orthogonal(d, 4)
    a, b = torch.zeros(2, d, dtype=torch.float64)
    a[:16], b[16 - overlap : 32 - overlap] = 1.0, 2.0
    for vectors in (torch.eye(d, dtype=torch.float64), u):
        s1, s2 = covariance(vectors, a), covariance(vectors, b)
        assert abs(trace_sqrtm_product(s1, s2).item() - overlap * 2**0.5) <= FLOAT64 * scale(s1, s2)


@pytest.mark.parametrize("spread", ["flat", "power-law-1e-6", "power-law-1e-12"])
@pytest.mark.parametrize("d", [1, 2, 9, 40])
def test_every_pair_of_ranks(d: int, spread: str) -> None:
    """N = 2, d/2, d - 1, d, d + 1 and many samples, from covariances and from features, against singular values."""
    sizes = sorted({n for n in (2, d // 2, d - 1, d, d + 1, 3 * d + 2) if n >= 2})
    features = [centred(n, d, seed, spread) for seed, n in enumerate(sizes)]
    for x in features:
        for y in features:
            expected = torch.linalg.svdvals(x @ y.mT).sum().item()
            s1, s2 = x.mT @ x, y.mT @ y
            size, ranks = scale(s1, s2), (len(x) - 1, len(y) - 1)
            assert abs(product_nuclear_norm(x, y).item() - expected) <= FLOAT64 * size, ranks
            if spread == "power-law-1e-12" and min(ranks) < d:
                continue  # what rounding leaves of the covariance no longer tells its small eigenvalues from none
            assert abs(trace_sqrtm_product(s1, s2).item() - expected) <= FLOAT64 * size, ranks


@pytest.mark.parametrize("kind", SPECTRA)
def test_float32(kind: str) -> None:
    d = 48
    x, y = centred(100, d, 1, kind), centred(90, d, 2, kind)
    exactly = torch.linalg.svdvals(x @ y.mT).sum().item()
    size = scale(x.mT @ x, y.mT @ y)
    norm = product_nuclear_norm(x.float(), y.float())
    assert norm.dtype == torch.float32 and abs(norm.item() - exactly) <= FLOAT32 * size
    trace = trace_sqrtm_product((x.mT @ x).float(), (y.mT @ y).float())
    assert trace.dtype == torch.float32 and abs(trace.item() - exactly) <= FLOAT32 * size


def test_against_scipy() -> None:
    s1, s2 = (x.mT @ x for x in (centred(200, 64, 1), centred(300, 64, 2)))
    expected = scipy.linalg.sqrtm((s1 @ s2).numpy()).trace().real
    assert trace_sqrtm_product(s1, s2).item() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 20), st.integers(2, 30), st.integers(2, 30), st.integers(0, 1000),
    st.sampled_from(["flat", "geometric-1e-3", "power-law-1e-6"]), st.floats(-8, 8),
)  # fmt: skip
def test_symmetry_rotation_and_scaling(d: int, n: int, m: int, seed: int, kind: str, exponent: float) -> None:
    x, y = centred(n, d, seed, kind), centred(m, d, seed + 1, kind)
    s1, s2, u = x.mT @ x, y.mT @ y, orthogonal(d, seed + 2)
    size, trace = scale(s1, s2), trace_sqrtm_product(s1, s2)
    assert 0 <= trace.item() <= size * (1 + 1e-12), "Cauchy and Schwarz"
    for other, factor in (
        (trace_sqrtm_product(s2, s1), 1.0),
        (trace_sqrtm_product(u @ s1 @ u.mT, u @ s2 @ u.mT), 1.0),
        (trace_sqrtm_product(s1 * 10**exponent, s2 * 10**exponent), 10**exponent),
        (trace_sqrtm_product(s1 * 10**exponent, s2), 10 ** (exponent / 2)),
        (product_nuclear_norm(x @ u, y @ u), 1.0),
        (product_nuclear_norm(y, x), 1.0),
    ):
        assert abs(other.item() / factor - trace.item()) <= FLOAT64 * size


def test_batches_broadcast() -> None:
    s1 = torch.stack([x.mT @ x for x in (centred(20, 5, i) for i in range(3))])[:, None]
    s2 = torch.stack([x.mT @ x for x in (centred(4, 5, i) for i in range(2))])
    traces, errors = trace_sqrtm_product(s1, s2, return_error=True)
    assert traces.shape == errors.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            assert torch.equal(traces[i, j], trace_sqrtm_product(s1[i, 0], s2[j]))


def test_a_known_factor_gives_the_same() -> None:
    x, y = centred(100, 20, 1), centred(90, 20, 2)
    for z in (x, x[:8] - x[:8].mean(0)):
        s1, s2 = z.mT @ z, y.mT @ y
        s2.requires_grad_()
        factor = psd_factor(s1)
        assert factor.shape == (20, min(len(z) - 1, 20))
        assert (factor @ factor.mT - s1).abs().max() < 1e-14
        known = trace_sqrtm_product(s1, s2, factor1=factor)
        assert known.item() == pytest.approx(trace_sqrtm_product(s1, s2).item(), rel=1e-12)
        if len(z) > 20:
            assert torch.autograd.grad(known, s2)[0].isfinite().all()


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = centred(9, 20, 1), centred(30, 20, 2)
    s1, s2 = x.mT @ x, y.mT @ y
    expected = trace_sqrtm_product(s1, s2)
    monkeypatch.setitem(sys.modules, "scipy.linalg.lapack", None)
    assert trace_sqrtm_product(s1, s2).item() == pytest.approx(expected.item(), rel=1e-12)


def symmetric(function: Any) -> Any:
    return lambda *matrices: function(*((m + m.mT) / 2 for m in matrices))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_derivatives(backend: str) -> None:
    s1, s2 = (
        covariance(orthogonal(4, i), spectrum(kind, 4)).requires_grad_() for i, kind in enumerate(("repeated", "flat"))
    )
    with fastgan.use_backend(backend):
        assert torch.autograd.gradcheck(symmetric(trace_sqrtm_product), (s1, s2))
        assert torch.autograd.gradgradcheck(symmetric(trace_sqrtm_product), (s1, s2))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_the_first_derivative_of_features_exists_at_any_rank(backend: str) -> None:
    """A feature that is always 0, and less samples than features: two values of the same singular value 0."""
    x, y = (centred(n, 5, n).mul(torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])) for n in (9, 4))
    generator = torch.Generator().manual_seed(0)
    with fastgan.use_backend(backend):
        for u, v in ((x, y), (y, x), (x, x.flip(0))):
            u.requires_grad_()
            (grad,) = torch.autograd.grad(product_nuclear_norm(u, v), u)
            # Within the range, where the function is smooth, the derivative is that of differences.
            step = torch.randn(u.shape, generator=generator, dtype=torch.float64) * (u.abs().sum(0) > 0) * 1e-6
            ahead, behind = (product_nuclear_norm(u.detach() + sign * step, v) for sign in (1, -1))
            assert (grad * step).sum().item() == pytest.approx((ahead - behind).item() / 2, abs=1e-12)


def test_the_derivative_of_a_deficient_covariance_is_refused() -> None:
    x, y = centred(4, 6, 1), centred(20, 6, 2)
    s1 = (x.mT @ x).requires_grad_()
    with pytest.raises(ValueError, match=r"trace_sqrtm_product: sigma1 must have full rank .* got rank 3 of 6"):
        trace_sqrtm_product(s1, y.mT @ y).backward()


def test_an_accuracy_that_is_not_reached_raises() -> None:
    s = covariance(orthogonal(64, 1), spectrum("power-law-1e-12", 64))
    assert trace_sqrtm_product(s, s, rtol=1e-9).item() == pytest.approx(s.trace().item(), rel=1e-9)
    with pytest.raises(
        torch.linalg.LinAlgError, match=r"trace_sqrtm_product: the estimated error is .* above rtol=1e-18"
    ):
        trace_sqrtm_product(s, s, rtol=1e-18)


def test_bad_arguments_are_named() -> None:
    s = torch.eye(3)
    for call, error, message in (
        (lambda: trace_sqrtm_product(s, torch.eye(4)), ValueError, "sigma2 must have d = 3"),
        (lambda: trace_sqrtm_product(s, s.double()), TypeError, "sigma2 must have sigma1's dtype torch.float32"),
        (lambda: trace_sqrtm_product(s[:2], s), ValueError, r"sigma1 must be \[\.\.\., d, d\], got \[2, 3\]"),
        (lambda: trace_sqrtm_product(s.int(), s), TypeError, "sigma1 must be float32"),
        (lambda: trace_sqrtm_product(s, s * torch.nan), ValueError, "sigma2 must be finite"),
        (lambda: trace_sqrtm_product(s, s - 2 * torch.ones(3, 3)), ValueError, "sigma2 must be positive semi-definite"),
        (lambda: trace_sqrtm_product(s, s + 2 - 4 * torch.eye(3)), ValueError, "sigma2 must be positive semi-definite"),
        (
            lambda: trace_sqrtm_product(s.expand(2, 3, 3), s.expand(4, 3, 3)),
            ValueError,
            "sigma2 must have a batch that",
        ),
        (lambda: trace_sqrtm_product(s, s, rtol=0.0), ValueError, "rtol must be None or above 0"),
        (lambda: trace_sqrtm_product(s, s, factor1=s[:2]), ValueError, r"factor1 must be \[3, r\]"),
    ):
        with pytest.raises(error, match=f"trace_sqrtm_product: {message}"):
            call()
    with pytest.raises(ValueError, match="product_nuclear_norm: y must be finite"):
        product_nuclear_norm(s, s / 0)
