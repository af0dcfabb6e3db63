"""Answers --help and refuses bad flags of a recipe before Keras starts, which takes seconds.

For that the docstring and `Config` are read from the recipe's source. What needs the imported
recipe, such as the hyperparameters that a preset changes, is checked there.
"""

import ast
import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

from common.flags import parse_recipe, preset_of
from common.hyperparameters import Examples, Photographs, check_numbers
from common.system import UsageError

BACKENDS = ("tensorflow", "jax", "torch")
LIGHT = ("annotated_types", "dataclasses", "pathlib", "typing")  # imported for `Config`


def answer(process: list[str]) -> None:
    """Exits if `python -m RECIPE` is asked for help or given flags that the recipe refuses.

    Until the recipe begins, Ctrl-C ends this process at once.

    Args:
        process: all arguments of this process, from `python` on.
    """
    name = process[process.index("-m") + 1] if "-m" in process[:-1] else ""
    file = Path(__file__).parents[1] / f"{name.replace('.', '/')}.py"
    if not (name.startswith("recipes.") and file.is_file()):
        return
    arguments = process[process.index(name) + 1 :]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # or the traceback of an import is printed
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    try:
        if backend not in BACKENDS or not importlib.util.find_spec(backend):
            expected = f"expected one of {', '.join(BACKENDS)} that is installed"
            raise UsageError(f"KERAS_BACKEND: {expected}; received {backend}")
        has_preset = preset_of(arguments) != "default"
        if not (has_preset and {"-h", "--help"} & set(arguments)):
            _parse(name, file, arguments, has_preset)
    except UsageError as error:
        print(f"{file.stem}: {error}", file=sys.stderr)
        sys.exit(2)


def _parse(name: str, file: Path, arguments: list[str], has_preset: bool) -> None:
    """Runs Config and constants of a recipe's source, then parses its flags; raises UsageError."""
    tree, module, is_whole = ast.parse(file.read_text()), ModuleType(name), not has_preset
    module.__file__ = str(file)  # tyro reads the help texts from the comments there
    module.__dict__.update(Examples=Examples, Photographs=Photographs)
    before, sys.modules[name] = sys.modules.get(name), module
    try:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):  # `build_model`: all that `Config` needs is above
                break
            is_config = isinstance(node, ast.ClassDef) and node.name == "Config"
            if is_config or isinstance(node, ast.Assign) or getattr(node, "module", 0) in LIGHT:
                try:
                    exec(compile(ast.Module([node], []), file, "exec"), module.__dict__)
                except NameError:  # a constant that is made of what is not imported here
                    is_whole = False
        config = module.Config
        if not is_whole and hasattr(config, "__post_init__"):
            config.__post_init__ = lambda self: None  # what must hold between hyperparameters
        for part in parse_recipe(arguments, name, ast.get_docstring(tree), config()):
            check_numbers(part)
    finally:
        del sys.modules[name]
        if before:
            sys.modules[name] = before
