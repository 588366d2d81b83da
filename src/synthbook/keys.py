"""What tells a thing that is kept from another: settings, data and source code as one short text.

The source is that of every definition which the code can reach, in this package or in a reader's
notebook, without comments, docstrings and the names of modules: moving, splitting and merging
modules changes no key, and changing a callback does. What a reader's function refers to counts with
its content: an object is its class and what a pickle of it would hold. What has no such content, as
an open file, is refused, since two of them could not be told apart.
"""

from __future__ import annotations

import copyreg
import dataclasses
import dis
import functools
import hashlib
import json
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from synthbook.errors import InputError
from synthbook.sources import as_it_lies, file_of, indexed, module_of, reached


def key_hash(key: Mapping[str, Any]) -> str:
    """Return 16 hex digits of ``key`` as canonical JSON (order of names does not matter).

    A callable stands for its source (`code_of`), a dataclass for its fields, an object with a
    ``fingerprint`` for that. What has no text of its own, as an open file, is a TypeError.
    """
    return hashlib.sha256(_canonical(key).encode()).hexdigest()[:16]


def _canonical(key: Mapping[str, Any], **layout: Any) -> str:
    return json.dumps(key, sort_keys=True, default=_plain, **layout)


def _plain(value: Any) -> Any:
    fingerprint = getattr(value, "fingerprint", None)
    if callable(fingerprint) and not isinstance(value, type):
        return fingerprint()
    if callable(value):
        return {"code": code_of(value)}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping | set | frozenset | range):
        return dict(value) if isinstance(value, Mapping) else sorted(value)
    if callable(item := getattr(value, "item", None)):
        return item()  # a scalar of NumPy or torch
    raise TypeError(f"{value!r} cannot be part of a key; give what tells it from others")


# ---- code ---------------------------------------------------------------------------------------


def code_of(function: Callable[..., Any], *, caught: bool = True) -> str:
    """Return 16 hex digits that change when the code of ``function``, or what it calls, does.

    Within the package that is every definition which its source names, at any depth; elsewhere
    (in a notebook) the compiled code, with the functions, values, arrays and networks that it
    refers to, and what it asks of a reader's modules. Of other packages only names count, since
    their versions are in the key. Comments, layout and docstrings do not count, nor in which module
    a definition stands.

    ``caught`` adds what a function made inside another one has caught, as the threshold of a
    filter: the parts of a key need it, and what is built by a key must not depend on more.

    Raises:
        InputError: if a function outside the package refers to what has no content to tell, as an
            open file or a lock.
    """
    as_it_lies.cache_clear()
    return key_hash({"code": sorted(_pieces(function, {id(function): (function, "")}, caught))})


def code_behind(source: str, among: str = "") -> str:
    """Return 16 hex digits of a piece of Python and of the package's code that it can reach.

    ``among`` is more Python, which counts as far as the piece reaches it: a notebook's other cells.
    """
    as_it_lies.cache_clear()
    module, piece = indexed(f"{among}\n{source}"), indexed(source)
    return key_hash({"code": sorted(reached(module, piece.statements[""]))})


# ---- a reader's functions and objects ------------------------------------------------------------

# What was told: id -> (the object, held so that its id stays its own; what it is in plain terms).
_Told = dict[Any, tuple[Any, Any]]

_OF_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")  # steps of compiled code


class _Opaque(TypeError):
    """An object that has no content to tell."""


def _pieces(value: Any, told: _Told, caught: bool = True) -> set[str]:
    """Return the texts that stand for a callable, or another object, and all that it reaches."""
    if isinstance(value, functools.partial):
        held = {"args": value.args, "keywords": value.keywords}
        return _pieces(value.func, told, caught) | _with(held, told, caught)
    if isinstance(value, types.MethodType):
        return _pieces(value.__func__, told, caught) | _with({"self": value.__self__}, told, caught)
    if isinstance(value, types.FunctionType):
        return _function(value, told, caught)
    if isinstance(value, type):
        return _class(value, told)
    if isinstance(value, types.BuiltinFunctionType) and (
        value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    ):
        return {f"{value.__module__ or ''}.{value.__qualname__}"}
    if hasattr(value, "__wrapped__") and _library(type(value).__module__):  # functools.cache
        return _pieces(value.__wrapped__, told, caught)
    return _pieces(type(value), told) | _referred(_content(value), told)


def _with(held: Mapping[str, Any], told: _Told, caught: bool) -> set[str]:
    return {_canonical({k: _plainly(v, told) for k, v in held.items()})} if caught else set()


def _function(value: types.FunctionType, told: _Told, caught: bool) -> set[str]:
    home, name, pieces = value.__module__ or "", value.__qualname__, set()
    if inner := getattr(value, "__wrapped__", None):  # of a decorator, which gives it its name
        pieces = _pieces(inner, told, caught)
        home, name = value.__globals__.get("__name__", ""), value.__code__.co_qualname
        if _library(home):
            return pieces  # torch's decorators
    closure = {}
    if caught and value.__closure__:
        cells = zip(value.__code__.co_freevars, value.__closure__, strict=True)
        closure = {name: c.cell_contents for name, c in cells if c != types.CellType()}
    module, start = module_of(home), name.partition(".")[0]
    if module and start in module.statements:
        pieces |= reached(module, module.statements[start])
        return pieces | _referred(closure, told, of=name)
    if _library(home):
        return {f"{home}.{name}"}
    codes = [*_codes(value.__code__)]
    steps = [step for code in codes for step in dis.get_instructions(code)]
    asked = {name for code in codes for name in code.co_names}
    names = {step.argval for step in steps if step.opname in _OF_GLOBALS}
    values = {name: value.__globals__[name] for name in names & value.__globals__.keys()} | closure
    later = {step.argval for step in steps if step.opname == "IMPORT_NAME"}
    for full in later | {f"{name}.{member}" for name in later for member in asked}:
        if file_of(full):
            import_module(full)  # so that it counts before the function runs, and after
    values |= {name: sys.modules[name] for name in later & sys.modules.keys()}
    values |= {"its defaults": [value.__defaults__, value.__kwdefaults__]}
    pieces |= {_compiled(code) for code in codes}
    return pieces | _referred(values, told, of=name, asked=asked)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function and of all that are made inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _compiled(code: types.CodeType) -> str:
    """Return what a compiled function does, its docstring and line numbers left out."""
    first, *others = code.co_consts or (None,)
    documented = isinstance(first, str) and (
        code.co_flags & 1 << 26 if sys.version_info >= (3, 13) else code.co_name[0] != "<"
    )  # <genexpr> and the like have none
    constants = [None if documented else first, *others]
    constants = [
        sorted(map(repr, c)) if isinstance(c, frozenset) else c  # its order is another each time
        for c in constants
        if not isinstance(c, types.CodeType)
    ]
    return repr((code.co_code, constants, code.co_names, code.co_varnames))


def _class(value: type, told: _Told) -> set[str]:
    home, start = value.__module__, value.__qualname__.partition(".")[0]
    module = module_of(home)
    if module and start in module.statements:
        return reached(module, module.statements[start])
    if _library(home):
        return {f"{home}.{value.__qualname__}"}
    members = {name: _bare(member) for name, member in vars(value).items() if _counts(name, member)}
    members["its bases"] = [base for base in value.__bases__ if base is not object]
    return {value.__qualname__} | _referred(members, told, of=value.__qualname__)


def _counts(name: str, member: Any) -> bool:
    """Return whether a member of a class is the reader's, and not what Python keeps there."""
    kinds = types.FunctionType | staticmethod | classmethod | property
    return isinstance(member, kinds) or not (name.startswith("__") or name == "_abc_impl")


def _bare(member: Any) -> Any:
    if isinstance(member, property):
        return [member.fget, member.fset, member.fdel]
    if isinstance(member, cached_property):
        return member.func
    return member.__func__ if isinstance(member, staticmethod | classmethod) else member


def _library(home: str) -> bool:
    """Return whether a module is Python's own or an installed one: its version is in the key."""
    if home == "__main__":  # in whatever file a notebook's kernel, or another program, begins
        return False
    file = getattr(sys.modules.get(home), "__file__", None) or ""
    installed = {"site-packages", "dist-packages"} & {*Path(file).parts}
    return home.partition(".")[0] in sys.stdlib_module_names or bool(installed)


def _referred(
    values: Mapping[str, Any], told: _Told, *, of: str = "", asked: Iterable[str] = ()
) -> set[str]:
    """Return the texts of the values that a function refers to by name.

    ``of`` is the function's or the class's name, for the error; ``asked`` what it asks of modules.
    """
    pieces: set[str] = set()
    for name, value in sorted(values.items(), key=lambda pair: str(pair[0])):
        try:
            if isinstance(value, types.ModuleType):
                pieces |= _members(value, told, of, frozenset(asked))
            else:
                pieces.add(f"{name}={_canonical({'': _plainly(value, told)})}")
        except (_Opaque, RecursionError) as error:
            if not of:
                raise
            kind, inner = type(value).__qualname__, ""
            if isinstance(error, _Opaque) and str(error) != kind:
                inner = f" with a {error} in it"
            raise InputError(
                f"'{of}' cannot be told from others by a key: it refers to '{name}', a {kind}"
                f"{inner}, whose content cannot be told; hand it in as an argument, or give it a "
                "method fingerprint() that returns a text"
            ) from error
    return pieces


def _members(value: types.ModuleType, told: _Told, of: str, asked: frozenset[str]) -> set[str]:
    """Return the texts of a module: its name, and of one that is no library what is asked of it."""
    pieces, place = {value.__name__}, (id(value), asked)
    if asked and place not in told and not _library(value.__name__):
        told[place] = value, None
        members = {name: vars(value)[name] for name in asked & vars(value).keys()}
        pieces |= _referred(members, told, of=of, asked=asked)
    return pieces


def _plainly(value: Any, told: _Told) -> Any:
    """Return what a value is as JSON takes it, and what is met again as such."""
    if value is None or isinstance(value, str | int | float):
        return value
    if id(value) not in told:
        told[id(value)] = value, {"again": len(told)}
        told[id(value)] = value, _apart(value, told)
    return told[id(value)][1]


def _apart(value: Any, told: _Told) -> Any:
    fingerprint = getattr(value, "fingerprint", None)
    if callable(fingerprint) and not isinstance(value, type):
        return fingerprint()
    if isinstance(value, list | tuple):
        return [_plainly(one, told) for one in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _plainly(one, told) for name, one in sorted(value.items())}
    if isinstance(value, Mapping):
        pairs = [*value.items()]
        return {"pairs": sorted(_canonical({"": _plainly(pair, told)}) for pair in pairs)}
    if isinstance(value, set | frozenset):
        return {"set": sorted(_canonical({"": _plainly(one, told)}) for one in value)}
    if isinstance(value, bytes | bytearray):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return {"code": key_hash({"code": sorted(_pieces(value, told))})}


def _content(value: Any) -> dict[str, Any]:
    """Return what an object holds beside its class, as pickle takes it apart.

    What it has computed from that, as `functools.cached_property` keeps it, is left out.
    """
    torch = sys.modules.get("torch")
    try:
        if torch and isinstance(value, torch.Tensor):  # a pickle of it holds an address
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            return {"of": [str(value.dtype), [*value.shape]], "bytes": flat.numpy().tobytes()}
        known = copyreg.dispatch_table.get(type(value))
        taken = known(value) if known else value.__reduce_ex__(2)
    except Exception as error:  # whatever a library raises of what it cannot take apart
        raise _Opaque(type(value).__qualname__) from error
    if isinstance(taken, str):
        return {"name": taken}
    make, arguments, state, *items = (*taken, None, None, None)[:5]
    if isinstance(state, dict):
        made = {k for k in state if isinstance(getattr(type(value), k, 0), cached_property)}
        state = {k: v for k, v in state.items() if k not in made}
    plain = make is copyreg.__newobj__ and len(arguments) == 1 and not any(items)
    if plain and (state is None or isinstance(state, dict)):
        return state or {}
    items = [None if some is None else [*some] for some in items]
    return {"made by": make, "of": arguments, "state": state, "items": items}
