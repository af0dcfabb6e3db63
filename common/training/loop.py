"""`fit`: a drop-in for `keras.Model.fit` that runs a whole epoch as one compiled program.

`keras.Model.fit` returns to Python after every mini-batch. For a small net that costs 15 times the
arithmetic. Here the data rest on the device, and one `tf.while_loop` gathers each mini-batch and
runs Keras's own `train_step` on it. Optimizers, losses, metrics, callbacks and `History` are
Keras's own, and the numbers are those of `model.fit` on mini-batches in the same order.
"""

import functools
import random
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.ingredients.callbacks import Evaluate
from common.system import UsageError
from common.training import context, distribution, programs, resume

# Evaluated at once: few enough that a dense layer's inputs stay in the processor's cache, and that
# the responses to large images fit into memory.
EVALUATION_BATCH, EVALUATION_BYTES = 1_000, 2**24
BATCH_METHODS = (
    *("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
)


def fit(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: int | str = "auto",
    callbacks: Any = None,
    *,
    validation_data: Any = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_freq: int = 1,
    **others: Any,
) -> keras.callbacks.History:
    """Trains a compiled model as `model.fit` with these arguments does, only faster.

    x (n, ...) and y (n, ...) rest on the device, but a numpy.memmap is read as it is needed. Since
    an epoch is one program, batch methods of Keras's own callbacks are called once an epoch, as
    under `steps_per_execution`. Other arguments and inputs, eager execution, callbacks of one's own
    with methods for batches or tests, and all under another backend go to `model.fit` itself.

    Within `context.running` the seed of the order, progress and checkpoints come from there, and
    nothing is printed. Outside, the order is drawn as `keras.utils.set_random_seed` decides.

    Raises ValueError for lengths that disagree or a count below one, UsageError for a mini-batch
    that the replicas cannot share out.
    """
    inside = context.current()
    verbose = 0 if inside else verbose
    own = keras.tree.flatten(callbacks or [])
    validation = validation_data if isinstance(validation_data, tuple | list) else ()
    arrays = (x, y, *validation)
    known = (
        keras.backend.backend() == "tensorflow"
        and not others
        and isinstance(validation_data, tuple | list | None)
        and isinstance(validation_freq, int)
        and not isinstance(callbacks, keras.callbacks.CallbackList)
        and all(isinstance(array, np.ndarray) for array in arrays)
        and len(arrays) in (2, 4)
        and model.compiled
        and not model.run_eagerly
        and not any(map(_has_batch_methods, own))
    )
    if not known:
        if distribution.has_workers():  # keras-team/keras#20585
            expected = "arrays and Keras's callbacks, which several workers can share"
            raise UsageError(f"fit: expected {expected}, received other arguments")
        distribution.prepare(model)
        others |= {"validation_data": validation_data, "validation_freq": validation_freq}
        others |= {"steps_per_epoch": steps_per_epoch, "initial_epoch": initial_epoch}
        if inside:
            inside.begun += 1
            done = keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: inside.progress((epoch + 1) / epochs)
            )
            callbacks = [*own, done]
        return model.fit(x, y, batch_size, epochs, verbose, callbacks, shuffle=shuffle, **others)
    batch_size = 32 if batch_size is None else batch_size
    counts = {"batch_size": batch_size, "epochs": epochs, "validation_freq": validation_freq}
    for name, count in {**counts, "steps_per_epoch": steps_per_epoch}.items():
        if count is not None and count < 1:
            raise ValueError(f"expected {name} of at least 1, received {count}")
    distribution.check_batch(batch_size)
    distribution.prepare(model)
    train = _epochs(model, model.train_step, batch_size, x, y)
    validate = _evaluation(model, *validation) if validation else None
    for callback in own:
        if isinstance(callback, Evaluate):
            callback.evaluate = _evaluation(model, callback.x, callback.y)
    steps = steps_per_epoch or -(-len(x) // batch_size)
    params = {"verbose": verbose, "epochs": epochs, "steps": steps}
    callback_list = keras.callbacks.CallbackList(
        own, add_history=True, add_progbar=verbose != 0, model=model, **params
    )
    model.stop_training = False
    run = inside or context.Context(seed=random.randrange(2**31))
    run.begun += 1
    details = epochs, batch_size, steps, shuffle, initial_epoch, run.seed
    checkpoints = resume.Checkpoints(
        run.folder, model, callback_list.callbacks, run.seen, arrays, details
    )
    callback_list.on_train_begin()
    logs: dict[str, float] = {}
    restored = checkpoints.restore() or model._initial_epoch  # by BackupAndRestore
    for epoch in range(restored or initial_epoch, epochs):
        if model.stop_training:
            break
        callback_list.on_epoch_begin(epoch)
        callback_list.on_train_batch_begin(0)
        rows = _rows_of_epoch(run.seed, epoch, len(x), batch_size, steps, shuffle)
        logs = train(rows)
        callback_list.on_train_batch_end(-(-len(rows) // batch_size) - 1, logs)
        if validate and (epoch + 1) % validation_freq == 0:
            logs |= {f"val_{name}": value for name, value in validate().items()}
        callback_list.on_epoch_end(epoch, logs)
        run.progress((epoch + 1) / epochs)
        checkpoints.save(epoch + 1)
    model.optimizer.finalize_variable_values(model.trainable_weights)
    callback_list.on_train_end(logs)
    return model.history


def evaluate(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Loss and metrics of a compiled model, as `model.evaluate(x, y, return_dict=True)`, faster.

    Raises ValueError for no examples, and for lengths that disagree.
    """
    if keras.backend.backend() != "tensorflow":
        return model.evaluate(x, y, verbose=0, return_dict=True)
    return _evaluation(model, x, y)()


def order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order in which the n examples are seen in an epoch: a permutation (n,), int32."""
    return np.random.default_rng((seed, epoch)).permutation(n).astype(np.int32)


def compiles_with_xla(model: keras.Model) -> bool:
    """Whether XLA pays: for dense nets by far, but not with convolutions or dropout on a CPU.

    A convolution, known by a kernel of more than two axes, takes it minutes to compile. Random
    numbers it draws one by one: a 784-512-512-10 net with dropout took 545 ms for 1,000 images, and
    67 ms without XLA.
    """
    convolves = any(len(weight.shape) > 2 for weight in model.weights)
    families = {kind.__name__ for layer in model._flatten_layers() for kind in type(layer).__mro__}
    return not convolves and not any("Dropout" in name or "Noise" in name for name in families)


def _has_batch_methods(callback: Any) -> bool:
    """Whether code outside Keras wants a call for each mini-batch or around each validation."""
    methods = [getattr(callback, name, None) for name in BATCH_METHODS]
    modules = [getattr(each, "__module__", None) or "keras" for each in methods]
    return any(module.partition(".")[0] != "keras" for module in modules)


def _rows_of_epoch(
    seed: int, epoch: int, n: int, batch_size: int, steps: int, shuffle: bool
) -> np.ndarray:
    """Which examples an epoch sees, in which order, (size,) int32.

    An epoch goes on where the one before ended, and is cut short where the data end inside it.
    """
    in_all = -(-n // batch_size)  # steps through the data
    number, place = divmod(epoch, -(-in_all // steps))
    rows = order(seed, number, n) if shuffle else np.arange(n, dtype=np.int32)
    rows = rows[place * steps * batch_size :][: steps * batch_size]
    if len(rows) <= (steps - 1) * batch_size:
        expected = f"expected steps_per_epoch to divide the {in_all} steps through the data"
        warnings.warn(f"Your input ran out of data; {expected}, received {steps}", stacklevel=3)
    return rows


def _evaluation(model: keras.Model, x: np.ndarray, y: np.ndarray) -> Callable[[], dict[str, float]]:
    """A function that evaluates the model on all examples, the last incomplete batch included."""
    batch_size = min(EVALUATION_BATCH, max(1, EVALUATION_BYTES // max(1, x[:1].nbytes)))
    run = _epochs(model, model.test_step, batch_size, x, y)
    return lambda: run(np.arange(len(x), dtype=np.int32))


def _epochs(
    model: keras.Model, step: Callable, batch_size: int, x: np.ndarray, y: np.ndarray
) -> Callable[[np.ndarray], dict[str, float]]:
    """A function that takes `step` on every mini-batch of the rows given, and returns the metrics.

    An epoch is one program, unless each mini-batch is read from a file, which may be larger than
    the memory (`numpy.memmap`), or shared by replicas (`common.training.distribution`).
    """
    if len(x) != len(y) or len(x) == 0:
        received = f"at least one; received {len(x)} and {len(y)}"
        raise ValueError(f"expected as many inputs as targets, {received}")
    model._symbolic_build(data_batch=(x[:1], y[:1]))  # `tf.while_loop` cannot create variables
    if (replicas := distribution.replicas()) == 1 and not isinstance(x, np.memmap):
        run = _program(model, step, batch_size, x, y)
    else:
        take_step = distribution.shared(model, step, replicas == 1 and compiles_with_xla(model))
        size = -(-batch_size // replicas) * replicas

        def run(rows: np.ndarray) -> dict[str, Any]:
            model.reset_metrics()
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                take_step(tf.constant(x[batch]), tf.constant(y[batch]))
            return model.get_metrics_result()

    return lambda rows: {name: _plain(value) for name, value in run(rows).items()}


def _plain(value: Any) -> float | np.ndarray:
    """A number, or the array of a metric that has one for each class."""
    value = np.asarray(tf.convert_to_tensor(value))
    return value if value.ndim else float(value)


def _program(
    model: keras.Model, step: Callable, batch_size: int, x: np.ndarray, y: np.ndarray
) -> Callable[[np.ndarray], dict[str, tf.Tensor]]:
    """An epoch as one program, on arrays that rest on the device."""

    def program(x: tf.Tensor, y: tf.Tensor, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        def batch(start: tf.Tensor | int, size: int) -> list[tf.Tensor]:
            chosen = tf.slice(rows, [start], [size])  # of a static length, which XLA needs
            step((tf.gather(x, chosen), tf.gather(y, chosen)))
            return [start + size]

        model.reset_metrics()
        rest = rows.shape[0] % batch_size
        end = rows.shape[0] - rest
        if end:
            # Gradients flow within a step, never through the loop, so nothing needs to be kept.
            tf.while_loop(lambda at: at < end, lambda at: batch(at, batch_size), [tf.constant(0)])
        if rest:
            batch(end, rest)
        return model.get_metrics_result()

    on_device = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    xla = compiles_with_xla(model)

    @functools.cache
    def traced(n: int) -> Callable:
        """The program for n rows."""
        inputs = *on_device, tf.TensorSpec([n], tf.int32)
        return programs.traced(model, step.__name__, program, inputs, xla, batch_size)

    return lambda rows: traced(len(rows))(*on_device, tf.constant(rows))
