"""User code: functions of the user's own, loaded from a file or an installed package for the stage `python`.

RULES
- Which code is loaded is said by the configuration alone. It runs with the agent's rights, so a file that everybody may write is
  refused: whoever can write it could do anything that the agent can.
- A file is read once, checked and compiled from the same descriptor, and never again: a change takes a restart. Nothing is written
  beside it (no `__pycache__`).
- Whatever goes wrong is a ComponentError that says where in the file, at the time of `check` and of the start, not of the first record.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import stat
import sys
import traceback
from collections.abc import Callable
from hashlib import sha256
from types import ModuleType
from typing import Any

from shipper.config import suggest
from shipper.model.errors import ComponentError

SOURCE_BYTES_MAX = 1 << 20
"""Of a file. A larger one is no function but data in the wrong place."""
Function = Callable[[Any], object]


def from_file(path: str, name: str) -> Function:
    """The function `name` of the file at `path`. Raises ComponentError."""
    module = ModuleType(f"shipper_user_{sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}")
    module.__file__ = path
    source = _read(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up
    _run(lambda: exec(compile(source, path, "exec", dont_inherit=True), module.__dict__), path, "file")  # noqa: S102
    return _function(module, name, path, "function")


def from_package(module: str, name: str) -> Function:
    """The function `name` of an installed module. Raises ComponentError."""
    path = _run(lambda: _origin(module), module, "import")
    if path is not None:
        _refuse_writable(os.stat(path), path, "import")
    return _function(_run(lambda: importlib.import_module(module), module, "import"), name, module, "import")


def _origin(module: str) -> str | None:
    """The file of a module; None for one that has none (built in). Its packages are imported for this."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(f"there is no module {module}")
    return spec.origin if spec.has_location else None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            _refuse_writable(os.fstat(file.fileno()), path, "file")
            source = file.read(SOURCE_BYTES_MAX + 1)
    except OSError as error:
        raise ComponentError(f"{path} cannot be read: {error.strerror}", "file", "name the file with the function") from None
    if len(source) > SOURCE_BYTES_MAX:
        raise ComponentError(f"{path} has more than {SOURCE_BYTES_MAX} bytes", "file", "keep data in files of its own")
    return source


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe without a writer would be waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _refuse_writable(status: os.stat_result, path: str, field: str) -> None:
    """Refuse what everybody may write, and what is no file. Raises ComponentError."""
    if not stat.S_ISREG(status.st_mode):
        raise ComponentError(f"{path} is no file", field, "name the file with the function")
    if status.st_mode & stat.S_IWOTH:
        raise ComponentError(f"everybody may write {path}, and so run code in the agent", field, f"chmod o-w {path}")


def _run(do: Callable[[], Any], place: str, field: str) -> Any:
    """Do it, and tell what is raised as the line of the user's file that raised it. Raises ComponentError."""
    try:
        return do()
    except ComponentError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SyntaxError) and error.filename == place:
            raise ComponentError(f"{place}:{error.lineno}: {error.msg}", field, "it is not Python as it stands") from None
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
        where = f"{place}:{lines[-1]}" if lines else place
        message = " ".join(str(error).split())
        raise ComponentError(f"{where} raises {type(error).__name__}: {message[:200]}", field) from None


def _function(module: ModuleType, name: str, place: str, field: str) -> Function:
    """The function, if it can be called with a batch. Raises ComponentError."""
    found = getattr(module, name, None)
    if found is None:
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ComponentError(f"there is no {name} in {place}", field, suggest.hint(name, known))
    if not callable(found):
        raise ComponentError(f"{name} in {place} is no function", field, f"it is of the type {type(found).__name__}")
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found):
        raise ComponentError(f"{name} in {place} is no plain function", field, "write `def` without `async` and `yield`")
    try:
        inspect.signature(found).bind(None)
    except TypeError:
        raise ComponentError(f"{name} in {place} cannot be called with a batch", field, f"write `def {name}(batch):`") from None
    except ValueError:  # of some that are built in nobody knows
        pass
    return found  # type: ignore[no-any-return]
