"""Reads what a compiled kernel needs: registers, spills, shared memory, the width of its memory accesses."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton


@dataclass(frozen=True)
class Resources:
    """Of one compiled kernel. Loads and stores are instructions to global memory; wide ones move 16 bytes a thread."""

    registers: int
    spills: int
    shared: int
    wide_loads: int
    narrow_loads: int
    wide_stores: int
    narrow_stores: int
    tensor_core: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def _count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text))


def _cuobjdump(*arguments: str) -> str:
    shipped = Path(os.path.dirname(triton.__file__), "backends", "nvidia", "bin", "cuobjdump")
    command = [str(shipped) if shipped.exists() else "cuobjdump", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def nvidia(compiled: Any) -> Resources:
    """From the cubin: its resource table and its machine code."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(compiled.asm["cubin"])
        table = _cuobjdump("--dump-resource-usage", str(cubin))
        code = _cuobjdump("-sass", str(cubin))
    registers = re.search(r"REG:(\d+)", table)
    assert registers, f"cuobjdump printed no resource usage: {table}"
    wide_loads, wide_stores = _count(r"\bLDG\.E\.(?:\w+\.)*128", code), _count(r"\bSTG\.E\.(?:\w+\.)*128", code)
    return Resources(
        registers=int(registers[1]),
        spills=_count(r"\b(?:LDL|STL)\b", code),
        shared=compiled.metadata.shared,
        wide_loads=wide_loads,
        narrow_loads=_count(r"\bLDG\b", code) - wide_loads,
        wide_stores=wide_stores,
        narrow_stores=_count(r"\bSTG\b", code) - wide_stores,
        tensor_core=_count(r"\b(?:HMMA|IMMA|DMMA|QMMA|HGMMA|QGMMA|IGMMA|UTC\w*MMA)\b", code),
    )


def amd(compiled: Any) -> Resources:
    """From the assembly text and its metadata; registers are vector registers."""
    code = compiled.asm["amdgcn"]

    def metadata(key: str) -> int:
        found = re.search(rf"\.{key}:\s+(\d+)", code)
        assert found, f"no {key} in the assembly's metadata"
        return int(found[1])

    wide_loads = _count(r"(?:global|buffer|flat)_load_(?:dwordx4|b128)", code)
    wide_stores = _count(r"(?:global|buffer|flat)_store_(?:dwordx4|b128)", code)
    return Resources(
        registers=metadata("vgpr_count"),
        spills=metadata("vgpr_spill_count") + metadata("sgpr_spill_count"),
        shared=metadata("group_segment_fixed_size"),
        wide_loads=wide_loads,
        narrow_loads=_count(r"(?:global|buffer|flat)_load_\w+", code) - wide_loads,
        wide_stores=wide_stores,
        narrow_stores=_count(r"(?:global|buffer|flat)_store_\w+", code) - wide_stores,
        tensor_core=_count(r"\bv_mfma\w*", code),
    )


def occupancy_sm90(registers: int, shared: int, num_warps: int) -> float:
    """Share of the 64 warps of an sm_90 multiprocessor that these resources let be resident."""
    registers_per_warp = -(-registers * 32 // 256) * 256  # handed out 256 at a time
    shared_per_block = shared + 1024  # 1 KiB is the system's
    blocks = min(32, 64 // num_warps, 65536 // (registers_per_warp * num_warps), 228 * 1024 // shared_per_block)
    return blocks * num_warps / 64
