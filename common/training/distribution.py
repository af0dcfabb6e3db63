"""Trains on several devices or machines, with the numbers of one device up to rounding.

A mini-batch is global: each replica takes its share, gradients are added up, and batch
normalization sees all of it. Keras 3's own `fit` does not work with several workers
(keras-team/keras#20585); here its `train_step` runs within `strategy.run`, which does.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.values import DistributedVariable

from common.system import UsageError
from common.training import cluster
from common.training.cluster import Cluster

MAX_LOGICAL_DEVICES = 64
DEVICES = f"auto, cpu, gpu, gpu:0,1 or cpu:N (N up to {MAX_LOGICAL_DEVICES})"
_SALT = np.uint32(0x9E3779B1)  # makes the random numbers of replicas differ


class _State:
    """What `start` settled for this process."""

    ONE_DEVICE = tf.distribute.get_strategy()
    devices: str | None = None
    cluster: Cluster | None = None
    strategy: tf.distribute.Strategy = ONE_DEVICE


def check(devices: str) -> tuple[str, list[int]]:
    """The kind of the devices and their numbers; raises UsageError if they are not of DEVICES."""
    numbers = [int(number) for number in re.findall(r"\d+", devices)]
    known = re.fullmatch(r"auto|cpu|gpu|gpu:\d+(,\d+)*|cpu:[1-9]\d*", devices)
    too_many = devices.startswith("cpu:") and numbers and numbers[0] > MAX_LOGICAL_DEVICES
    if not known or too_many or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"--devices: expected {DEVICES}, each once; received {devices or 'nothing'}"
        )
    return devices.partition(":")[0], numbers


def start(devices: str) -> None:
    """Makes this process's strategy; must come before TensorFlow's first operation.

    `auto`: a replica for each GPU, or the CPU if there is none. `cpu:N`: N logical devices of one
    processor, to try replicas. GPUs take memory as they need it.

    Raises UsageError: devices that are not there, a cluster that is described wrongly, or whose
    workers have not met in time.
    """
    if _State.devices == devices:
        return
    kind, numbers = check(devices)
    gpus = [] if kind == "cpu" else tf.config.list_physical_devices("GPU")
    if kind == "gpu":
        if max(numbers, default=0) >= len(gpus):
            raise UsageError(f"--devices: expected {devices}, received {len(gpus)} GPUs")
        gpus = [gpus[number] for number in numbers] or gpus
    logical = numbers[0] if kind == "cpu" and numbers else 1
    try:
        tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if logical > 1:
            (cpu,) = tf.config.list_physical_devices("CPU")
            each = [tf.config.LogicalDeviceConfiguration()] * logical
            tf.config.set_logical_device_configuration(cpu, each)
    except RuntimeError:
        if devices != "auto":  # which is what a notebook that already uses TensorFlow has
            expected = f"--devices: expected {devices} before TensorFlow's first operation"
            raise UsageError(f"{expected}, received it after") from None
    workers, strategy = cluster.described(), _State.ONE_DEVICE
    if workers:
        cluster.rendezvous(workers)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif len(gpus) > 1:
        strategy = tf.distribute.MirroredStrategy()  # on all that are visible
    elif logical > 1:
        add = tf.distribute.ReductionToOneDevice()
        names = [f"CPU:{i}" for i in range(logical)]
        strategy = tf.distribute.MirroredStrategy(names, cross_device_ops=add)
    _State.devices, _State.cluster, _State.strategy = devices, workers, strategy
    if replicas() > 1:
        _show_variables_to_tapes()
    if workers:
        least([1])  # the first collective operation, while all workers are known to be there


def _show_variables_to_tapes() -> None:
    """Lets `tf.GradientTape` differentiate by a model's weights outside of a replica too.

    It asks a weight for its handle, which TensorFlow has no answer to there, though what the tape
    has recorded is the first replica's.
    """
    usual = DistributedVariable.handle.fget

    def handle(variable):
        try:
            return usual(variable)
        except ValueError:
            return variable._primary.handle

    DistributedVariable.handle = property(handle)


def scope() -> AbstractContextManager:
    """A context in which variables are created on all replicas."""
    return _State.strategy.scope()


def replicas() -> int:
    """Number of replicas that share a mini-batch."""
    return _State.strategy.num_replicas_in_sync


def is_chief() -> bool:
    """Whether this process writes the results; of several workers the first one does."""
    return _State.cluster is None or _State.cluster.index == 0


def has_workers() -> bool:
    """Whether other processes take part."""
    return _State.cluster is not None


def describe() -> str:
    """The devices in words."""
    workers = f"{len(_State.cluster.workers)} workers, " if _State.cluster else ""
    return f"{workers}{replicas()} replica{'s' * (replicas() > 1)}"


def agree(about: str, described: str) -> None:
    """Raises UsageError on all workers if what they are about to do differs, as by a version."""
    if not alike(zlib.crc32(described.encode()) >> 1):  # fits into 32 bits with a sign
        received = f"received {described} on worker {_State.cluster.index}"
        raise UsageError(f"{about}: expected the same on all workers, {received}")


def alike(value: int) -> bool:
    """Whether all workers have the same value."""
    return least([value, -value]) == [value, -value]


def least(values: Sequence[int]) -> list[int]:
    """The minimum of each value over all workers."""
    if _State.cluster is None or not values:
        return list(values)
    strategy, mine = _State.strategy, tf.constant([values], tf.int32)
    gather = tf.function(lambda: strategy.gather(strategy.run(lambda: tf.identity(mine)), axis=0))
    return gather().numpy().min(axis=0).tolist()


def check_batch(batch_size: int) -> None:
    """Raises UsageError for a mini-batch that the replicas cannot share out."""
    if batch_size % (count := replicas()):
        near = sorted({max(count, batch_size // count * count), -(-batch_size // count) * count})
        expected = f"a multiple of the {count} replicas, as {' or '.join(map(str, near))}"
        raise UsageError(f"mini-batch: expected {expected}, received {batch_size}")


def prepare(model: keras.Model) -> None:
    """Prepares a model whose step is not yet traced, where there are replicas.

    Batch normalization is over the whole mini-batch, random numbers are each replica's own.
    """
    if replicas() == 1:
        return
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
        if tf.distribute.get_replica_context() is None:
            return seed
        return seed + tf.stack([tf.cast(_number(), seed.dtype) * _SALT, tf.zeros((), seed.dtype)])

    generator.next = own


def shared(model: keras.Model, step: Callable, xla: bool) -> Callable:
    """A function of (x, y) that takes the model's step on a mini-batch; each replica has a share.

    An incomplete mini-batch that cannot be shared out is computed whole by each replica, which
    changes neither the gradient nor what batch normalization sees, and counted by the first alone.
    """
    strategy, count = _State.strategy, replicas()

    def on_one(x: tf.Tensor, y: tf.Tensor) -> None:
        if x.shape[0] % count == 0:
            step(tuple(tf.reshape(one, (count, -1, *one.shape[1:]))[_number()] for one in (x, y)))
            return
        before = [tf.identity(variable.value) for variable in model.metrics_variables]
        step((x, y))
        counts = tf.equal(_number(), 0)
        for variable, value in zip(model.metrics_variables, before, strict=True):
            variable.assign(tf.where(counts, variable.value, value))

    return tf.function(lambda *batch: strategy.run(on_one, batch), jit_compile=xla, autograph=False)


def _number() -> tf.Tensor | int:
    return tf.distribute.get_replica_context().replica_id_in_sync_group
