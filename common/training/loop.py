"""`fit`: a drop-in for `keras.Model.fit` that runs a whole epoch as one compiled program.

`keras.Model.fit` returns to Python after every mini-batch. For a small net that costs 15 times the
arithmetic. Here the data rest on the device, and one `tf.while_loop` gathers each mini-batch and
runs Keras's own `train_step` on it. Optimizers, losses, metrics, callbacks and `History` are
Keras's own, and the numbers are those of `model.fit` on mini-batches in the same order.

Arrays mapped from a file (`numpy.memmap`) may be larger than the memory: they are read in chunks,
the next one while the last is trained on. Under a strategy of `common.training.distribution` the
replicas share each mini-batch, step by step, and the numbers stay the same.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.ingredients.callbacks import Evaluate
from common.training import context, distribution, resume

# Evaluated at once: few enough that a dense layer's inputs stay in the processor's cache, and that
# the responses to large images fit into memory.
EVALUATION_BATCH, EVALUATION_BYTES = 1_000, 2**24
CHUNK_BYTES = 2**27  # of a mapped array in memory at once; two such chunks are
BATCH_METHODS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


def fit(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: int | str = "auto",
    callbacks: Iterable[keras.callbacks.Callback] | None = None,
    *,
    validation_data: Any = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_freq: int = 1,
    **others: Any,
) -> keras.callbacks.History:
    """Trains a compiled model as `model.fit` with these arguments does, only faster.

    What it does not know (other arguments, inputs that are not arrays, eager execution, callbacks
    of one's own with batch methods) goes to `model.fit` itself.

    Args:
        model: a compiled keras.Model. Its `train_step` may be overridden.
        x: inputs (n, ...). A numpy.memmap is read as it is needed, any other array rests on the
            device.
        y: targets (n, ...).
        batch_size: examples in a mini-batch; the last one of an epoch may be smaller. None: 32.
        steps_per_epoch: mini-batches in an epoch. The next one goes on where it ended; where the
            data end inside an epoch, that epoch is cut short, as Keras does.
        The others are those of `keras.Model.fit`. Since an epoch is one program, batch methods of
        Keras's own callbacks are called once an epoch, as under `steps_per_execution`.

    Within `context.running` the seed of the order, progress and checkpoints come from there, and
    nothing is printed. Outside, the order is drawn as `keras.utils.set_random_seed` decides.

    Returns:
        Keras's History. As in Keras, training metrics are running means over the epoch, while the
        weights change; the others belong to the weights at the end of the epoch.

    Raises:
        ValueError: lengths that disagree, or a count below one.
        UsageError: a mini-batch that the replicas cannot share out.
    """
    own = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks] if callbacks else []
    batch_size = 32 if batch_size is None else batch_size
    pair = (x, y) if validation_data is None else (x, y, *validation_data)
    known = (
        not others
        and isinstance(shuffle, bool)
        and isinstance(validation_freq, int)
        and not isinstance(callbacks, keras.callbacks.CallbackList)
        and all(isinstance(array, np.ndarray) for array in pair)
        and len(pair) in (2, 4)
        and model.compiled
        and not model.run_eagerly
        and not any(map(_has_batch_methods, own))
    )
    run = context.current()
    if not known:
        return model.fit(
            x,
            y,
            batch_size,
            epochs,
            verbose=0 if run else verbose,
            callbacks=callbacks,
            validation_data=validation_data,
            shuffle=shuffle,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_freq=validation_freq,
            **others,
        )
    counts = {"batch_size": batch_size, "epochs": epochs, "validation_freq": validation_freq}
    for name, count in {**counts, "steps_per_epoch": steps_per_epoch}.items():
        if count is not None and count < 1:
            raise ValueError(f"expected {name} of at least 1, received {count}")
    _check_lengths(x, y)
    distribution.prepare(model, batch_size)
    _build(model, x, y)
    train = _epochs(model, model.train_step, batch_size, x, y)
    watched = {}
    if validation_data is not None:
        watched["val"] = _evaluation(model, *validation_data)
    for callback in own:
        if isinstance(callback, Evaluate):
            callback.evaluate = _evaluation(model, callback.x, callback.y)

    seed = random.randrange(2**31) if run is None else run.seed
    if run:
        run.begun += 1
        own.append(context.Progress(run))
    callback_list = keras.callbacks.CallbackList(
        own,
        add_history=True,
        add_progbar=run is None and verbose != 0,
        verbose=verbose,
        model=model,
        epochs=epochs,
        steps=steps_per_epoch or -(-len(x) // batch_size),
    )
    model.stop_training = False
    file = None
    if run and run.folder:
        details = epochs, batch_size, steps_per_epoch, shuffle, initial_epoch, seed, [*watched]
        name = resume.fingerprint(model, callback_list.callbacks, x, y, details)
        file = run.folder / f"{name}.state"
    checkpoints = resume.Checkpoints(file, model, callback_list.callbacks)
    callback_list.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(checkpoints.restore() or initial_epoch, epochs):
        if model.stop_training:
            break
        callback_list.on_epoch_begin(epoch)
        callback_list.on_train_batch_begin(0)
        rows = _rows_of_epoch(seed, epoch, len(x), batch_size, steps_per_epoch, shuffle)
        logs = train(rows)
        callback_list.on_train_batch_end(-(-len(rows) // batch_size) - 1, logs)
        if (epoch + 1) % validation_freq == 0:
            for prefix, evaluation in watched.items():
                logs |= {f"{prefix}_{name}": value for name, value in evaluation().items()}
        callback_list.on_epoch_end(epoch, logs)
        checkpoints.save(epoch + 1)
    model.optimizer.finalize_variable_values(model.trainable_weights)
    callback_list.on_train_end(logs)
    return model.history


def evaluate(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Loss and metrics of a compiled model, as `model.evaluate(x, y, return_dict=True)`, faster.

    Raises ValueError for lengths that disagree.
    """
    _check_lengths(x, y)
    _build(model, x, y)
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
    return not convolves and not any(_draws_for_each_unit(layer) for layer in _all_layers(model))


def _has_batch_methods(callback: Any) -> bool:
    """Whether a callback that is not Keras's own wants to know of every mini-batch."""
    methods = [getattr(type(callback), name, None) for name in BATCH_METHODS]
    return any(not getattr(each, "__module__", "keras").startswith("keras") for each in methods)


def _draws_for_each_unit(layer: keras.Layer) -> bool:
    families = [family.__name__ for family in type(layer).__mro__]
    return any("Dropout" in name or "Noise" in name for name in families)


def _all_layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    yield layer
    for part in getattr(layer, "layers", ()):
        yield from _all_layers(part)


def _check_lengths(x: np.ndarray, y: np.ndarray) -> None:
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"expected as many inputs as targets, received {len(x)} and {len(y)}")


def _rows_of_epoch(
    seed: int, epoch: int, n: int, batch_size: int, steps: int | None, shuffle: bool
) -> np.ndarray:
    """Which examples an epoch sees, in which order, (size,) int32."""
    in_all = -(-n // batch_size)  # steps through the data
    asked = steps or in_all
    steps = min(asked, in_all)
    number, place = divmod(epoch, -(-in_all // steps))
    rows = order(seed, number, n) if shuffle else np.arange(n, dtype=np.int32)
    rows = rows[place * steps * batch_size :][: steps * batch_size]
    if -(-len(rows) // batch_size) < asked:
        warnings.warn(
            "Your input ran out of data; interrupting training: expected steps_per_epoch to divide "
            f"the {in_all} steps through the data, received {asked}",
            stacklevel=3,
        )
    return rows


def _build(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    """Makes every variable of optimizer, loss and metrics: `tf.while_loop` cannot create them."""
    example, target = tf.convert_to_tensor(x[:1]), tf.convert_to_tensor(y[:1])
    outputs = model(example, training=False)
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)
    model.compute_loss(example, target, outputs, training=False)
    model.compute_metrics(example, target, outputs)


def _evaluation(model: keras.Model, x: np.ndarray, y: np.ndarray) -> Callable[[], dict]:
    """A function that evaluates the model on all examples, the last incomplete batch included."""
    batch_size = min(EVALUATION_BATCH, max(1, EVALUATION_BYTES // max(1, x[:1].nbytes)))
    return _epochs(model, model.test_step, batch_size, x, y)


def _epochs(
    model: keras.Model, step: Callable, batch_size: int, x: np.ndarray, y: np.ndarray
) -> Callable[..., dict[str, float]]:
    """A function that runs one epoch on the rows (size,) given, or all in order; -> metrics."""
    if distribution.replicas() > 1:
        return _shared_epochs(model, step, batch_size, x, y)
    if isinstance(x, np.memmap):
        return _mapped_epochs(model, step, batch_size, x, y)
    arrays = [tf.convert_to_tensor(x), tf.convert_to_tensor(y)]
    program, compiled = _program(model, step, batch_size), {}

    def run(rows: np.ndarray | None = None) -> dict[str, float]:
        size, more = (None, []) if rows is None else (len(rows), [tf.constant(rows)])
        if size not in compiled:
            compiled[size] = program.get_concrete_function(*arrays, *more)
        return _numbers(compiled[size](*arrays, *more))

    return run


def _shared_epochs(
    model: keras.Model, step: Callable, batch_size: int, x: np.ndarray, y: np.ndarray
) -> Callable[..., dict[str, float]]:
    """`_epochs` of several replicas: an optimizer that adds up their gradients cannot be looped."""

    def fetch(rows: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(x[rows]), tf.constant(y[rows])

    run = distribution.epochs(model, step, batch_size, fetch, len(x))
    return lambda *rows: _numbers(run(*rows))


def _mapped_epochs(
    model: keras.Model, step: Callable, batch_size: int, x: np.memmap, y: np.ndarray
) -> Callable[..., dict[str, float]]:
    """`_epochs` over an array that is read from its file, chunk by chunk."""
    first, later = (_program(model, step, batch_size, reset) for reset in (True, False))
    length = batch_size * max(1, CHUNK_BYTES // (batch_size * x[:1].nbytes))

    def run(rows: np.ndarray | None = None) -> dict[str, float]:
        rows = np.arange(len(x)) if rows is None else rows
        chunks = [rows[i : i + length] for i in range(0, len(rows), length)]

        def read(chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            forwards, where = np.unique(chunk, return_inverse=True)  # as a disk is read
            return x[forwards][where], y[chunk]

        with ThreadPoolExecutor(1) as reader:
            waiting = reader.submit(read, chunks[0])
            for i, _ in enumerate(chunks):
                arrays = [tf.convert_to_tensor(array) for array in waiting.result()]
                if i + 1 < len(chunks):
                    waiting = reader.submit(read, chunks[i + 1])
                metrics = (later if i else first)(*arrays)
        return _numbers(metrics)

    return run


def _program(model: keras.Model, step: Callable, batch_size: int, reset: bool = True) -> Callable:
    """(x, y[, rows]) -> metrics of one epoch in mini-batches; `reset` begins to count anew."""

    def run(x: tf.Tensor, y: tf.Tensor, rows: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        n = (x if rows is None else rows).shape[0]

        def batch(start: tf.Tensor | int, size: int) -> None:
            if rows is None:
                step((_slice(x, start, size), _slice(y, start, size)))
            else:
                chosen = _slice(rows, start, size)
                step((tf.gather(x, chosen), tf.gather(y, chosen)))

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


def _slice(tensor: tf.Tensor, start: tf.Tensor | int, size: int) -> tf.Tensor:
    """tensor[start : start + size] with a static length, which XLA needs."""
    return tf.slice(tensor, [start] + [0] * (len(tensor.shape) - 1), [size, *tensor.shape[1:]])


def _numbers(metrics: Mapping[str, tf.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
