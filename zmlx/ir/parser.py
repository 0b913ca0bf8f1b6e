"""Reads IR text: the inverse of `zmlx.ir.printer`. Errors name the line.

function := "kernel" name "(" [param {"," param}] ")" [attrs] "{" {op} "}"
param    := value ":" type [attrs]
op       := [value {"," value} "="] name [value {"," value}] [attrs] [":" type {"," type}] ["{" {region} "}"]
region   := "^" "(" [value ":" type {"," value ":" type}] ")" ":" {op}
attrs    := "{" name "=" attr {"," name "=" attr} "}"
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from zmlx.dtypes import BY_SHORT
from zmlx.errors import ZmlxError
from zmlx.ir.core import Block, Function, Op, Param, Value
from zmlx.ir.opdef import Registry
from zmlx.ir.types import AnyType, Pointer, parse_type

T = TypeVar("T")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\n]+)
      | (?P<type>[a-z]+\[\d+,\ \*?[a-z]+\d+\] | (?:\d+x)*\*?(?:bf|i|u|f)\d+(?!\w))
      | (?P<value>%\w+)
      | (?P<number>-?(?:inf|nan)(?!\w) | -?\d+(?:\.\d*)?(?:e[+-]?\d+)?(?!\w))
      | (?P<name>[A-Za-z_][\w.]*)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<mark>[(){}:,=^])""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "none": None}


class ParseError(ZmlxError):
    """IR text that cannot be read; the message names the line."""


class _Parser:
    def __init__(self, text: str, registry: Registry) -> None:
        self.registry, self.i = registry, 0
        self.tokens: list[tuple[str, str, int]] = []
        self.scopes: list[dict[str, Value]] = [{}]
        self.lines = text.splitlines()
        at, line = 0, 1
        while at < len(text):
            found = _TOKEN.match(text, at)
            if not found:
                raise self.error(f"unexpected {text[at]!r}", line)
            if found.lastgroup != "space":
                self.tokens.append((found.lastgroup or "", found.group(), line))
            line += found.group().count("\n")
            at = found.end()
        self.tokens.append(("end", "the end of the text", line))

    def error(self, message: str, line: int | None = None) -> ParseError:
        number = self.tokens[min(self.i, len(self.tokens) - 1)][2] if line is None else line
        source = self.lines[number - 1] if 0 < number <= len(self.lines) else ""
        return ParseError(f"IR text, line {number}: {message}\n  {number} | {source}")

    def peek(self, text: str = "", kind: str = "", ahead: int = 0) -> bool:
        token = self.tokens[min(self.i + ahead, len(self.tokens) - 1)]
        return token[1] == text if text else token[0] == kind

    def take(self, text: str = "", kind: str = "") -> str:
        if not self.peek(text, kind):
            raise self.error(f"expected {text or 'a ' + kind}, found {self.tokens[self.i][1]}")
        self.i += 1
        return self.tokens[self.i - 1][1]

    def accept(self, text: str) -> bool:
        if self.peek(text):
            self.i += 1
            return True
        return False

    def several(self, one: Callable[[], T]) -> list[T]:
        out = [one()]
        while self.accept(","):
            out.append(one())
        return out

    def type(self) -> AnyType:
        text = self.take(kind="type")
        try:
            return parse_type(text)
        except (KeyError, ValueError):
            self.i -= 1
            raise self.error(f"unknown type {text}") from None

    def define(self, name: str, v: Value, line: int | None = None) -> Value:
        if any(name in scope for scope in self.scopes):
            raise self.error(f"{name} is defined twice", line)
        v.name = "" if name[1:].isdigit() else name[1:]
        self.scopes[-1][name] = v
        return v

    def use(self) -> Value:
        name = self.take(kind="value")
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        self.i -= 1
        raise self.error(f"{name} is not defined here")

    def attr(self) -> Any:
        kind, text, _ = self.tokens[self.i]
        self.i += 1
        if kind == "number":
            return int(text) if text.lstrip("-").isdigit() else float(text)
        if kind == "string":
            return json.loads(text)
        if kind == "type" and text.lstrip("*") in BY_SHORT and text.count("*") < 2:
            elem = BY_SHORT[text.lstrip("*")]
            return Pointer(elem) if text[0] == "*" else elem
        if text in _WORDS:
            return _WORDS[text]
        if text == "(":
            items = [] if self.peek(")") else self.several(self.attr)
            self.take(")")
            return tuple(items)
        self.i -= 1
        raise self.error(f"expected an attribute's value, found {text}")

    def attrs(self) -> dict[str, Any]:
        if not (self.peek("{") and self.peek(kind="name", ahead=1) and self.peek("=", ahead=2)):
            return {}
        self.take("{")

        def entry() -> tuple[str, Any]:
            name = self.take(kind="name")
            self.take("=")
            return name, self.attr()

        out = dict(self.several(entry))
        self.take("}")
        return out

    def argument(self) -> tuple[str, AnyType]:
        name = self.take(kind="value")
        self.take(":")
        return name, self.type()

    def ops(self, block: Block) -> None:
        while not (self.peek("}") or self.peek("^") or self.peek(kind="end")):
            block.ops.append(self.op())

    def region(self) -> Block:
        self.take("^")
        self.take("(")
        block = Block()
        self.scopes.append({})
        for name, type in [] if self.peek(")") else self.several(self.argument):
            block.args.append(self.define(name, Value(type)))
        self.take(")")
        self.take(":")
        self.ops(block)
        self.scopes.pop()
        return block

    def op(self) -> Op:
        names = []
        if self.peek(kind="value"):
            names = self.several(lambda: self.take(kind="value"))
            self.take("=")
        line = self.tokens[self.i][2]
        name = self.take(kind="name")
        if name not in self.registry:
            raise self.error(f"there is no op {name!r}", line)
        operands = self.several(self.use) if self.peek(kind="value") and self.tokens[self.i][2] == line else []
        attrs = self.attrs()
        types = self.several(self.type) if self.accept(":") else []
        if len(types) != len(names):
            raise self.error(f"{name} has {len(types)} result types and {len(names)} result names", line)
        regions = []
        if self.accept("{"):
            while self.peek("^"):
                regions.append(self.region())
            self.take("}")
        op = Op(self.registry[name], operands, types, attrs, regions)
        for text, result in zip(names, op.results, strict=True):
            self.define(text, result, line)
        return op

    def function(self) -> Function:
        self.take("kernel")
        name = self.take(kind="name")
        body, params = Block(), []
        self.take("(")
        while not self.accept(")"):
            text, type = self.argument()
            body.args.append(self.define(text, Value(type)))
            facts = self.attrs()
            if set(facts) - {"divisibility"}:
                raise self.error(f"unknown facts of a parameter: {', '.join(facts)}")
            params.append(Param(body.args[-1], **facts))
            if not self.peek(")"):
                self.take(",")
        attrs = self.attrs()
        self.take("{")
        self.ops(body)
        self.take("}")
        if not self.peek(kind="end"):
            raise self.error(f"unexpected {self.tokens[self.i][1]} after the kernel")
        return Function(name, params, body, attrs)


def parse(text: str, registry: Registry) -> Function:
    """The function whose text is `text`; `print_function` of it gives the text back.

    Raises ParseError, naming the line, where the text is malformed or names what is not there. The result is not
    verified: `zmlx.ir.verifier.verify` does that.
    """
    return _Parser(text, registry).function()
