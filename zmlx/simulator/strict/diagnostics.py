"""What clang says about address spaces, in Metal's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from zmlx.simulator.lint import Finding
from zmlx.simulator.strict.unsaid import kind

_WORDS = {"__global": "device", "__local": "threadgroup", "__constant": "constant"}
_SPACE = re.compile(r"__(?:global|local|constant)\b")
_CAST = re.compile(r"\[with To = (.*), From = (.*)\]")
_POSITION = re.compile(r"in (\d+)\w\w argument")
_IMPLICIT = re.compile(r"\(the implicit (copy|move) (constructor|assignment operator)\)")
_CANDIDATE = re.compile(r"^candidate [^:]*: ")
_VALUE = re.compile(r"no viable conversion from '(?:const )?__(?:global|local|constant) [^*&\['']+'")
_REMEDY = "give both sides the same address space: device, threadgroup, constant or thread"
_REMEDIES = {
    "cannot assign": "constant memory is read only: copy the value into a variable, or make the buffer `device`",
    "object parameter": "give the class a method for that space, `f() const device`, or copy the object into a variable first",
}
_ERROR = 3


def read(clang: Any, unit: Any, file: str) -> Iterator[Finding]:
    for d in unit.diagnostics:
        if d.severity < _ERROR:
            continue
        notes = list(d.children)
        place = next((x.location for x in (d, *notes) if x.location.file and x.location.file.name == file), None)
        if place is None:
            continue
        said = _said(clang, unit, d.spelling, notes)
        if said:
            message, remedy = said
            yield Finding("address-space", place.line, place.column, message, remedy)


def _said(clang: Any, unit: Any, message: str, notes: list[Any]) -> tuple[str, str] | None:
    """Message and remedy of an error that is about spaces."""
    spelled = [n.spelling for n in notes]
    if cast := next((m for n in spelled if "no matching function for call to 'cast'" in message and (m := _CAST.search(n))), None):
        return f"the cast from {_type(cast[2])} to {_type(cast[1])} changes the address space", _REMEDY
    if not _is_about_spaces(message, spelled) or _is_copy(clang, unit, message, notes):
        return None
    reason = next((_CANDIDATE.sub("", n) for n in spelled if _is_about_spaces(n, [])), "")
    remedy = next((r for part, r in _REMEDIES.items() if part in message), _REMEDY)
    return _words(f"{message}: {reason}" if reason else message), remedy


def _is_about_spaces(message: str, notes: list[str]) -> bool:
    if "must be initialized" in message:  # as it is, but by something that could not be read
        return False
    if any("address space" in t for t in (message, *notes)) or any(_SPACE.search(n) for n in notes):
        return True
    types = re.findall(r"'([^']+)'", message)
    if "object parameter" in message:
        return any(_SPACE.search(t) for t in types)
    spaces = {tuple(_SPACE.findall(t)) for t in types if re.search(r"[*&\[]", t)}
    return len(spaces) > 1 or ("__constant" in message and "cannot assign" in message)


def _is_copy(clang: Any, unit: Any, message: str, notes: list[Any]) -> bool:
    """Whether the error is that an object is copied from one space to another, which Metal does and clang's C++ does not."""
    if _VALUE.search(message):
        return True
    for note in notes:
        text = note.spelling
        if "to construct an object in address space" in text or (_IMPLICIT.search(text) and "address space" in text):
            return True
        if "cannot bind reference in address space" in text and (position := _POSITION.search(text)):
            candidate = clang.Cursor.from_location(unit, note.location)
            parameters = [c for c in candidate.get_children() if c.kind == clang.CursorKind.PARM_DECL]
            number = int(position[1]) - 1
            if number < len(parameters) and kind(parameters[number].type.get_canonical()) == clang.TypeKind.RECORD:
                return True
    return False


def _type(text: str) -> str:
    return _words(f"'{text}'")


def _words(text: str) -> str:
    """clang's words for address spaces as Metal's; a type without one is a thread's."""
    for theirs, ours in _WORDS.items():
        text = re.sub(rf"\b{theirs}\b", ours, text)
    text = re.sub(r"\b(?:generic|default) address space", "the thread's address space", text)
    return text.replace("const constant", "constant").replace(" *'", "*'").replace(" &'", "&'")
