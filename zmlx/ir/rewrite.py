"""Rewrites ops by named rules until none applies. The engine names no op; the rules are data, keyed by op name.

A rule is a function (op, rewriter) that returns None if it does not match, else the values that replace the op's
results. What it builds with the rewriter takes the op's place and is itself rewritten. Ops are visited in program
order from a stack of pending ops, so that operands are final before their users; a rule that looks only at its op
and at what defines the operands therefore reaches its fixpoint in one visit, and the whole run is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zmlx.errors import InternalCompilerError
from zmlx.ir.builder import Builder
from zmlx.ir.core import Block, Function, Op, Value

Rule = Callable[[Op, "Rewriter"], "Sequence[Value] | None"]
ANY = "*"  # the key of rules that are tried on every op, after those of its name
FUEL = 100  # rule applications an op of the input may cause on average; more means that rules undo each other


class Rules(dict[str, list[Rule]]):
    """Rules by op name."""

    def rule(self, *names: str) -> Callable[[Rule], Rule]:
        """Adds a rule for ops of these names; without names, for every op."""

        def add(fn: Rule) -> Rule:
            for name in names or (ANY,):
                self.setdefault(name, []).append(fn)
            return fn

        return add


class Rewriter(Builder):
    """What a rule builds with: ops created here take the place of the matched op."""

    def __init__(self, rules: Rules, fuel: int) -> None:
        super().__init__(Block())
        self.rules, self.fuel, self.applied = rules, fuel, 0
        self.tried: dict[str, list[Rule]] = {}  # by op name: its own rules, then everybody's
        self.mapping: dict[Value, Value] = {}

    def replace(self, old: Value, new: Value) -> None:
        """Every later use of one value becomes a use of another."""
        self.mapping[old] = new

    def splice(self, block: Block, args: Sequence[Value]) -> list[Value]:
        """Puts a region's ops in the matched op's place, with values for its arguments; gives what it yields."""
        self.mapping.update(zip(block.args, args, strict=True))
        self.block.ops += block.ops[:-1]
        return block.ops[-1].operands

    def final(self, v: Value) -> Value:
        """What a value has been replaced by."""
        mapping = self.mapping
        while v in mapping:
            v = mapping[v]
        return v

    def match(self, op: Op) -> Sequence[Value] | None:
        self.loc = op.loc
        if op.name not in self.tried:
            self.tried[op.name] = [*self.rules.get(op.name, ()), *self.rules.get(ANY, ())]
        for rule in self.tried[op.name]:
            values = rule(op, self)
            if values is not None:
                self.applied += 1
                if self.applied > self.fuel:
                    raise InternalCompilerError(
                        f"the rewrite rules do not come to an end (last applied: {rule.__name__} to {op.name}): "
                        "this is a bug of zmlx, please report it"
                    )
                return values
            if self.block.ops:
                self.block.ops = []
        return None

    def run(self, block: Block) -> None:
        pending, out, mapping = block.ops[::-1], [], self.mapping
        while pending:
            op = pending.pop()
            if mapping:
                op.operands = [self.final(v) if v in mapping else v for v in op.operands]
            values = self.match(op)
            if values is None and op.regions:
                for region in op.regions:
                    self.run(region)
                values = self.match(op)
            if values is None:
                out.append(op)
                continue
            for old, new in zip(op.results, values, strict=True):
                new = self.final(new)
                new.name = new.name or old.name
                mapping[old] = new
            pending += self.block.ops[::-1]
            self.block.ops = []
        block.ops = out


def rewrite(fn: Function, rules: Rules) -> bool:
    """Applies the rules everywhere in a function until none matches; whether any did."""
    rewriter = Rewriter(rules, FUEL * (1 + len(list(fn.walk()))))
    rewriter.run(fn.body)
    return rewriter.applied > 0
