"""The loader of csrc/cuda, with a stand-in for CuPy: reasons, cache, fatbin first, stream and device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fastgan.ops import cuda_source


class DriverError(Exception):
    pass


class FakeCupy:
    """Records what is asked of it. `fits` says whether a fatbin holds code for the GPU."""

    def __init__(self) -> None:
        self.fits = True
        self.loaded: list[Path] = []
        self.launches: list[tuple[Any, ...]] = []
        self.stream: int | None = None
        self.allowed: int | None = None  # shared memory, where the last launched kernel was told
        fake = self

        class RawModule:
            def __init__(self, path: str) -> None:
                self.path = Path(path)

            def compile(self) -> None:
                if self.path.suffix == ".fatbin" and not fake.fits:
                    raise DriverError("CUDA_ERROR_NO_BINARY_FOR_GPU")
                fake.loaded.append(self.path)

            def get_function(self, name: str) -> Any:
                def kernel(grid: Any, block: Any, args: Any, shared_mem: int) -> None:
                    fake.allowed = getattr(kernel, "max_dynamic_shared_size_bytes", None)
                    fake.launches.append((name, grid, block, args, shared_mem, fake.stream))

                return kernel

        class Stream:
            def __init__(self, pointer: int, device: int = -1) -> None:
                self.pointer = pointer

            @classmethod
            def from_external(cls, other: Any) -> Stream:
                version, pointer = other.__cuda_stream__()
                assert version == 0
                return cls(pointer)

            def __enter__(self) -> None:
                fake.stream = self.pointer

            def __exit__(self, *_: Any) -> None:
                fake.stream = None

        self.RawModule = RawModule
        self.cuda = SimpleNamespace(
            Stream=Stream,
            driver=SimpleNamespace(CUDADriverError=DriverError),
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
        )


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeCupy]:
    """A machine with one GPU of capability 9.0, a package without fatbins, and an empty cache."""
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda_source, "PACKAGE", tmp_path / "fastgan")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=1234))
    monkeypatch.setattr(cuda_source, "compile_nvrtc", lambda source, arch: f"{source.read_text()} {arch}".encode())
    for folder, name in (("cuda", "op.cu"), ("common", "op_math.h")):
        (tmp_path / "csrc" / folder).mkdir(parents=True)
        (tmp_path / "csrc" / folder / name).write_text("first")
    forget()
    yield fake
    forget()


def forget() -> None:
    for cached in (cuda_source._module, cuda_source.unavailable_reason, cuda_source.function, cuda_source._stream):
        cached.cache_clear()


def test_sources_of_a_checkout_and_of_an_installed_package(cupy: FakeCupy, tmp_path: Path) -> None:
    assert cuda_source.source_folder() == tmp_path / "csrc"
    (tmp_path / "fastgan" / "csrc" / "cuda").mkdir(parents=True)
    assert cuda_source.source_folder() == tmp_path / "fastgan" / "csrc"


def test_nvrtc_result_is_cached_by_all_it_depends_on(
    cupy: FakeCupy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cuda_source._cached_cubin("op", "sm_90")
    assert first.read_text() == "first sm_90"
    assert [path.name for path in (tmp_path / "cache" / "fastgan").iterdir()] == [first.name]
    with monkeypatch.context() as patch:
        patch.setattr(cuda_source, "compile_nvrtc", lambda *_: pytest.fail("compiled again"))
        assert cuda_source._cached_cubin("op", "sm_90") == first
    others = {cuda_source._cached_cubin("op", "sm_80")}
    for changed in ("cuda/op.cu", "common/op_math.h"):
        (tmp_path / "csrc" / changed).write_text("second")
        others.add(cuda_source._cached_cubin("op", "sm_90"))
    cupy.cuda.nvrtc.getVersion = lambda: (13, 1)
    others.add(cuda_source._cached_cubin("op", "sm_90"))
    assert len(others - {first}) == 4


@pytest.mark.parametrize(("fits", "suffix"), [(True, ".fatbin"), (False, ".cubin")])
def test_fatbin_is_used_where_it_fits(cupy: FakeCupy, tmp_path: Path, fits: bool, suffix: str) -> None:
    fatbin = tmp_path / "fastgan" / "_cuda" / "op.fatbin"
    fatbin.parent.mkdir(parents=True)
    fatbin.touch()
    cupy.fits = fits
    assert cuda_source.unavailable_reason("op") is None
    assert [path.suffix for path in cupy.loaded] == [suffix]


@pytest.mark.parametrize("version", [13, 14])
def test_launch_on_torch_s_stream(cupy: FakeCupy, version: int) -> None:
    if version == 13:
        cupy.cuda.ExternalStream, cupy.cuda.Stream = cupy.cuda.Stream, object
    launch = cuda_source.function("op", "kernel", torch.device("cuda"))
    launch((7,), (256,), (1, 2), shared_mem=16)
    assert cupy.launches == [("kernel", (7,), (256,), (1, 2), 16, 1234)]
    assert cupy.stream is None


def test_a_kernel_is_allowed_the_shared_memory_that_it_asks_for(cupy: FakeCupy) -> None:
    launch, allowed = cuda_source.function("op", "kernel", torch.device("cuda")), []
    for asked in (48 * 1024, 100_000, 64 * 1024, 200_000):
        launch((7,), (256,), (1, 2), asked)
        allowed.append(cupy.allowed)
    assert allowed == [None, 100_000, 100_000, 200_000]


def test_reasons(cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def reason() -> str:
        cuda_source.unavailable_reason.cache_clear()
        cuda_source._module.cache_clear()
        return str(cuda_source.unavailable_reason("op"))

    assert reason() == "None"
    (tmp_path / "csrc" / "cuda" / "op.cu").unlink()
    assert reason().startswith("the kernels do not load: ")
    (tmp_path / "csrc" / "cuda").rmdir()
    assert reason() == f"the kernels do not load: csrc/cuda is missing from {tmp_path / 'fastgan'}"
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert reason().startswith("CuPy cannot be imported (")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert reason() == "torch sees no CUDA device"
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert reason() == "csrc/cuda is for NVIDIA GPUs, and this torch is a HIP build"


def test_a_failure_is_remembered(cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_source, "compile_nvrtc", lambda *_: (_ for _ in ()).throw(RuntimeError("no compiler")))
    assert cuda_source.unavailable_reason("op") == "the kernels do not load: no compiler"
    monkeypatch.setattr(cuda_source, "compile_nvrtc", lambda *_: pytest.fail("tried again"))
    assert cuda_source.unavailable_reason("op") == "the kernels do not load: no compiler"
