"""Trains and evaluates a plain Keras model on arrays, a whole epoch as one compiled program.

`keras.Model.fit` returns to Python after every mini-batch. For a small net that costs 15 times the
arithmetic. Here the data rest on the device, and one `tf.while_loop` gathers each mini-batch and
runs Keras's own `train_step` on it. What `fit` promises stays true: optimizers, losses, metrics,
callbacks and `History` are Keras's own, and the numbers are those of `model.fit` on the same order
of batches.

Images may be uint8 (0..255): they are kept so and scaled to [0, 1] in the compiled step. Arrays
mapped from a file (`numpy.memmap`) may be larger than the memory: they are read in chunks, the next
one while the last is trained on.

Under a strategy of `common.distribution` the replicas share each mini-batch, step by step, and the
numbers stay the same. Within `resumable(folder)` a training that was killed goes on where it was,
to the last bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common import distribution, snapshot

# Evaluated at once: few enough that a dense layer's inputs stay in the processor's cache, and that
# the responses to large images fit into memory.
EVALUATION_BATCH, EVALUATION_BYTES = 1_000, 2**24
CHUNK_BYTES = 2**27  # of a mapped array in memory at once; two such chunks are
SAVE_SECONDS = 5.0  # of training at least between two checkpoints
SAVE_SHARE = 0.04  # of the time at most is spent on checkpoints
READ_TO_KNOW = 100  # examples of a mapped array that tell it from others
NEVER = 2**31 - 1  # more epochs than there are

Examples = tuple[np.ndarray, np.ndarray]


def fit(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    *,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss | Callable | str,
    metrics: Sequence[keras.metrics.Metric | Callable | str] = (),
    batch_size: int,
    epochs: int,
    steps_per_epoch: int | None = None,
    seed: int = 0,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    validation_data: Examples | Mapping[str, Examples] | None = None,
    validation_freq: int = 1,
) -> keras.callbacks.History:
    """Compiles the model and trains it as `keras.Model.fit` does, only faster.

    Args:
        model: a built keras.Model. Its `train_step` may be overridden.
        x: inputs (n, ...), float, or uint8 images that are scaled to [0, 1] in the step. A
            numpy.memmap is read as it is needed, anything else rests on the device.
        y: targets (n, ...).
        optimizer, loss, metrics: as for `keras.Model.compile`.
        batch_size: examples in a mini-batch; the last one of an epoch may be smaller.
        epochs: passes over the data at most; a callback may end the training sooner.
        steps_per_epoch: instead of a whole pass an epoch is that many mini-batches, and the next
            one goes on where it ended; None: a pass.
        seed: with the epoch it decides the order of the examples, see `order`.
        callbacks: Keras callbacks. Since an epoch is one program, their batch methods are called
            once an epoch, with the last batch, as Keras does under `steps_per_execution`.
        validation_data: (x, y), whose metrics appear as `val_...`, or several such sets by their
            prefix, `{"test": (x, y), ...}`. Never trained on.
        validation_freq: they are evaluated after every so many epochs.

    Returns:
        Keras's History. As in `fit`, the training metrics are running means over the epoch, while
        the weights change; the others belong to the weights at the epoch's end.

    Raises:
        ValueError: lengths that disagree, or a count below one.
        UsageError: a batch that the replicas cannot share out.
    """
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"expected as many inputs as targets, received {len(x)} and {len(y)}")
    counts = {"batch_size": batch_size, "epochs": epochs, "validation_freq": validation_freq}
    for name, count in {**counts, "steps_per_epoch": steps_per_epoch}.items():
        if count is not None and count < 1:
            raise ValueError(f"expected {name} of at least 1, received {count}")
    size = len(x) if steps_per_epoch is None else steps_per_epoch * batch_size
    steps = -(-size // batch_size)
    distribution.prepare(model, batch_size)
    model.compile(optimizer=optimizer, loss=loss, metrics=list(metrics))
    _build(model, x, y)
    train = _passes(model, model.train_step, batch_size, x, y, size)
    watched = _watched(model, validation_data)

    callback_list = keras.callbacks.CallbackList(
        list(callbacks),
        add_history=True,
        model=model,
        epochs=epochs,
        steps=steps,
    )
    model.stop_training = False
    keeper = _keeper(model, callback_list.callbacks, x, y, size, epochs, batch_size, seed, watched)
    callback_list.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(keeper.restore(), epochs):
        if model.stop_training:
            break
        callback_list.on_epoch_begin(epoch)
        callback_list.on_train_batch_begin(0)
        logs = train(order(seed, epoch, len(x), size))
        callback_list.on_train_batch_end(steps - 1, logs)
        if (epoch + 1) % validation_freq == 0:
            for prefix, evaluation in watched.items():
                logs |= {f"{prefix}_{name}": value for name, value in evaluation().items()}
        callback_list.on_epoch_end(epoch, logs)
        keeper.save(epoch + 1)
    optimizer.finalize_variable_values(model.trainable_weights)
    callback_list.on_train_end(logs)
    return model.history


class Record(keras.callbacks.Callback):
    """Keeps what a function measures after every epoch, in `values`; a resumed run has them all.

    Args:
        measure: () -> a number or an array.
    """

    remembers = ("values",)

    def __init__(self, measure: Callable[[], Any]):
        super().__init__()
        self._measure, self.values = measure, []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measures."""
        self.values.append(self._measure())


_RESUME_IN: list[Path] = []


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Within it every `fit` keeps its state in the folder now and then, and goes on from there.

    A state is known by what the training began with: weights, examples, optimizer and knobs. The
    same program run anew therefore finds its own, and another one finds nothing. What callbacks
    remember is kept if they say what that is (`remembers`) or have plain attributes only, as those
    of Keras have; else a `fit` keeps nothing, and begins anew.
    """
    _RESUME_IN.append(folder)
    try:
        yield
    finally:
        _RESUME_IN.pop()


def evaluate(
    model: keras.Model, x: np.ndarray, y: np.ndarray, batch_size: int | None = None
) -> dict[str, float]:
    """Loss and metrics of a compiled model over all examples, the last incomplete batch included.

    Args as in `fit`. Raises ValueError for lengths that disagree.
    """
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"expected as many inputs as targets, received {len(x)} and {len(y)}")
    _build(model, x, y)
    return _passes(model, model.test_step, batch_size or _evaluation_batch(x), x, y)()


def order(seed: int, epoch: int, n: int, size: int | None = None) -> np.ndarray:
    """The order in which the n examples are seen in an epoch: a permutation (n,), int32.

    If an epoch is only `size` of them, or more than n, it is its part (size,) of one permutation
    after the other.
    """
    size = n if size is None else size
    start = epoch * size
    passes = range(start // n, -(-(start + size) // n))
    seen = np.concatenate([np.random.default_rng((seed, i)).permutation(n) for i in passes])
    return seen[start % n :][:size].astype(np.int32)


def scaled(x: tf.Tensor) -> tf.Tensor:
    """uint8 images in 0..255 become float32 in [0, 1]; everything else passes."""
    return tf.cast(x, tf.float32) / 255.0 if x.dtype == tf.uint8 else x


def compiles_with_xla(model: keras.Model) -> bool:
    """Whether XLA pays: for dense nets by far, but not with convolutions or dropout on a CPU.

    A convolution, known by a kernel of more than two axes, takes it minutes to compile. Random
    numbers it draws one by one: a 784-512-512-10 net with dropout took 545 ms for 1,000 images, and
    67 ms without XLA.
    """
    convolves = any(len(weight.shape) > 2 for weight in model.weights)
    return not convolves and not any(_draws_for_each_unit(layer) for layer in _all_layers(model))


def _draws_for_each_unit(layer: keras.Layer) -> bool:
    families = [family.__name__ for family in type(layer).__mro__]
    return any("Dropout" in name or "Noise" in name for name in families)


def _all_layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    yield layer
    for part in getattr(layer, "layers", ()):
        yield from _all_layers(part)


class _Keeper:
    """Keeps the state of one `fit` in a file and brings it back; without a file it does nothing."""

    def __init__(self, file: Path | None, model: keras.Model, callbacks: Sequence):
        self.file, self.model, self.callbacks = file, model, callbacks
        self.variables = _lasting(model)
        self.next = time.monotonic() + SAVE_SECONDS

    def restore(self) -> int:
        """The epoch to go on with; 0 if there is nothing that all workers could go on from."""
        if self.file is None:
            return 0
        values, state = snapshot.read(self.file, self.variables)
        epoch = state["epoch"] if state else 0
        if distribution.least([epoch, NEVER - epoch]) != [epoch, NEVER - epoch] or not epoch:
            return 0
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        for callback, kept in zip(self.callbacks, state["callbacks"], strict=True):
            if getattr(callback, "monitor_op", 0) is None:
                callback._set_monitor_op()  # else the next epoch would turn min_delta's sign again
            for name, value in kept.items():
                setattr(callback, name, value)
        self.model.stop_training = state["stop"]
        return epoch

    def save(self, epoch: int) -> None:
        """Keeps the state before that epoch, unless the last time was only just now."""
        began = time.monotonic()
        if self.file is None or began < self.next or not distribution.is_chief():
            return
        try:
            remembered = [snapshot.remembered(callback) for callback in self.callbacks]
        except snapshot.NotPlain:
            self.file = None
            return
        stop = bool(self.model.stop_training)
        state = {"epoch": epoch, "stop": stop, "callbacks": remembered}
        snapshot.write(self.file, self.variables, state)
        seconds = time.monotonic() - began
        self.next = time.monotonic() + max(SAVE_SECONDS, seconds / SAVE_SHARE)


def _lasting(model: keras.Model) -> list[keras.Variable]:
    """Weights, seed generators and the optimizer's; metrics begin every epoch anew."""
    passing = {id(variable) for variable in model.metrics_variables}
    every = {id(one): one for one in (*model.variables, *model.optimizer.variables)}
    return [variable for key, variable in every.items() if key not in passing]


def _keeper(model, callbacks, x, y, size, epochs, batch_size, seed, watched) -> _Keeper:
    """Of a file that is named by what this training begins with."""
    if not _RESUME_IN:
        return _Keeper(None, model, callbacks)
    digest = hashlib.sha256()
    for variable in _lasting(model):
        digest.update(variable.numpy().tobytes())
    some = x[:READ_TO_KNOW] if isinstance(x, np.memmap) else x
    about = [
        (x.shape, str(x.dtype), zlib.crc32(np.ascontiguousarray(some))),
        (y.shape, str(y.dtype), zlib.crc32(np.ascontiguousarray(y))),
        (size, epochs, batch_size, seed, list(watched)),
        model.optimizer.get_config() | {"name": None},  # Keras counts up names within a process
        [type(callback).__name__ for callback in callbacks],
        [type(layer).__name__ for layer in model.layers],
        getattr(model.loss, "name", None) or getattr(model.loss, "__name__", str(model.loss)),
    ]
    digest.update(json.dumps(about, sort_keys=True, default=str).encode())
    return _Keeper(_RESUME_IN[-1] / f"{digest.hexdigest()[:16]}.state", model, callbacks)


def _build(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    """Makes every variable of the optimizer, loss and metrics: none may be born inside a loop."""
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)
    some_x, some_y = scaled(tf.convert_to_tensor(x[:1])), tf.convert_to_tensor(y[:1])
    outputs = model(some_x, training=False)
    model.compute_loss(some_x, some_y, outputs, training=False)
    model.compute_metrics(some_x, some_y, outputs)


def _passes(
    model: keras.Model,
    step: Callable,
    batch_size: int,
    x: np.ndarray,
    y: np.ndarray,
    size: int | None = None,
) -> Callable[..., dict[str, float]]:
    """A function that makes one pass in mini-batches, in the order (size,) given, and measures."""
    if distribution.replicas() > 1:
        return _shared_passes(model, step, batch_size, x, y)
    if isinstance(x, np.memmap):
        return _mapped_passes(model, step, batch_size, x, y)
    arguments = [tf.convert_to_tensor(x), tf.convert_to_tensor(y)]
    some = [] if size is None else [tf.zeros(size, tf.int32)]
    program = _program(model, step, batch_size).get_concrete_function(*arguments, *some)
    return lambda *order: _numbers(program(*arguments, *map(tf.constant, order)))


def _shared_passes(
    model: keras.Model, step: Callable, batch_size: int, x: np.ndarray, y: np.ndarray
) -> Callable[..., dict[str, float]]:
    """`_passes` by several replicas: an optimizer that adds up their gradients cannot be looped."""

    def fetch(rows: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(x[rows]), tf.constant(y[rows])

    def scaled_step(batch: tuple[tf.Tensor, tf.Tensor]) -> None:
        step((scaled(batch[0]), batch[1]))

    run = distribution.passes(model, scaled_step, batch_size, fetch, len(x))
    return lambda *order: _numbers(run(*order))


def _mapped_passes(
    model: keras.Model, step: Callable, batch_size: int, x: np.memmap, y: np.ndarray
) -> Callable[..., dict[str, float]]:
    """`_passes` over an array that is read from its file, chunk by chunk."""
    first, later = (_program(model, step, batch_size, reset) for reset in (True, False))
    a_batch = batch_size * x[:1].nbytes
    length = batch_size * max(1, CHUNK_BYTES // a_batch)

    def run(order: np.ndarray | None = None) -> dict[str, float]:
        order = np.arange(len(x)) if order is None else order
        parts = [order[i : i + length] for i in range(0, len(order), length)]

        def read(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            rows, where = np.unique(part, return_inverse=True)  # a disk is read forwards
            return x[rows][where], y[part]

        with ThreadPoolExecutor(1) as reader:
            waiting = reader.submit(read, parts[0])
            for i, _ in enumerate(parts):
                chunk = [tf.convert_to_tensor(array) for array in waiting.result()]
                if i + 1 < len(parts):
                    waiting = reader.submit(read, parts[i + 1])
                metrics = (later if i else first)(*chunk)
        return _numbers(metrics)

    return run


def _program(model: keras.Model, step: Callable, batch_size: int, reset: bool = True) -> Callable:
    """(x, y[, order]) -> metrics of one pass in mini-batches; `reset` begins to count anew."""

    def run(x: tf.Tensor, y: tf.Tensor, order: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        n = (x if order is None else order).shape[0]

        def batch(start: tf.Tensor | int, size: int) -> None:
            if order is None:
                step((scaled(_rows(x, start, size)), _rows(y, start, size)))
            else:
                rows = _rows(order, start, size)
                step((scaled(tf.gather(x, rows)), tf.gather(y, rows)))

        def body(i: tf.Tensor) -> list[tf.Tensor]:
            batch(i * batch_size, batch_size)
            return [i + 1]

        if reset:
            model.reset_metrics()
        full, rest = divmod(n, batch_size)
        if full:
            # Gradients flow within a step, never through the loop, so nothing needs to be kept.
            tf.while_loop(lambda i: i < full, body, [tf.constant(0)])
        if rest:
            batch(n - rest, rest)
        return model.get_metrics_result()

    return tf.function(run, jit_compile=compiles_with_xla(model), autograph=False)


def _rows(tensor: tf.Tensor, start: tf.Tensor | int, size: int) -> tf.Tensor:
    """tensor[start : start + size] with a static length, which XLA needs."""
    return tf.slice(tensor, [start] + [0] * (len(tensor.shape) - 1), [size, *tensor.shape[1:]])


def _watched(
    model: keras.Model, validation_data: Examples | Mapping[str, Examples] | None
) -> dict[str, Callable[[], dict[str, float]]]:
    """By prefix, a function that evaluates the model on that set."""
    if validation_data is None:
        return {}
    sets = validation_data if isinstance(validation_data, Mapping) else {"val": validation_data}
    return {
        prefix: _passes(model, model.test_step, _evaluation_batch(x), x, y)
        for prefix, (x, y) in sets.items()
    }


def _evaluation_batch(x: np.ndarray) -> int:
    return min(EVALUATION_BATCH, max(1, EVALUATION_BYTES // max(1, x[:1].nbytes)))


def _numbers(metrics: Mapping[str, tf.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
