"""Workers on several machines: who they are, and how they meet before TensorFlow starts.

`TF_CONFIG` or Slurm describes the cluster. TensorFlow itself waits without a limit for a worker
that is missing, and says nothing; `rendezvous` says within 25 seconds who is missing, or differs.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from common.system import UsageError, versions

TF_CONFIG = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}'
MAX_TASKS_PER_NODE = 64  # without a number Slurm's resolver would ask nvidia-smi
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
    expected = f"TF_CONFIG: expected {TF_CONFIG}, each address once"
    try:
        if "TF_CONFIG" in environment:
            config = json.loads(environment["TF_CONFIG"])
            jobs, kind, index = config["cluster"], config["task"]["type"], config["task"]["index"]
        elif environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":  # of srun, not of a batch script
            expected = "Slurm: expected the variables of a job step"
            resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
                port_base=SLURM_PORT, gpus_per_node=MAX_TASKS_PER_NODE, auto_set_gpu=False
            )
            jobs = resolver.cluster_spec().as_dict()
            kind, index = resolver.get_task_info()
        else:
            return None
        workers, kinds = jobs["worker"], {*jobs, kind}
        if kinds != {"worker"}:
            raise ValueError(f"jobs {sorted(kinds)}")
        for host, port in map(_address, workers):
            if not host or not 0 < port < 65_536:
                raise ValueError(f"address {host}:{port}")
        if len(set(workers)) < len(workers) or int(index) not in range(len(workers)):
            raise ValueError(f"index {index} of workers {workers}")
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError) as error:
        raise UsageError(f"{expected}; received: {error!r}") from None
    return Cluster(tuple(workers), int(index)) if len(workers) > 1 else None


def rendezvous(cluster: Cluster) -> None:
    """Returns once all workers have reported to worker 0, and sets `TF_CONFIG` for TensorFlow.

    After at most MEETING_SECONDS worker 0 tells every worker that is there who is missing, or has
    another list of workers or other versions: all of them raise UsageError.
    """
    address = cluster.workers[cluster.index]
    mine = {"workers": list(cluster.workers), "versions": versions()}
    try:
        server = socket.create_server(_address(address))
    except OSError as error:
        expected = f"worker {cluster.index}: expected to listen on {address}"
        raise UsageError(f"{expected}, received: {error.strerror}") from None
    with server:
        problem = _report(cluster, mine) if cluster.index else _hear(server, mine)
    if problem:
        raise UsageError(problem)
    task = {"type": "worker", "index": cluster.index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster.workers}, "task": task})


def _report(cluster: Cluster, mine: dict) -> str:
    """What worker 0 answers: what is wrong, if anything is."""
    first, until = cluster.workers[0], time.monotonic() + MEETING_SECONDS
    while True:
        try:
            with socket.create_connection(_address(first), CONNECTION_SECONDS) as connection:
                seconds = max(0, until - time.monotonic())
                connection.settimeout(seconds + CONNECTION_SECONDS)
                report = {"index": cluster.index, "seconds": seconds, **mine}
                connection.sendall(f"{json.dumps(report)}\n".encode())
                return json.loads(connection.makefile().readline())
        except (OSError, ValueError) as error:
            if time.monotonic() > until:
                expected = f"an answer of worker 0 ({first}) within {MEETING_SECONDS} s"
                return f"worker {cluster.index}: expected {expected}, received: {error}"
            time.sleep(0.1)


def _hear(server: socket.socket, mine: dict) -> str:
    """As worker 0: what is wrong, if anything is; those that have reported are told the same."""
    workers, until = mine["workers"], time.monotonic() + MEETING_SECONDS
    missing, reports = {*range(1, len(workers))}, {}
    server.settimeout(0.1)
    while missing and time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # nobody, or a stranger
            connection, _ = server.accept()
            connection.settimeout(CONNECTION_SECONDS)
            theirs = json.loads(connection.makefile().readline())
            reports[theirs["index"]] = {name: theirs[name] for name in mine}, connection
            until = min(until, time.monotonic() + theirs["seconds"])  # as long as all wait
            missing -= reports.keys()
    problems = [f"no worker {index} ({workers[index]})" for index in sorted(missing)]
    for index, (theirs, _) in reports.items():
        if theirs != mine:
            problems.append(f"worker {index} with {theirs} instead of {mine}")
    expected = f"expected {len(workers)} workers to meet within {MEETING_SECONDS} s"
    problem = f"{expected}, received: {'; '.join(problems)}" if problems else ""
    for _, connection in reports.values():
        with contextlib.suppress(OSError), connection:
            connection.sendall(f"{json.dumps(problem)}\n".encode())
    return problem


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
