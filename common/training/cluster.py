"""Workers on several machines: who they are, and how they meet before TensorFlow starts.

`TF_CONFIG` or Slurm describes the cluster. TensorFlow itself waits without a limit for a worker
that is missing, and says nothing; `rendezvous` says within seconds who is missing, or differs.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from common.system import UsageError, versions

MAX_TASKS_PER_NODE = 64
MEETING_SECONDS = 25  # in which all workers of a cluster must have met
SLURM_PORT = 8888


@dataclass(frozen=True)
class Cluster:
    """The workers' addresses, HOST:PORT, and which of them this process is."""

    workers: tuple[str, ...]
    index: int


def described(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster that `TF_CONFIG` or Slurm describes; None for a process on its own.

    Raises UsageError that names what is wrong.
    """
    if "TF_CONFIG" in environment:
        found = _from_tf_config(environment["TF_CONFIG"])
    elif environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":  # of srun, not of a batch script
        found = _from_slurm()
    else:
        return None
    if len(set(found.workers)) < len(found.workers):
        twice = next(one for one in found.workers if found.workers.count(one) > 1)
        raise UsageError(f"TF_CONFIG: expected each address once, received {twice} again")
    if not 0 <= found.index < len(found.workers):
        raise UsageError(
            f"TF_CONFIG: expected an index from 0 to {len(found.workers) - 1}, "
            f"received {found.index}"
        )
    return found if len(found.workers) > 1 else None


def _from_tf_config(text: str) -> Cluster:
    expected = (
        'expected {"cluster": {"worker": ["HOST:PORT", ...]}, '
        '"task": {"type": "worker", "index": N}}'
    )
    try:
        described = json.loads(text)
        workers, task = described["cluster"]["worker"], described["task"]
        if set(described["cluster"]) != {"worker"} or task["type"] != "worker":
            raise KeyError("only workers")
        addresses = tuple(str(one) for one in workers)
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not 0 < int(port) < 65_536:
                raise ValueError(address)
        return Cluster(addresses, int(task["index"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"TF_CONFIG: {expected}, received {text[:200]}") from None


def _from_slurm() -> Cluster:
    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=SLURM_PORT,
            gpus_per_node=MAX_TASKS_PER_NODE,  # else it asks nvidia-smi
            auto_set_gpu=False,
        )
        workers = resolver.cluster_spec().as_dict()["worker"]
        return Cluster(tuple(workers), resolver.get_task_info()[1])
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"Slurm: expected the variables of a job step, received: {error}"
        ) from None


def rendezvous(cluster: Cluster) -> None:
    """Returns once every worker has spoken with every other, and sets `TF_CONFIG` for TensorFlow.

    Each listens on its own address, and asks the others who they are. Raises UsageError for those
    that are silent after MEETING_SECONDS, or have another list of workers or other versions.
    """
    address = cluster.workers[cluster.index]
    try:
        with socket.socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind(_address(address))
            own.listen()
    except OSError as error:
        raise UsageError(
            f"worker {cluster.index}: expected to listen on {address}, received: {error.strerror}"
        ) from None
    _meet(cluster)
    task = {"type": "worker", "index": cluster.index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster.workers}, "task": task})


def _meet(cluster: Cluster) -> None:
    me = {"index": cluster.index, "workers": list(cluster.workers), "versions": versions()}
    hello, until = json.dumps(me).encode() + b"\n", time.monotonic() + MEETING_SECONDS
    awaited, problems = {*range(len(cluster.workers))} - {cluster.index}, {}
    heard_by: set[int] = set()

    def answer(server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                asking, _ = server.accept()
                with asking, contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    asking.settimeout(3)
                    heard = json.loads(asking.makefile().readline())
                    asking.sendall(hello)
                    heard_by.add(heard["index"])

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(_address(cluster.workers[cluster.index])))
        thread = threading.Thread(target=answer, args=(server,), daemon=True)
        thread.start()
        stack.callback(thread.join)
        # To close it alone would not wake the thread, which would keep the address.
        stack.callback(server.shutdown, socket.SHUT_RDWR)
        while awaited or len(heard_by) < len(cluster.workers) - 1:
            for number in sorted(awaited):
                try:
                    with socket.create_connection(_address(cluster.workers[number]), 3) as asked:
                        asked.sendall(hello)
                        other = dict(json.loads(asked.makefile().readline()))
                except (OSError, ValueError, TypeError) as error:
                    reason = getattr(error, "strerror", None) or "no answer"
                    problems[number] = f"worker {number} ({cluster.workers[number]}): {reason}"
                    continue
                if other | {"index": 0} != me | {"index": 0}:
                    raise UsageError(
                        f"worker {cluster.index}: expected worker {number} to have "
                        f"{me['workers']}, {me['versions']}; "
                        f"received {other['workers']}, {other['versions']}"
                    )
                awaited.discard(number)
            if time.monotonic() > until:
                silent = [problems[number] for number in sorted(awaited)] or [
                    "some workers are not heard"
                ]
                raise UsageError(
                    f"worker {cluster.index}: expected {len(cluster.workers)} workers to meet "
                    f"within {MEETING_SECONDS} s, received: {'; '.join(silent)}"
                )
            time.sleep(0.1)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
