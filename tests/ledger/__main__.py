"""``python -m tests.ledger`` counts everything anew and writes docs/ledger.json and docs/ledger.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import triton

from .build import DOCS, JSON, PAGE, compiled, stock
from .table import render
from .workloads import WORKLOADS

# Interpreting and compiling cannot share a process.
counted = subprocess.run(
    [sys.executable, "-m", "tests.ledger.count"],
    cwd=DOCS.parent,
    env={**os.environ, "TRITON_INTERPRET": "1"},
    stdout=subprocess.PIPE,
    check=True,
)
counts = json.loads(counted.stdout)

ledger = {"triton": triton.__version__, "workloads": {}}
for workload in WORKLOADS:
    case = workload.make(workload.batch)
    kernels, torch_kernels = compiled(case)
    for kernel, size in zip(kernels, counts[workload.name]["real"], strict=True):
        kernel["bytes"] = size
    ledger["workloads"][workload.name] = {
        "must_move": case.must_move,
        "kernels": kernels,
        "torch_kernels": torch_kernels,
        "stock_kernels": stock(case),
        "small_bytes": counts[workload.name]["small"],
    }
JSON.write_text(json.dumps(ledger, indent=1) + "\n")
PAGE.write_text(render(ledger))
print(PAGE.read_text())
