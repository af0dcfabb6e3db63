"""Compiled programs that models of one structure share, as the seeds of an arm do.

TensorFlow traces a program for each model, and XLA compiles it: three to four seconds for a net of
30 layers, which then trains for five. But models of Keras's own layers differ only in what their
configuration says and in the values of their variables, and those are inputs of a program.
"""

import inspect
import itertools
import json
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any

import keras
import tensorflow as tf

MOST = 32  # programs that are kept, each with the variables of the model that it was traced for
_KEPT: OrderedDict[tuple, tuple[Any, list[int]]] = OrderedDict()


def traced(
    model: keras.Model, name: str, program: Callable, inputs: Sequence, xla: bool, *details: int
) -> Callable[..., dict[str, tf.Tensor]]:
    """The compiled program of a built model: its own, or that of one that is alike.

    Args:
        name: of the model's method that the program calls.
        program: a function of tensors and of the model's variables.
        inputs: the tensors, or their specifications.
        xla: whether XLA compiles it.
        details: whatever else the program depends on.
    """
    held = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    handles = {id(one.value.handle): one.value.handle for one in held}
    said = structure(model, name)
    shapes = tuple((tuple(one.shape), one.dtype) for one in (*inputs, *(v.value for v in held)))
    key = said, name, shapes, xla, details
    if said and key in _KEPT:
        _KEPT.move_to_end(key)
        found, places = _KEPT[key]
        everything = list(handles.values())
        own = [everything[place] for place in places]
        return lambda *tensors: found._call_flat(list(tensors), own)
    compiled = tf.function(program, jit_compile=xla, autograph=False)
    found = compiled.get_concrete_function(*inputs)
    captured = [id(one) for one in found.captured_inputs]
    if said and handles.keys() >= set(captured):  # nothing else than the variables can differ
        _KEPT[key] = found, [list(handles).index(one) for one in captured]
        while len(_KEPT) > MOST:
            _KEPT.popitem(last=False)
    return found


def structure(model: keras.Model, name: str) -> tuple[str | Callable, ...] | None:
    """All that the program of a model's method depends on, but shapes: JSON text, and code.

    Models of one structure have the same program. None: that cannot be told, since the model has
    parts that are not Keras's own, or whose configuration does not tell all. The loss may be a
    function of one's own, and the schedule of the learning rate a class, if they read nothing that
    may change.
    """
    method = getattr(getattr(model, name), "__func__", None)
    if any(map(_hides, model._flatten_layers())) or method is not getattr(keras.Model, name):
        return None
    if len(model.outputs) != 1:  # metrics are named after outputs
        return None
    # Numbers for names of layers, by their first use: Keras counts layers up from net to net.
    names = defaultdict(itertools.count().__next__)
    try:
        with warnings.catch_warnings(action="ignore"):  # of functions without a name
            said = keras.saving.serialize_keras_object(model)
        compiled = said.pop("compile_config")
        code = []
        if isinstance(model.loss, FunctionType) and not _is_keras(model.loss.__module__):
            _check(model.loss)
            code.append(model.loss)
            del compiled["loss"]
        optimizer = compiled["optimizer"]["config"]
        if optimizer["weight_decay"]:  # some weights may be exempted
            return None
        del optimizer["name"]
        schedule = model.optimizer._learning_rate
        if not isinstance(optimizer["learning_rate"], dict):
            del optimizer["learning_rate"]  # a variable
        elif not _is_keras(type(schedule).__module__):
            _check_schedule(type(schedule))
            code.append(type(schedule))
            optimizer["learning_rate"] = vars(schedule)
        parts = _plain(said, names), _plain(compiled), keras.config.epsilon()
        return json.dumps(parts, sort_keys=True), *code
    except (KeyError, ValueError, TypeError, NotImplementedError):
        return None


def _check(function: FunctionType) -> None:
    """Raises ValueError for a function that may read more than its arguments and Keras.

    And for one that was defined inside a function, since no other model has the same one.
    """
    code, read = function.__code__, inspect.getclosurevars(function).globals.values()
    if (
        "<" in function.__qualname__
        or function.__closure__
        or function.__defaults__
        or function.__kwdefaults__
        or any(isinstance(one, CodeType) for one in code.co_consts)  # whose names are not seen
        or not all(isinstance(one, ModuleType) and _is_keras(one.__name__) for one in read)
    ):
        raise ValueError(f"{code.co_qualname} may read what changes")


def _check_schedule(kind: type) -> None:
    """Raises ValueError for a class whose results may depend on more than its state and Keras."""
    others = {name for name in vars(kind) if not name.startswith("__")} - {"get_config"}
    if kind.__bases__ != (keras.optimizers.schedules.LearningRateSchedule,) or others:
        raise ValueError(f"{kind.__name__} has more than a __call__")
    _check(kind.__call__)


def _hides(layer: keras.Layer) -> bool:
    """Whether a layer may hold what its configuration does not tell: code, or constants.

    The loss is looked at elsewhere; how the weights begin does not matter.
    """
    held = [
        one
        for name, one in vars(layer).items()
        if isinstance(one, FunctionType | tf.Tensor)
        and not (name == "loss" or name.endswith("_initializer"))
    ]
    return not all(_is_keras(one.__module__) for one in (type(layer), *held))


def _is_keras(module: str) -> bool:
    return module.partition(".")[0] == "keras"


def _plain(value: Any, names: Mapping[str, int] | None = None) -> Any:
    """A configuration without what does not matter; raises ValueError if a part is not Keras's.

    Initial values do not matter, nor the seeds of random numbers, which are variables. Names of
    layers are replaced by numbers where `names` are given.
    """
    if isinstance(value, list | tuple):
        if names is not None and [type(one) for one in value] == [str, int, int]:
            return [names[value[0]], *value[1:]]  # an output of a layer
        return [_plain(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    module, kind = value.get("module") or "keras", value.get("class_name")
    if not _is_keras(module) or kind in ("Lambda", "__lambda__"):
        raise ValueError(f"{module}.{kind} is not Keras's own")
    if kind == "DTypePolicy":  # whose name says all
        return value
    return {
        key: names[one] if names is not None and key == "name" else _plain(one, names)
        for key, one in value.items()
        if not key.endswith(("_initializer", "seed", "registered_name"))
    }
