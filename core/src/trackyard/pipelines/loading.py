"""How is a pipeline found in a file or module that a command names?"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from trackyard.contract.errors import PipelineError, TrackyardError
from trackyard.pipelines.definition import Pipeline
from trackyard.system.suggestions import did_you_mean, listed


def load_pipeline(reference: str) -> Pipeline:
    """Import a file or module and give one of its pipelines.

    Args:
        reference: `train.py:training`, or `mypackage.train:training`; the name may be left out
            where there is one pipeline.

    Raises:
        PipelineError: There is no such file, module or pipeline, or it cannot be imported.
    """
    place, _, name = reference.partition(":")
    module = _import(place)
    pipelines = {key: value for key, value in vars(module).items() if isinstance(value, Pipeline)}
    own = {key: p for key, p in pipelines.items() if p.function.__module__ == module.__name__}
    if not name:
        if len(own or pipelines) == 1:
            return next(iter((own or pipelines).values()))
        if pipelines:
            raise PipelineError(
                f"{place} has several pipelines; type one of {listed(pipelines)}, "
                f"such as {place}:{next(iter(pipelines))}"
            )
    elif name in pipelines:
        return pipelines[name]
    elif name in vars(module):
        raise PipelineError(
            f"{place}: {name!r} is no pipeline; write @pipeline above a function"
            f"{f', or type one of {listed(pipelines)}' if pipelines else ''}"
        )
    if not pipelines:
        raise PipelineError(f"{place} has no pipeline; write @pipeline above a function")
    hint = did_you_mean(name, pipelines) or f"; pipelines are {listed(pipelines)}"
    raise PipelineError(f"{place} has no pipeline {name!r}{hint}")


def _import(place: str) -> ModuleType:
    path = Path(place)
    is_file = path.suffix == ".py" or os.sep in place or path.is_file()
    if not is_file:
        _put_first(Path.cwd())
        return _import_module(place)
    if not path.is_file():
        raise PipelineError(f"there is no file {place!r}{_nearest_file(path)}")
    path = path.absolute()
    _put_first(path.parent)  # as `python train.py` does
    return _import_file(path)


def _import_module(name: str) -> ModuleType:
    if not name:
        raise PipelineError("name a file and a pipeline, such as train.py:training")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise PipelineError(f"there is no module {name!r}, and no file of that name") from error
        raise _broken(name, error, None) from error
    except TrackyardError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(name, error, None) from error


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PipelineError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except TrackyardError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(str(path), error, path) from error
    return module


def _broken(place: str, error: BaseException, path: Path | None) -> PipelineError:
    """Say what went wrong in the user's code, and in which line."""
    where = place
    if isinstance(error, SyntaxError):
        where = f"{error.filename or place}, line {error.lineno}"
        text = error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if path is not None and f.filename == str(path)]
        if own:
            where = f"{place}, line {own[-1].lineno}"
        text = str(error)
    return PipelineError(f"{where}: {type(error).__name__}: {text}")


def _put_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _nearest_file(path: Path) -> str:
    folder = path.parent
    names = [other.name for other in folder.glob("*.py")] if folder.is_dir() else []
    return did_you_mean(path.name, names)
