"""Workers on several machines: who they are, and how they meet before TensorFlow starts.

`TF_CONFIG` or Slurm describes the cluster. TensorFlow itself waits without a limit for a worker
that is missing, and says nothing; `rendezvous` says within seconds who is missing, or differs.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from common.system import UsageError, versions

MAX_TASKS_PER_NODE = 64
MEETING_SECONDS = 25  # in which all workers of a cluster must have met
CONNECTION_SECONDS = 2
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
    last = len(found.workers) - 1
    if len(set(found.workers)) <= last:
        raise UsageError(f"TF_CONFIG: expected each address once, received {found.workers}")
    if not 0 <= found.index <= last:
        raise UsageError(f"TF_CONFIG: expected an index from 0 to {last}, received {found.index}")
    return found if last else None


def _from_tf_config(text: str) -> Cluster:
    try:
        described = json.loads(text)
        workers, task = described["cluster"]["worker"], described["task"]
        if set(described["cluster"]) != {"worker"} or task["type"] != "worker":
            raise ValueError("workers only")
        for worker in workers:
            host, port = _address(worker)
            if not host or not 0 < port < 65_536:
                raise ValueError(worker)
        return Cluster(tuple(workers), int(task["index"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            'TF_CONFIG: expected {"cluster": {"worker": ["HOST:PORT", ...]}, '
            f'"task": {{"type": "worker", "index": N}}}}, received {text[:200]}'
        ) from None


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

    Each listens on its own address, and tells all others who it is. Raises UsageError for those
    that are silent after MEETING_SECONDS, or have another list of workers or other versions.
    """
    me, address = f"worker {cluster.index}", cluster.workers[cluster.index]
    try:
        server = socket.create_server(_address(address))
    except OSError as error:
        raise UsageError(
            f"{me}: expected to listen on {address}, received: {error.strerror}"
        ) from None
    server.settimeout(0.1)
    mine = {"workers": list(cluster.workers), "versions": versions()}
    others = {*range(len(cluster.workers))} - {cluster.index}
    told, heard, reasons = set(), set(), {}
    until = time.monotonic() + MEETING_SECONDS
    with server:
        while told & heard < others:
            for number in sorted(others - told):
                try:
                    _tell(cluster.workers[number], {"index": cluster.index, **mine})
                    told.add(number)
                    reasons[number] = "no answer"
                except OSError as error:
                    reasons[number] = error.strerror or "no answer"
            theirs = _listen(server)
            if theirs:
                number = theirs.pop("index")
                if theirs != mine:
                    raise UsageError(
                        f"{me}: expected worker {number} to have {mine}; received {theirs}"
                    )
                heard.add(number)
            if time.monotonic() > until:
                silent = [
                    f"worker {number} ({cluster.workers[number]}): {reasons[number]}"
                    for number in sorted(others - (told & heard))
                ]
                raise UsageError(
                    f"{me}: expected {len(others) + 1} workers to meet within {MEETING_SECONDS} s, "
                    f"received: {'; '.join(silent)}"
                )
    task = {"type": "worker", "index": cluster.index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster.workers}, "task": task})


def _tell(address: str, message: dict) -> None:
    with socket.create_connection(_address(address), CONNECTION_SECONDS) as connection:
        connection.sendall(json.dumps(message).encode())


def _listen(server: socket.socket) -> dict | None:
    """What the next worker says; None if nobody does, or it is no worker."""
    try:
        connection, _ = server.accept()
        connection.settimeout(CONNECTION_SECONDS)
        with connection:
            message = json.loads(connection.makefile().read())
        return {name: message[name] for name in ("index", "workers", "versions")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
