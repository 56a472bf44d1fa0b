"""csrc/cuda compiled without a GPU: by nvcc and by NVRTC, and what the machine code says about it."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fastgan.ops import cuda_source
from tests.status import DERIVATIVES

pytestmark = pytest.mark.aot

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
#: Registers a thread may use, by op.
MOST_REGISTERS = {"bias_act": 80, "spectral_norm": 80, "symmetric_eigh": 64}
#: Ops without derivatives of their own.
FORWARD_ONLY = ("symmetric_eigh",)

nvcc = shutil.which("nvcc")
needs_nvcc = pytest.mark.skipif(nvcc is None, reason="nvcc is not installed")


def _with_claim(source: Path) -> Any:
    """The source, and what is shown where its kernels compile."""
    derivatives = ("forward",) if source.stem in FORWARD_ONLY else DERIVATIVES
    return pytest.param(
        source, id=source.stem, marks=pytest.mark.proves("compiled", backend="cuda", derivatives=derivatives)
    )


each_source = pytest.mark.parametrize("source", [_with_claim(source) for source in SOURCES])
each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def tool(name: str) -> str:
    """A tool of the CUDA toolkit, which Triton's wheel brings along."""
    try:
        import triton

        shipped = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    except ImportError:
        shipped = Path(name)
    found = str(shipped) if shipped.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is neither in Triton's wheel nor on PATH")
    return found


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory):
    """Compile a source for an architecture with nvcc, once."""
    folder = tmp_path_factory.mktemp("cubins")

    @cache
    def compile(source: Path, architecture: str) -> Path:
        cubin = folder / f"{source.stem}-{architecture}.cubin"
        # The flags of CMakeLists.txt, for one architecture.
        flags = ["-cubin", "-O3", "-std=c++17", f"-arch={architecture}", "-Werror", "all-warnings"]
        assert nvcc is not None
        run(nvcc, *flags, "-o", str(cubin), str(source))
        return cubin

    return compile


def resources(cubin: Path) -> dict[str, dict[str, int]]:
    """REG, STACK, SHARED, LOCAL of each kernel."""
    table = run(tool("cuobjdump"), "--dump-resource-usage", str(cubin))
    found = re.findall(r"Function (\w+):\s*\n\s*(.*)", table)
    return {name: {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", line)} for name, line in found}


def machine_code(cubin: Path) -> dict[str, str]:
    """The instructions of each kernel."""
    text = run(tool("cuobjdump"), "-sass", str(cubin))
    parts = re.split(r"Function : (\w+)", text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_there_is_something_to_compile() -> None:
    assert [source.stem for source in SOURCES] == list(MOST_REGISTERS)


@needs_nvcc
@each_architecture
@each_source
def test_nvcc(compiled, source: Path, architecture: str) -> None:
    cubin = compiled(source, architecture)
    kernels = resources(cubin)
    assert kernels
    for name, used in kernels.items():
        assert used["REG"] <= MOST_REGISTERS[source.stem], f"{name} uses {used['REG']} registers"
        assert used["LOCAL"] == 0, f"{name} has {used['LOCAL']} bytes of local memory"
        assert used["STACK"] == 0, f"{name} has a stack of {used['STACK']} bytes"
    for name, code in machine_code(cubin).items():
        assert not re.search(r"\b(LDL|STL)\b", code), f"{name} spills registers"
        # A barrier may reduce a flag over its block.
        assert not re.search(r"(?<!BAR\.)\b(RED|ATOM|ATOMG)\b", code), f"{name} uses atomics"


#: Whole packs that each kernel loads, at least, and stores. bias_act's forward loads two at once; spectral_norm's
#: products read four rows at once, along them and across; finish has four packs in flight, backward two.
#: symmetric_eigh reads its matrix once, and works in shared memory.
WIDE = {
    "bias_act": {"fwd": (2, 2), "bwd": (2, 1), "bwd_bwd": (3, 2), "bwd_rows": (2, 1), "bwd_columns": (2, 1)},
    "spectral_norm": {
        "start": (9, 0),
        "step": (9, 0),
        "finish": (4, 4),
        "bwd_sums": (4, 0),
        "bwd": (2, 2),
        "bwd_bwd_sums": (3, 0),
        "bwd_bwd": (3, 2),
    },
}


@needs_nvcc
@each_architecture
@pytest.mark.parametrize("source", [_with_claim(source) for source in SOURCES if source.stem in WIDE])
def test_sixteen_bytes_are_moved_at_a_time(compiled, source: Path, architecture: str) -> None:
    code = machine_code(compiled(source, architecture))
    kernels = {f"{source.stem}_{kernel}_kernel": packs for kernel, packs in WIDE[source.stem].items()}
    dtypes = ("f32", "f64", "f16", "bf16")
    assert {f"{kernel}_{dtype}" for kernel in kernels for dtype in dtypes} <= code.keys()
    for kernel, (loads, stores) in kernels.items():
        for dtype in dtypes:
            text = code[f"{kernel}_{dtype}"]
            assert len(re.findall(r"\bLDG\.E\.(?:\w+\.)*128", text)) >= loads, f"{kernel} {dtype}: narrow loads"
            assert len(re.findall(r"\bSTG\.E\.(?:\w+\.)*128", text)) == stores, f"{kernel} {dtype}: narrow stores"


def nvrtc_missing() -> str | None:
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except Exception as error:  # a missing package or library, each with an exception of its own
        return f"NVRTC does not load (pip install cupy-cuda13x nvidia-cuda-nvrtc): {error}"
    return None


@pytest.mark.skipif(nvrtc_missing() is not None, reason=str(nvrtc_missing()))
@each_architecture
@each_source
def test_nvrtc(source: Path, architecture: str, tmp_path: Path) -> None:
    """What happens on a user's machine without a fatbin: no toolkit, no headers but ours."""
    cubin = tmp_path / "kernels.cubin"
    cubin.write_bytes(cuda_source.compile_nvrtc(source, architecture))
    assert re.search(rf"code for {architecture}\b", run(tool("cuobjdump"), "-sass", str(cubin)))
    kernels = resources(cubin)
    assert kernels
    assert max(used["REG"] for used in kernels.values()) <= MOST_REGISTERS[source.stem]


@pytest.mark.skipif(nvrtc_missing() is not None, reason=str(nvrtc_missing()))
def test_nvrtc_says_what_does_not_compile(tmp_path: Path) -> None:
    source = tmp_path / "broken.cu"
    source.write_text('extern "C" __global__ void broken() { no_such_function(); }')
    with pytest.raises(RuntimeError, match=r'(?s)NVRTC cannot compile .*broken.cu for sm_90:.*"no_such_function"'):
        cuda_source.compile_nvrtc(source, "sm_90")
