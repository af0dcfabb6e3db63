"""Devices and machines that share a training, such that it gives the numbers of one device.

`start` makes the strategy of this process: one device, several replicas on one machine
(MirroredStrategy), or workers on many (MultiWorkerMirroredStrategy, see `common.training.cluster`).
`epochs` is the training loop under such a strategy. A mini-batch is global: each replica takes its
share, gradients are added up, and batch normalization sees all of it.

Keras 3's own `fit` and `evaluate` do not work with several workers (keras-team/keras#20585); here
Keras's `train_step` runs within `strategy.run`, which does.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from common.system import UsageError
from common.training import cluster

DEVICES = "auto, cpu, gpu, gpu:0,1 or cpu:N"
MAX_LOGICAL_DEVICES = 64
_SALT = np.uint32(0x9E3779B1)  # makes the random numbers of replicas differ


class _State:
    """What `start` settled for this process."""

    devices: str | None = None
    cluster: cluster.Cluster | None = None
    strategy: tf.distribute.Strategy | None = None


def check(devices: str) -> None:
    """Raises UsageError for a `--devices` that is not one of DEVICES."""
    if not re.fullmatch(r"auto|cpu|gpu|gpu:\d+(,\d+)*|cpu:[1-9]\d*", devices):
        raise UsageError(f"--devices: expected {DEVICES}; received {devices}")
    kind, _, numbers = devices.partition(":")
    if kind == "cpu" and numbers and int(numbers) > MAX_LOGICAL_DEVICES:
        raise UsageError(
            f"--devices: expected cpu:{MAX_LOGICAL_DEVICES} at most, received {devices}"
        )
    chosen = numbers.split(",")
    if kind == "gpu" and len(set(chosen)) < len(chosen):
        raise UsageError(f"--devices: expected each GPU once, received {devices}")


def start(devices: str) -> None:
    """Makes this process's strategy; must come before TensorFlow's first operation.

    `auto`: the CPU if there is no GPU, one replica a GPU otherwise. `cpu:N` makes N logical devices
    of one processor, to try replicas and to test them. GPUs take memory as they need it.

    Raises UsageError: devices that are not there, a cluster that is described wrongly, or whose
    workers have not met in time.
    """
    if _State.devices == devices:
        return
    check(devices)
    kind, _, numbers = devices.partition(":")
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "gpu":
        wanted = [int(number) for number in numbers.split(",")] if numbers else range(len(gpus))
        if not gpus or max(wanted) >= len(gpus):
            raise UsageError(f"--devices: expected {devices}, received {len(gpus)} GPUs")
        gpus = [gpus[number] for number in wanted]
    used = [] if kind == "cpu" else gpus
    try:
        tf.config.set_visible_devices(used, "GPU")
        for gpu in used:
            tf.config.experimental.set_memory_growth(gpu, True)
        if kind == "cpu" and numbers:
            (cpu,) = tf.config.list_physical_devices("CPU")
            logical = [tf.config.LogicalDeviceConfiguration()] * int(numbers)
            tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError:
        if devices != "auto":  # which is what a notebook that already uses TensorFlow has
            raise UsageError(
                f"--devices: expected {devices} before TensorFlow's first operation, "
                "received it after"
            ) from None
    _State.devices, _State.cluster = devices, cluster.described()
    count = int(numbers or 1) if kind == "cpu" else len(used)
    if _State.cluster:
        cluster.rendezvous(_State.cluster)
        _State.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        _gathered([1])  # the first collective operation, while all workers are known to be there
    elif count > 1:
        names = [f"{'CPU' if kind == 'cpu' else 'GPU'}:{i}" for i in range(count)]
        add = None if used else tf.distribute.ReductionToOneDevice()
        _State.strategy = tf.distribute.MirroredStrategy(names, cross_device_ops=add)


def scope() -> contextlib.AbstractContextManager:
    """A context in which variables are created on all replicas."""
    return _State.strategy.scope() if _State.strategy else contextlib.nullcontext()


def replicas() -> int:
    """Number of replicas that share a mini-batch."""
    return _State.strategy.num_replicas_in_sync if _State.strategy else 1


def is_chief() -> bool:
    """Whether this process writes the results; of several workers the first one does."""
    return _State.cluster is None or _State.cluster.index == 0


def has_workers() -> bool:
    """Whether other processes take part."""
    return _State.cluster is not None


def describe() -> str:
    """The devices in words."""
    if _State.cluster:
        return f"{len(_State.cluster.workers)} workers, {replicas()} replicas"
    return f"{replicas()} replica{'s' * (replicas() > 1)}"


def agree(about: str, described: str) -> None:
    """Raises UsageError on all workers if what they are about to do differs, as by a version."""
    if _State.cluster is None:
        return
    text = described.encode()[:400]
    rows = _gathered(list(text) + [0] * (400 - len(text)))
    said = [bytes(row[row > 0].astype(np.uint8)).decode(errors="replace") for row in rows]
    for number, one in enumerate(said):
        if one != said[0]:
            raise UsageError(
                f"{about}: expected all workers to have that of worker 0 ({said[0]}), "
                f"worker {number} has {one}"
            )


def least(values: Sequence[int]) -> list[int]:
    """Of each of the values (at least 0) the least that any worker has."""
    if _State.cluster is None or not values:
        return list(values)
    return _gathered(list(values)).min(axis=0).tolist()


def _gathered(values: list[int]) -> np.ndarray:
    """The values of all replicas, in rows."""
    strategy, mine = _State.strategy, tf.constant([values], tf.int32)

    @tf.function(autograph=False)
    def gather() -> tf.Tensor:
        return strategy.gather(strategy.run(lambda: tf.identity(mine)), axis=0)

    return gather().numpy()


def prepare(model: keras.Model, batch_size: int) -> None:
    """Before a model is compiled: global batch normalization, and its own draws for each replica.

    Raises UsageError for a batch that the replicas cannot share out.
    """
    if (count := replicas()) == 1:
        return
    if batch_size % count:
        near = sorted({max(count, batch_size // count * count), -(-batch_size // count) * count})
        raise UsageError(
            f"--batch-size: expected a multiple of the {count} replicas, as "
            f"{' or '.join(map(str, near))}, received {batch_size}"
        )
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        for generator in layer._seed_generators:
            _draw_by_replica(generator)


def _draw_by_replica(generator: keras.random.SeedGenerator) -> None:
    """All replicas hold the same state; each adds its number to what it draws from it."""
    draw = type(generator).next

    def own(*arguments, **settings):
        seed = draw(generator, *arguments, **settings)
        context = tf.distribute.get_replica_context()
        if context is None:
            return seed
        number = tf.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([number * _SALT, tf.zeros((), seed.dtype)])

    generator.next = own


Fetch = Callable[[np.ndarray], tuple[tf.Tensor, tf.Tensor]]


def epochs(
    model: keras.Model, step: Callable, batch_size: int, fetch: Fetch, n: int
) -> Callable[..., dict[str, tf.Tensor]]:
    """A function that runs one epoch on the rows (size,) given, or all in order; -> metrics.

    An incomplete mini-batch that cannot be shared out is computed whole by each replica, which
    changes neither the gradient nor what batch normalization sees, and counted by the first alone.

    Args:
        model: compiled and built within `scope`.
        step: its train_step or test_step.
        fetch: rows -> the inputs and targets of that mini-batch, on the host.
    """
    strategy, count = _State.strategy, replicas()
    batch_size = max(count, batch_size // count * count)

    def shared(x: tf.Tensor, y: tf.Tensor) -> None:
        parts = (tf.reshape(one, (count, -1, *one.shape[1:]))[_number()] for one in (x, y))
        step(tuple(parts))

    def repeated(x: tf.Tensor, y: tf.Tensor) -> None:
        before = [tf.identity(variable.value) for variable in model.metrics_variables]
        step((x, y))
        counts = tf.equal(_number(), 0)
        for variable, value in zip(model.metrics_variables, before, strict=True):
            variable.assign(tf.where(counts, variable.value, value))

    programs = [
        tf.function(lambda x, y, one=one: strategy.run(one, args=(x, y)), autograph=False)
        for one in (shared, repeated)
    ]

    def run(order: np.ndarray | None = None) -> dict[str, tf.Tensor]:
        order = np.arange(n) if order is None else order
        model.reset_metrics()
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            programs[len(rows) % count > 0](*fetch(rows))
        measured = model.get_metrics_result().items()
        plain = ((k, v.value if isinstance(v, keras.Variable) else v) for k, v in measured)
        return {name: tf.convert_to_tensor(value) for name, value in plain}

    return run


def _number() -> tf.Tensor | int:
    return tf.distribute.get_replica_context().replica_id_in_sync_group
