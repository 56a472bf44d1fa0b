"""Triton's intermediate representation of a kernel, read from its text: what a launch's traffic is worked out from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_NAME = re.compile(r"%[\w.$-]+(?:#\d+)?")
_DEFINED = re.compile(r"(%[\w.$-]+)(?::(\d+))? = (.*)")


@dataclass(eq=False)
class Value:
    """What an operation yields, or a function or region is given: `index` of those."""

    source: Operation | None
    index: int


@dataclass(eq=False)
class Operation:
    """One operation; `text` is its line without results and without the types, `types` are these."""

    name: str
    text: str
    types: str
    operands: list[Value] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)

    def attribute(self, name: str) -> int:
        found = re.search(rf"\b{name} = (-?\d+)", self.text)
        assert found, f"no {name} in {self.text}"
        return int(found[1])


@dataclass
class Region:
    """The body of a kernel, of a loop, or a branch of a condition."""

    arguments: list[Value] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    @property
    def yielded(self) -> list[Value]:
        last = self.operations[-1] if self.operations else None
        return last.operands if last is not None and last.name == "scf.yield" else []

    def walk(self) -> Iterator[Operation]:
        """All operations, nested ones after the one that holds them."""
        for operation in self.operations:
            yield operation
            for region in operation.regions:
                yield from region.walk()


class _Reader:
    """Reads functions; what they call is put in the call's place. A name is known until its region ends."""

    def __init__(self, text: str) -> None:
        self.functions: dict[str, tuple[list[str], list[str]]] = {}
        for line in map(str.strip, text.splitlines()):
            head = re.match(r"tt\.func (?:public |private )?@([^(]+)\((.*)", line)
            if head:
                body: list[str] = []
                self.functions[head[1].strip('"')] = re.findall(r"(%[\w.$-]+): ", head[2]), body
            elif self.functions:
                body.append(line)
        self.lines: Iterator[str] = iter(())

    def function(self, name: str, arguments: list[Value] | None = None) -> Region:
        """Its body, for the arguments of a call or for new ones."""
        names, body = self.functions[name]
        region = Region(arguments or [Value(None, index) for index in range(len(names))])
        outer, self.lines = self.lines, iter(body)
        self._fill(region, dict(zip(names, region.arguments, strict=True)))
        self.lines = outer
        return region

    def _fill(self, region: Region, scope: dict[str, Value]) -> str:
        """Read the region's operations up to the line that ends it, which is returned."""
        for line in self.lines:
            if line.startswith("}") or line.endswith("// no predecessors"):  # a block that is never reached
                return line
            defined = _DEFINED.match(line)
            operation = self._operation(defined[3] if defined else line, scope)
            count = int(defined[2] or 1) if defined else 0
            if operation.name == "tt.call":
                called = self.function(re.search(r"@\"?([^\"(]+)", operation.text)[1], operation.operands)
                *operations, end = called.operations
                assert end.name == "tt.return", f"a function that does not end in its only return: {line}"
                region.operations += operations
                results = end.operands
            else:
                region.operations.append(operation)
                results = operation.results = [Value(operation, index) for index in range(count)]
            for index, value in enumerate(results):
                scope[f"{defined[1]}#{index}"] = value
            if results:
                scope[defined[1]] = results[0]
        raise ValueError("the text ends within a region")

    def _operation(self, line: str, scope: dict[str, Value]) -> Operation:
        assert not line.startswith("^"), f"a block that is jumped to, which the ledger cannot follow: {line}"
        name = line.split(" ", 1)[0].split("(")[0].strip('"')
        text, _, types = line.rpartition(" : ") if " : " in line else (line, "", "")
        if not line.endswith("{"):
            return Operation(name, text, types, [scope[used] for used in _NAME.findall(text)])
        if name == "scf.for":
            return self._loop(line, scope)
        if name == "scf.if":
            operation = Operation(name, line, "", [scope[used] for used in _NAME.findall(line)])
            end = ""
            while end != "}":  # after "} else {" comes another branch
                branch = Region()
                end = self._fill(branch, dict(scope))
                operation.regions.append(branch)
            return operation
        # Reductions and the like: how they combine two elements is of no interest.
        while not line.startswith("})"):
            line = next(self.lines)
        return Operation(name, text, types, [scope[used] for used in _NAME.findall(text)])

    def _loop(self, line: str, scope: dict[str, Value]) -> Operation:
        found = re.match(r"scf\.for (%\S+) = (%\S+) to (%\S+) step (%\S+)(?: iter_args\((.*?)\))?", line)
        assert found, f"a loop of unknown form: {line}"
        induction, *bounds = found.groups()[:4]
        carried = [pair.split(" = ") for pair in (found[5] or "").split(", ") if pair]
        operation = Operation(
            "scf.for", line, "", [scope[used] for used in (*bounds, *(start for _, start in carried))]
        )
        body = Region([Value(operation, index) for index in range(1 + len(carried))])
        names = [induction, *(name for name, _ in carried)]
        self._fill(body, {**scope, **dict(zip(names, body.arguments, strict=True))})
        operation.regions.append(body)
        return operation


def read(text: str, kernel: str) -> Region:
    """The body of the kernel of that name in a module; its arguments are the region's."""
    return _Reader(text).function(kernel)


def dimensions(type_text: str) -> tuple[int, ...]:
    """The shape in a tensor's type; () of a scalar's."""
    found = re.match(r"tensor<((?:\d+x)+)", type_text)
    return tuple(int(size) for size in found[1].split("x")[:-1]) if found else ()


def element(type_text: str) -> str:
    """The type of an element, or of what a pointer points to."""
    name = re.sub(r"^tensor<(?:\d+x)*(.*)>$", r"\1", type_text)
    return re.sub(r"^!tt\.ptr<(.*)>$", r"\1", name)
