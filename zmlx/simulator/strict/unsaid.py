"""Pointers and references whose space is not said: Metal has no space that they could be in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zmlx.simulator.lint import Finding


def find(clang: Any, unit: Any, file: str, skipped: int, spaces: frozenset[str]) -> Iterator[Finding]:
    """`skipped` lines at the beginning are not looked at; `spaces` are the words that say one."""
    kinds, types = clang.CursorKind, clang.TypeKind
    declares = {kinds.VAR_DECL, kinds.PARM_DECL, kinds.FIELD_DECL}
    for cursor in _declarations(kinds, unit.cursor, file, skipped):
        if cursor.kind not in declares or not _is_bare(types, cursor.type):
            continue
        words = [t.spelling for t in cursor.get_tokens()]
        if spaces.isdisjoint(words) and ("*" in words or "&" in words) and "auto" not in words:
            what = "pointer" if kind(cursor.type) == types.POINTER else "reference"
            yield Finding(
                "address-space", cursor.location.line, cursor.location.column,
                f"{cursor.spelling or 'the parameter'} is a {what} without an address space",
                "write device, threadgroup, constant or thread before its type",
            )  # fmt: skip


def _declarations(kinds: Any, cursor: Any, file: str, skipped: int) -> Iterator[Any]:
    """All declarations and what holds some; expressions hold none, but for lambdas."""
    for child in cursor.get_children():
        if child.kind.is_expression() and child.kind != kinds.LAMBDA_EXPR:
            continue
        if cursor.kind == kinds.TRANSLATION_UNIT:
            if child.location.file is None or child.location.file.name != file or child.extent.end.line <= skipped:
                continue
        yield child
        yield from _declarations(kinds, child, file, skipped)


def _is_bare(types: Any, of: Any) -> bool:
    """Whether a type points to something of no space; that of a template's parameter is known later."""
    while kind(of) in (types.CONSTANTARRAY, types.INCOMPLETEARRAY, types.DEPENDENTSIZEDARRAY):
        of = of.element_type
    if kind(of) not in (types.POINTER, types.LVALUEREFERENCE):
        return False
    pointee = of.get_pointee()
    known = kind(pointee.get_canonical()) not in (types.UNEXPOSED, types.DEPENDENT, types.FUNCTIONPROTO)
    return known and bool(pointee.get_address_space() == 0)


def kind(of: Any) -> Any:
    """A type's kind; None for those that libclang's Python does not know, such as half's."""
    try:
        return of.kind
    except ValueError:
        return None
