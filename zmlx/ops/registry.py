"""The one registry of op records; importing `zmlx.ops` fills it."""

from zmlx.ir.opdef import Registry

REGISTRY = Registry()
define = REGISTRY.define
