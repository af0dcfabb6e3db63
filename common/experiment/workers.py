"""Runs tasks side by side in processes and survives the death of any of them."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from common.system import cores

Report = Callable[[float], None]  # how much of the task is done, in [0, 1]


@dataclass
class Outcomes:
    """What became of each task, by its key: a result, the exception it raised, or its death."""

    results: dict[Hashable, Any] = field(default_factory=dict)
    errors: dict[Hashable, BaseException] = field(default_factory=dict)
    deaths: dict[Hashable, str] = field(default_factory=dict)


def run(
    tasks: Mapping[Hashable, Any],
    work: Callable[[Any, Report], Any],
    start: Callable[[int], None],
    jobs: int,
    on_progress: Callable[[Hashable, float], None],
    on_result: Callable[[Hashable, Any], None],
) -> Outcomes:
    """Calls `work(task, report)` for every task, `jobs` at a time.

    With one job everything runs in this process. Otherwise in `jobs` spawned ones, each with its
    share of the processor's cores; a task whose process dies is lost, the others go on. After an
    exception in a task no other one begins.

    Args:
        tasks: by key; tasks and results are pickled.
        work: an importable function.
        start: called once in each process with the number of threads it may use.
        on_progress, on_result: called here as reports and results come in.

    Raises:
        KeyboardInterrupt: after the processes are gone; results until then have been handed over.
    """
    threads = max(1, cores() // jobs)
    outcomes = Outcomes()
    if jobs == 1:
        start(threads)
        for key, task in tasks.items():
            try:
                result = work(task, lambda done, key=key: on_progress(key, done))
            except Exception as error:
                outcomes.errors[key] = error
                break
            outcomes.results[key] = result
            on_result(key, result)
        return outcomes
    _run_in_processes(tasks, (work, start, threads), jobs, on_progress, on_result, outcomes)
    return outcomes


def _run_in_processes(tasks, how, jobs, on_progress, on_result, outcomes) -> None:
    context = multiprocessing.get_context("spawn")
    waiting = list(tasks.items())
    busy: dict[
        Connection, tuple[Any, Hashable]
    ] = {}  # our end of the pipe -> (process, task's key)
    processes = []

    def hand_out(connection: Connection, process) -> None:
        if waiting and not outcomes.errors:
            key, task = waiting.pop(0)
            connection.send(task)
            busy[connection] = (process, key)
        else:
            connection.close()  # tells the process to end

    done = False
    try:
        for _ in range(min(jobs, len(tasks))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, *how), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            hand_out(ours, process)
        while busy:
            for connection in wait(list(busy)):
                process, key = busy[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError):  # the other end is gone, and with it the process
                    process.join()
                    outcomes.deaths[key] = _cause(process.exitcode)
                    del busy[connection]
                    connection.close()
                    continue
                if kind == "progress":
                    on_progress(key, value)
                    continue
                del busy[connection]
                if kind == "result":
                    outcomes.results[key] = value
                    on_result(key, value)
                else:
                    outcomes.errors[key] = value
                hand_out(connection, process)
        done = True
    finally:
        for process in processes:
            if not done:  # interrupted, or a result could not be taken
                process.terminate()
            process.join()


def _serve(connection: Connection, work, start, threads: int) -> None:
    """Works on tasks in a process until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    start(threads)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            message = ("result", work(task, lambda done: connection.send(("progress", done))))
        except BrokenPipeError:  # the parent is gone
            return
        except Exception as error:
            message = ("error", _portable(error))
        connection.send(message)


def _portable(error: Exception) -> Exception:
    """The exception if it survives pickling, else its text; with the traceback of this process."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(text)
    return error


def _cause(exitcode: int) -> str:
    if exitcode < 0:
        return f"killed by {signal.Signals(-exitcode).name}"
    return f"ended with code {exitcode}"
