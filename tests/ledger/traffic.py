"""What a launch asks for: the bytes of every load and store of every program, worked out from the kernel's own code.

The masks of loads and stores, and the loops and branches round them, depend on little: the program's number, sizes,
tables of integers. Only this part of the code is run, for many programs at once: every program is counted, and none
is interpreted by itself. Nothing is assumed: where a mask depends on anything else, there is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .ir import Operation, Region, Value, dimensions, element, read
from .launches import Launch, source_ir

#: Rows are programs, or one for all of them; then the dimensions of a block, of which those of size 1 are broadcast.
Rows = np.ndarray

_PROGRAMS = 1024  # at once
_BITS = {"i1": 8, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "bf16": 16, "f16": 16, "f32": 32, "f64": 64}
#: What kernels keep kinks in: never a table that masks or loops depend on.
_BYTE = "i8"
_INTEGERS = {"i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
_BINARY: dict[str, Callable[[Rows, Rows], Rows]] = {
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.divsi": lambda a, b: (a - np.fmod(a, b)) // b,  # towards zero
    "arith.remsi": np.fmod,
    "arith.minsi": np.minimum,
    "arith.maxsi": np.maximum,
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "tt.addptr": np.add,
}
_COMPARED: dict[str, Callable[[Rows, Rows], Rows]] = {
    "eq": np.equal, "ne": np.not_equal, "slt": np.less, "sle": np.less_equal, "sgt": np.greater,
    "sge": np.greater_equal,
}  # fmt: skip


class Demand(NamedTuple):
    """Bytes of all loads and stores; additions and multiplications of tensor cores."""

    bytes: int
    flops: int


class _Programs:
    """What some of a launch's programs know: values of their own, and those of the programs they were chosen from."""

    def __init__(self, count: int, outer: _Programs | None = None, chosen: Rows | None = None) -> None:
        self.count = count
        self._outer, self._chosen = outer, chosen  # None: all of them
        self._known: dict[Value, Rows] = {}

    def __getitem__(self, value: Value) -> Rows:
        if value not in self._known:
            assert self._outer is not None, "a value is used before it is known"
            rows = self._outer[value]
            self._known[value] = rows if self._chosen is None or len(rows) == 1 else rows[self._chosen]
        return self._known[value]

    def __setitem__(self, value: Value, rows: Rows) -> None:
        self._known[value] = rows

    def alike(self, rows: Rows) -> Iterator[tuple[Any, Rows, _Programs]]:
        """Each number in `rows`, which programs have it, and these."""
        numbers = np.unique(rows)
        for number in numbers:
            chosen = np.flatnonzero(np.broadcast_to(rows == number, (self.count,)))
            yield number.item(), chosen, _Programs(len(chosen), self, chosen if len(numbers) > 1 else None)


def _together(parts: list[tuple[Rows, Rows]], count: int) -> Rows:
    """The rows that the chosen ones of so many programs have."""
    if len(parts) == 1:
        return parts[0][1]
    block = np.broadcast_shapes(*(rows.shape[1:] for _, rows in parts))
    whole = np.empty((count, *block), parts[0][1].dtype)
    for chosen, rows in parts:
        whole[chosen] = rows
    return whole


def _of_rank(rows: Rows, rank: int) -> Rows:
    """A scalar's rows as those of a block."""
    return rows.reshape(len(rows), *(1,) * rank) if rows.ndim == 1 else rows


def _scalar_rows(number: int | bool, kind: str, rank: int = 0) -> Rows:
    return np.full((1,) * (1 + rank), number, _INTEGERS[kind])


class _Count:
    """Runs a kernel's masks."""

    def __init__(self, body: Region, launch: Launch) -> None:
        self.body, self.launch = body, launch
        self.bytes = self.flops = 0
        self._axes = [Value(None, axis) for axis in range(3)]
        self._needed = self._what_masks_need()

    def _what_masks_need(self) -> set[Value]:
        wanted: list[Value] = []
        inside: dict[Value, tuple[Operation | None, int]] = {}  # a loop's own values
        for operation in self.body.walk():
            if operation.name == "tt.load":
                wanted += operation.operands[1:2]
            elif operation.name == "tt.store":
                wanted += operation.operands[2:3]
                if element(operation.types) in _INTEGERS.keys() - {_BYTE}:
                    raise NotImplementedError(f"{self.launch.name}: the ledger counts on tables that no kernel writes")
            elif operation.name == "scf.if":
                wanted += operation.operands
            elif operation.name == "scf.for":
                wanted += operation.operands[:3]
                for argument in operation.regions[0].arguments:
                    inside[argument] = operation, argument.index - 1
            elif operation.name.startswith(("tt.atomic", "tt.descriptor", "scf.while", "cf.")):
                raise NotImplementedError(f"{self.launch.name}: the ledger cannot count {operation.name}")
        needed: set[Value] = set()
        while wanted:
            value = wanted.pop()
            if value in needed:
                continue
            needed.add(value)
            operation, index = inside.get(value, (value.source, value.index))
            if operation is None or index < 0:
                continue  # an argument of the kernel, or what a loop counts
            if operation.name == "scf.for":
                body = operation.regions[0]
                wanted += operation.operands[3 + index], body.yielded[index], body.arguments[1 + index]
            elif operation.name == "scf.if":
                wanted += (branch.yielded[index] for branch in operation.regions)
            else:
                wanted += operation.operands
        return needed

    def count(self) -> Demand:
        grid = (*self.launch.grid, 1, 1)[:3]
        total = math.prod(grid)
        for start in range(0, total, _PROGRAMS):
            number = np.arange(start, min(start + _PROGRAMS, total), dtype=np.int32)
            programs = _Programs(len(number))
            place = number % grid[0], number // grid[0] % grid[1], number // grid[0] // grid[1]
            for axis, along in zip(self._axes, place, strict=True):
                programs[axis] = along
            self._arguments(programs)
            self._run(self.body, programs)
        return Demand(self.bytes, self.flops)

    def _arguments(self, programs: _Programs) -> None:
        arguments = self.launch.arguments
        if len(arguments) != len(self.body.arguments):
            raise ValueError(
                f"{self.launch.name} has {len(self.body.arguments)} arguments, recorded are {len(arguments)}"
            )
        for value, (kind, given) in zip(self.body.arguments, arguments, strict=True):
            if kind.startswith("*"):
                programs[value] = _scalar_rows(0, "i64")  # pointers are kept as the distance from where a tensor starts
            elif kind in _INTEGERS:
                programs[value] = _scalar_rows(given, kind)

    def _run(self, region: Region, programs: _Programs) -> None:
        for operation in region.operations:
            if operation.name in ("tt.load", "tt.store"):
                self._access(operation, programs)
            elif operation.name == "tt.dot":
                (rows, inner), (_, columns) = map(dimensions, operation.types.split(" -> ")[0].split(" * "))
                self.flops += 2 * rows * inner * columns * programs.count
            if operation.name == "scf.for":
                self._loop(operation, programs)
            elif operation.name == "scf.if":
                self._branch(operation, programs)
            elif operation.results and operation.results[0] in self._needed:
                programs[operation.results[0]] = self._evaluate(operation, programs)

    def _access(self, operation: Operation, programs: _Programs) -> None:
        place = 1 if operation.name == "tt.load" else 2
        block = dimensions(operation.types)
        lanes = programs.count * math.prod(block)
        if len(operation.operands) > place:
            mask = programs[operation.operands[place]]
            lanes = int(np.count_nonzero(mask)) * lanes // mask.size
        self.bytes += lanes * _BITS[element(operation.types)] // 8

    def _loop(self, operation: Operation, programs: _Programs) -> None:
        body = operation.regions[0]
        first, end, step = (programs[bound] for bound in operation.operands[:3])
        carried = [
            (argument, start, after, result)
            for argument, start, after, result in zip(
                body.arguments[1:], operation.operands[3:], body.yielded, operation.results, strict=True
            )
            if argument in self._needed or result in self._needed
        ]
        results: list[list[tuple[Rows, Rows]]] = [[] for _ in carried]
        for turns, chosen, some in programs.alike(np.maximum(-((first - end) // step), 0)):
            now = [some[start] for _, start, _, _ in carried]
            own_first, own_step = some[operation.operands[0]], some[operation.operands[2]]
            for turn in range(turns):
                turned = _Programs(some.count, some)
                turned[body.arguments[0]] = own_first + own_step.dtype.type(turn) * own_step
                for (argument, *_), rows in zip(carried, now, strict=True):
                    turned[argument] = rows
                self._run(body, turned)
                now = [turned[after] for _, _, after, _ in carried]
            for parts, rows in zip(results, now, strict=True):
                parts.append((chosen, rows))
        for (*_, result), parts in zip(carried, results, strict=True):
            programs[result] = _together(parts, programs.count)

    def _branch(self, operation: Operation, programs: _Programs) -> None:
        wanted = [result for result in operation.results if result in self._needed]
        results: dict[Value, list[tuple[Rows, Rows]]] = {result: [] for result in wanted}
        for condition, chosen, some in programs.alike(programs[operation.operands[0]]):
            if not condition and len(operation.regions) < 2:
                continue
            branch = operation.regions[0 if condition else 1]
            self._run(branch, some)
            for result in wanted:
                results[result].append((chosen, some[branch.yielded[result.index]]))
        for result, parts in results.items():
            programs[result] = _together(parts, programs.count)

    def _evaluate(self, operation: Operation, programs: _Programs) -> Rows:
        name, types = operation.name, operation.types
        if name == "arith.constant":
            found = re.search(r"constant (?:dense<)?(true|false|-?\d+)>?$", operation.text)
            if found is None:
                raise NotImplementedError(f"{self.launch.name}: a mask depends on {operation.text}")
            number = found[1] == "true" if found[1] in ("true", "false") else int(found[1])
            return _scalar_rows(number, element(types) or "i1", len(dimensions(types)))
        if name == "tt.get_program_id":
            return programs[self._axes["xyz".index(operation.text.split()[-1])]]
        operands = operation.operands
        if name == "tt.load":
            if element(types) == _BYTE:
                raise NotImplementedError(f"{self.launch.name}: a mask depends on bytes that a kernel may write")
            return self._table(operation, programs)
        if name in _BINARY:
            return _BINARY[name](programs[operands[0]], programs[operands[1]])
        if name == "arith.cmpi":
            return _COMPARED[operation.text.split()[1].rstrip(",")](programs[operands[0]], programs[operands[1]])
        if name == "arith.select":
            condition, yes, no = (programs[operand] for operand in operands)
            return np.where(_of_rank(condition, yes.ndim - 1), yes, no)
        if name in ("arith.extsi", "arith.extui", "arith.trunci", "arith.bitcast"):
            source, target = (element(side) for side in types.split(" to "))
            negative, reinterpreted = (
                name == "arith.extsi" and source == "i1",
                name == "arith.bitcast" and source != target,
            )
            if negative or reinterpreted:
                raise NotImplementedError(f"{self.launch.name}: a mask depends on {operation.text} : {types}")
            return programs[operands[0]].astype(_INTEGERS[target])
        if name == "tt.make_range":
            return np.arange(operation.attribute("start"), operation.attribute("end"), dtype=np.int32)[None]
        if name == "tt.splat":
            return _of_rank(programs[operands[0]], len(dimensions(types.split(" -> ")[1])))
        if name == "tt.expand_dims":
            return np.expand_dims(programs[operands[0]], 1 + operation.attribute("axis"))
        if name == "tt.broadcast":
            return programs[operands[0]]
        raise NotImplementedError(f"{self.launch.name}: a mask depends on {name}, which the ledger cannot work out")

    def _table(self, operation: Operation, programs: _Programs) -> Rows:
        """What is read from a tensor of integers."""
        value = operation.operands[0]
        while value.source is not None:
            if value.source.name not in ("tt.addptr", "tt.splat", "tt.broadcast", "tt.expand_dims"):
                raise NotImplementedError(f"{self.launch.name}: a mask depends on memory behind {value.source.name}")
            value = value.source.operands[0]
        _, table = self.launch.arguments[value.index]
        if table is None:
            raise NotImplementedError(f"{self.launch.name}: a mask depends on numbers that are no integers")
        if len(operation.operands) > 1:
            raise NotImplementedError(f"{self.launch.name}: a mask depends on a table that is read with one")
        return table.numpy().reshape(-1)[programs[operation.operands[0]]]


def demand(launch: Launch) -> Demand:
    """Of all programs of a recorded launch."""
    return _Count(read(source_ir(launch), launch.name), launch).count()
