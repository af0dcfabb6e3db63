"""Runs tasks side by side in processes and survives the death of any of them."""

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from common.system import cores

Report = Callable[[float], None]  # takes the share of a task that is done, in [0, 1]


@dataclass
class Outcomes:
    """What became of each task, by its key: a result, the exception it raised, or its death."""

    results: dict[Hashable, Any] = field(default_factory=dict)
    errors: dict[Hashable, Exception] = field(default_factory=dict)
    deaths: dict[Hashable, str] = field(default_factory=dict)


def run(
    tasks: Mapping[Hashable, Any],
    work: Callable[[Any, Report], Any],
    start: Callable[[int], None],
    jobs: int,
    on_progress: Callable[[Hashable, float], None],
    on_result: Callable[[Hashable, Any], None],
) -> Outcomes:
    """Calls `work(task, report)` for every task, in this process or in `jobs` > 1 spawned ones.

    A task whose process dies is lost, the others go on. After an exception no other task begins.

    Args:
        tasks: by key; tasks and results are pickled, and `work` is imported.
        start: called once in each process with the number of threads it may use.
        on_progress, on_result: called here with (key, share done) and (key, result).

    Raises KeyboardInterrupt after the processes are gone.
    """
    threads = max(1, cores() // jobs)
    waiting, outcomes = list(tasks.items()), Outcomes()

    def finish(key: Hashable, result: Any, error: Exception | None) -> None:
        if error:
            outcomes.errors[key] = error
            waiting.clear()
        else:
            outcomes.results[key] = result
            on_result(key, result)

    if jobs == 1:
        start(threads)
        while waiting:
            key, task = waiting.pop(0)
            finish(key, *_attempt(work, task, lambda done, key=key: on_progress(key, done)))
        return outcomes

    context = multiprocessing.get_context("spawn")
    processes: dict[Connection, Any] = {}  # by our end of the pipe to them
    busy: dict[Connection, Hashable] = {}  # the key of the task that is worked on at its other end

    def hand_out(connection: Connection) -> None:
        if waiting:
            busy[connection], task = waiting.pop(0)
            connection.send(task)
        else:
            connection.close()  # tells the process to end

    try:
        for _ in range(min(jobs, len(tasks))):
            ours, theirs = context.Pipe()
            arguments = theirs, work, start, threads
            processes[ours] = context.Process(target=_serve, args=arguments, daemon=True)
            processes[ours].start()
            theirs.close()
            hand_out(ours)
        while busy:
            for connection in wait(list(busy)):
                try:
                    share, *finished = connection.recv()
                except (EOFError, OSError):  # the other end is gone, and with it the process
                    processes[connection].join()
                    code = processes[connection].exitcode
                    name = f"killed by {signal.Signals(-code).name}" if code < 0 else ""
                    outcomes.deaths[busy.pop(connection)] = name or f"ended with code {code}"
                    continue
                if finished:
                    finish(busy.pop(connection), *finished)
                    hand_out(connection)
                else:
                    on_progress(busy[connection], share)
    except BaseException:  # interrupted, or a result could not be taken
        for process in processes.values():
            process.terminate()
        raise
    finally:
        for process in processes.values():
            process.join()
    return outcomes


def _attempt(work: Callable, task: Any, report: Report) -> tuple[Any, Exception | None]:
    """The task's result, and the exception that it raised instead."""
    try:
        return work(task, report), None
    except Exception as error:
        return None, error


def _serve(connection: Connection, work: Callable, start: Callable, threads: int) -> None:
    """Works on tasks in a process until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    start(threads)
    try:
        while True:
            result, error = _attempt(work, connection.recv(), lambda done: connection.send([done]))
            connection.send([1.0, result, error and _portable(error)])
    except (EOFError, BrokenPipeError):  # there are no more tasks, or the parent is gone
        return


def _portable(error: Exception) -> Exception:
    """The exception if it survives pickling, else its text; with the traceback of this process."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(text)
    return error
