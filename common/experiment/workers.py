"""Runs tasks side by side in processes and survives the death of any of them."""

import contextlib
import functools
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Hashable, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

from common.system import cores

Report = Callable[[float], None]  # takes the share of a task that is done, in [0, 1]


def run(
    tasks: Mapping[Hashable, Any],
    work: Callable[[Any, Report], Any],
    start: Callable[[int], None],
    jobs: int,
    on_progress: Callable[[Hashable, float], None],
    on_result: Callable[[Hashable, Any], None],
) -> dict[Hashable, str]:
    """Calls `work(task, report)` for every task, in this process or in `jobs` > 1 spawned ones.

    A task whose process dies is lost, the others go on. After an exception no other task begins;
    it is raised when those begun are finished. After Ctrl-C the processes are ended.

    Args:
        tasks: by key; tasks and results are pickled, and `work` is imported.
        start: called once in each process with the number of threads it may use.
        on_progress, on_result: called here with (key, share done) and (key, result).

    Returns the tasks that are lost, and how their process died.
    """
    threads, deaths = max(1, cores() // jobs), {}
    if jobs == 1:
        start(threads)
        for key, task in tasks.items():
            on_result(key, work(task, functools.partial(on_progress, key)))
        return deaths

    context = multiprocessing.get_context("spawn")
    waiting, errors = list(tasks.items()), []
    processes: dict[Connection, Any] = {}  # by our end of the pipe to them
    busy: dict[Connection, Hashable] = {}  # the key of the task that is worked on at its other end

    def hand_out(connection: Connection) -> None:
        if waiting and not errors:
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
                    kind, content = connection.recv()
                except (EOFError, OSError):  # the other end is gone, and with it the process
                    deaths[busy.pop(connection)] = _death(processes[connection])
                    continue
                if kind == "share":
                    on_progress(busy[connection], content)
                    continue
                key = busy.pop(connection)
                if kind == "result":
                    on_result(key, content)
                else:
                    errors.append(content)
                hand_out(connection)
    except BaseException:  # interrupted, or a result could not be taken
        for process in processes.values():
            process.terminate()
        raise
    finally:
        for process in processes.values():
            process.join()
    if errors:
        raise errors[0]
    return deaths


def _death(process: Any) -> str:
    process.join()
    code = process.exitcode
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _serve(connection: Connection, work: Callable, start: Callable, threads: int) -> None:
    """Works on tasks in a process until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    start(threads)
    with contextlib.suppress(EOFError, BrokenPipeError):  # no more tasks, or the parent is gone
        while True:
            task = connection.recv()
            try:
                said = "result", work(task, lambda share: connection.send(("share", share)))
            except Exception as error:
                said = "error", _portable(error)
            connection.send(said)


def _portable(error: Exception) -> Exception:
    """The exception if it survives pickling, else its text; with the traceback of this process."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(text)
    return error
