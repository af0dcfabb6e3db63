"""Runs tasks on Dask's workers, processes of this machine or of many, and survives their deaths."""

import asyncio
import contextlib
import functools
import json
import logging
import math
import os
import pickle
import queue
import signal
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import CancelledError
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, KilledWorker, LocalCluster, TimeoutError, Worker, get_worker, wait
from distributed.comm import get_address_host_port, normalize_address

from common.system import UsageError, cores

Report = Callable[[float], None]  # takes the share of a task that is done, in [0, 1]
Start = Callable[[int, int | None], None]  # takes a number of threads, and that of a process
DEATHS = 3  # of workers, after which the task that they had in common is given up
CONNECTION_SECONDS = 10
WORKERS_SECONDS = 60  # in which the first worker of a cluster must be there
LOOK_SECONDS = 0.5  # between two looks at progress, and at workers that come late
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.http.routes": [],
}


def run(
    tasks: Mapping[Hashable, Any],
    work: Callable[[Any, Report], Any],
    start: Start,
    jobs: int,
    on_progress: Callable[[Hashable, float], None],
    on_result: Callable[[Hashable, Any], None],
    cluster: str | None = None,
    renew: float = math.inf,
) -> tuple[dict[Hashable, str], int]:
    """Calls `work(task, report)` for every task, in this process, in `jobs` > 1 or on a cluster.

    A task whose worker dies is begun again on another one; after DEATHS it is lost, and the others
    go on. After an exception no other task begins; it is raised when those begun are finished.
    After Ctrl-C those begun are given up.

    Args:
        tasks: by key. Tasks and results are pickled; `work` and `start` are imported by name.
        start: called in each process before its tasks, and in other processes again before each
            of them, with the number of threads that it may use, and its number among the `jobs`
            processes, from 0 on; 0 on a cluster, None in this process.
        on_progress, on_result: called here with (key, share done) and (key, result).
        cluster: address of a Dask scheduler, or the file that it has written.
        renew: bytes of memory; a new process takes the place of one that holds more after a task,
            for what XLA has compiled stays in it. With `jobs` > 1 only.

    Returns the tasks that are lost, and why; and how many were begun again. Raises UsageError.
    """
    if jobs == 1 and not cluster:
        start(cores(), None)
        for key, task in tasks.items():
            on_result(key, work(task, functools.partial(on_progress, key)))
        return {}, 0
    with _silent(), _joined(cluster) if cluster else _own(jobs) as client:
        try:
            return _on(client, tasks, work, start, on_progress, on_result, renew)
        except ImportError as error:
            expected = "expected workers that can import what this process does"
            raise UsageError(f"{expected} (start them in its folder), received: {error}") from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silences Dask's log; errors are reported here, in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _own(jobs: int) -> Iterator[Client]:
    """A scheduler in this process and worker processes beside it, which end with it."""
    with dask.config.set(QUIET):
        with _uninterrupted(), _unimported():
            processes = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # a port that is free; nothing is shown there
                memory_limit=0,  # Dask would stop what needs much memory
                silence_logs=logging.CRITICAL + 1,
            )
        with processes, Client(processes) as client:
            try:
                yield client
            except BaseException:  # Dask would wait until their tasks end
                for nanny in processes.workers.values():
                    nanny.auto_restart = False
                    with contextlib.suppress(TypeError, ProcessLookupError):  # it has none
                        os.kill(nanny.pid, signal.SIGKILL)
                raise


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delays Ctrl-C until what is started within has started, and keeps it from those processes.

    Dask leaves much behind if it is interrupted while it starts. This process ends the others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # by itself it would let Ctrl-C through again
    blocked, came = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}), []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _unimported() -> Iterator[None]:
    """A process that is started within does not import the program, which takes it seconds.

    It imports what it is sent by the name of its module.
    """
    program = sys.modules["__main__"]
    hidden = ("__spec__", "__file__")
    names = {name: getattr(program, name) for name in hidden if hasattr(program, name)}
    program.__dict__.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            delattr(program, name)
        program.__dict__.update(names)


@contextlib.contextmanager
def _joined(cluster: str) -> Iterator[Client]:
    """A client of a scheduler that runs, once it has a worker."""
    expected = "--cluster: expected the address or the file of a Dask scheduler"
    try:
        is_file = Path(cluster).is_file()
        address = json.loads(Path(cluster).read_text())["address"] if is_file else cluster
        # A client that cannot connect would leave a thread behind, which may block the next one.
        where = get_address_host_port(normalize_address(address), strict=True)
        socket.create_connection(where, CONNECTION_SECONDS).close()
        client = Client(address, timeout=CONNECTION_SECONDS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{expected} that answers, received {cluster}: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, WORKERS_SECONDS)
        except TimeoutError:
            received = f"received {cluster}, which has none within {WORKERS_SECONDS} s"
            raise UsageError(f"{expected} with workers, {received}") from None
        several = [at for at, threads in client.ncores().items() if threads > 1]
        if several:  # TensorFlow's random numbers and number format are those of a process
            received = f"received several threads at {', '.join(several)}"
            raise UsageError(f"--cluster: expected workers with --nthreads 1, {received}")
        yield client


def _on(
    client, tasks, work, start, on_progress, on_result, renew
) -> tuple[dict[Hashable, str], int]:
    """`run` on the workers of a client: as many tasks as there are workers are handed out at once.

    None is queued at a busy worker: if that worker died, the queued task would be blamed too.
    """
    topic, events = uuid.uuid4().hex, queue.SimpleQueue()
    names, begun = {f"{topic}-{i}": key for i, key in enumerate(tasks)}, Counter()
    waiting, running, lost, errors = list(names), {}, {}, []

    # A scheduler has none of this code: functions within a function are sent to it by value.
    def give_up(dask_scheduler):
        dask_scheduler.allowed_failures = DEATHS - 1

    async def end(address, most, dask_scheduler):
        worker = dask_scheduler.workers.get(address)
        # It may have been handed the next task by now.
        if worker and not worker.processing and worker.metrics["memory"] > most:
            how = {"wait_for_workers": False, "on_error": "return", "stimulus_id": "renew"}
            await dask_scheduler.restart_workers([address], **how)
            while dask_scheduler.workers.get(address) is worker:  # or it is handed another one
                await asyncio.sleep(0.05)

    def work_at(packed):
        return pickle.loads(packed)()

    def begin(packed, dask_worker):
        pickle.loads(packed)(dask_worker)

    client.run_on_scheduler(give_up)
    client.subscribe_topic(topic, lambda event: events.put(event[1]))
    client.run(begin, pickle.dumps(functools.partial(_begin, start, _by_machine(client))))
    try:
        while running or (waiting and not errors):
            workers = _by_machine(client)
            while waiting and not errors and len(running) < workers.total():
                name = waiting.pop(0)
                task = functools.partial(_work, topic, work, start, workers, tasks[names[name]])
                future = client.submit(work_at, pickle.dumps(task), key=name, pure=False)
                running[future] = names[name]
            if not running:  # no worker is left; others may come
                time.sleep(LOOK_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                wait(list(running), LOOK_SECONDS, "FIRST_COMPLETED")
            while not events.empty():
                name, share = events.get()
                begun[name] += share is None
                if share is not None and names[name] in running.values():
                    on_progress(names[name], share)
            for future in [one for one in running if one.done()]:
                key = running.pop(future)
                try:
                    result = future.result()
                except CancelledError:
                    raise
                except KilledWorker:
                    lost[key] = f"{DEATHS} workers died of it"
                except Exception as error:
                    errors.append(error)
                else:
                    where = client.who_has([future])[future.key] if renew < math.inf else ()
                    future.release()  # or it is computed again if the worker that has it dies
                    for address in where:
                        client.run_on_scheduler(end, address, renew)
                    on_result(key, result)
    except CancelledError:  # by the scheduler's death
        lost |= dict.fromkeys(running.values(), "the scheduler is gone")
        lost |= {names[name]: "the scheduler is gone" for name in waiting}
    except BaseException:  # interrupted, or a result could not be taken
        client.cancel(list(running), force=True)
        raise
    if errors:
        raise errors[0]
    return lost, sum(count - 1 for count in begun.values())


def _by_machine(client: Client) -> Counter[str]:
    """How many workers each machine has. Raises CancelledError if the scheduler is gone."""
    try:
        return Counter(urlsplit(address).hostname for address in client.ncores())
    except OSError:
        raise CancelledError from None


def _begin(start: Start, workers: Mapping[str, int], dask_worker: Worker) -> None:
    """On a worker: `start`, with its share of the cores. A UsageError names the worker."""
    address, name = dask_worker.address, dask_worker.name
    threads = max(1, cores() // workers.get(urlsplit(address).hostname, 1))
    try:
        start(threads, name if isinstance(name, int) else 0)
    except UsageError as error:
        raise UsageError(f"worker {address}: {error}") from None


def _work(topic: str, work: Callable, start: Start, workers: Mapping, task: Any) -> Any:
    """On a worker: `work(task)`, whose reports go to the topic; None reports that it has begun."""
    worker = get_worker()
    name = worker.get_current_task()
    worker.log_event(topic, (name, None))
    # Here too, for the worker may be new, and Keras's settings are those of a thread.
    _begin(start, workers, worker)

    def report(share: float) -> None:
        known = worker.state.tasks.get(name)
        if known is None or known.state not in ("executing", "long-running"):
            raise CancelledError(f"{name}: nobody waits for it any more")
        worker.log_event(topic, (name, share))

    return work(task, report)
