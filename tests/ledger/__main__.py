"""``python -m tests.ledger [WORD ...]`` writes docs/ledger.json and docs/ledger.md.

Everything is worked out anew, or with words the workloads that are not there yet, or whose names have one of them.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

import triton

from .build import JSON, PAGE, described, elsewhere, recorded, stock
from .table import render
from .traffic import demand
from .workloads import WORKLOADS

words = sys.argv[1:]
known = json.loads(JSON.read_text())["workloads"] if words else {}
ledger: dict[str, Any] = {"triton": triton.__version__, "workloads": {}}
for workload in WORKLOADS:
    if workload.name in known and not any(word in workload.name for word in words):
        ledger["workloads"][workload.name] = known[workload.name]
        continue
    start = time.perf_counter()
    case = workload.real()
    launches, torch_kernels = recorded(case)
    ledger["workloads"][workload.name] = {
        "must_move": case.must_move,
        "kernels": [
            {**described(launch), "elsewhere": needs} for launch, needs in zip(launches, elsewhere(case), strict=True)
        ],
        "torch_kernels": [asdict(kernel) for kernel in torch_kernels],
        "stock_kernels": stock(case),
        "small_bytes": [demand(launch).bytes for launch in recorded(workload.small())[0]],
    }
    print(f"{time.perf_counter() - start:5.1f} s  {workload.name}", file=sys.stderr)
JSON.write_text(json.dumps(ledger, indent=1) + "\n")
PAGE.write_text(render(ledger))
