"""MSL has no double: a floating literal without suffix is a float; `h` makes a half and `bf` a bfloat."""

from __future__ import annotations

import re
import struct

from zmlx.simulator.translate.tokens import NUMBER, Tokens

_FLOAT = re.compile(
    r"((?:\d[\d']*\.?[\d']*|\.\d[\d']*)(?:[eE][-+]?\d+)?|0[xX](?:[\da-fA-F']+\.?[\da-fA-F']*|\.[\da-fA-F']+)[pP][-+]?\d+)"
    r"(|h|H|bf|BF)$"
)


def convert(tokens: Tokens) -> None:
    for segment in tokens.all_segments():
        for i in segment:
            if tokens.kinds[i] == NUMBER:
                tokens.texts[i] = convert_literal(tokens.texts[i])


def convert_literal(text: str) -> str:
    match = _FLOAT.match(text)
    if not match:
        return text
    digits, suffix = match.groups()
    if not suffix:
        return text + "f" if re.search(r"[.pP]" if digits[:2] in ("0x", "0X") else r"[.eE]", digits) else text
    plain = digits.replace("'", "")
    value = float.fromhex(plain) if plain[:2] in ("0x", "0X") else float(plain)
    if suffix in "hH":
        return f"half({_spelled(plain, value, _to_half(value))})"
    return f"bfloat({_spelled(plain, value, _to_bfloat(value))})"


def _to_half(value: float) -> float:
    try:
        return float(struct.unpack("e", struct.pack("e", value))[0])
    except OverflowError:
        return float("inf")


def _to_bfloat(value: float) -> float:
    """Rounds to 8 significant bits, ties to even."""
    bits: int = struct.unpack("Q", struct.pack("d", value))[0]
    low = 52 - 7
    bits += (1 << (low - 1)) - 1 + ((bits >> low) & 1)
    return float(struct.unpack("d", struct.pack("Q", bits >> low << low))[0])


def _spelled(text: str, value: float, rounded: float) -> str:
    """A float literal that is exactly `rounded`: the user's own digits when they are exact, else hexadecimal."""
    if rounded == float("inf"):
        return "__builtin_inff()"
    if value != rounded:
        return rounded.hex() + "f"
    return text + ("f" if re.search(r"[.eEpP]", text) else ".0f")
