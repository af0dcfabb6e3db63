"""Tasks side by side: results, errors, and deaths that take nobody along."""

import os
import signal
import time
import traceback

import pytest

from common.experiment import workers
from common.system import cores


def start(threads):
    os.environ["TEST_THREADS"] = str(threads)


def work(task, report):
    report(0.5)
    if task == "raise":
        raise ValueError("expected something else, received raise")
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "unpicklable":
        error = RuntimeError("a strange one")
        error.extra = lambda: None
        raise error
    time.sleep(0.05)
    return task, os.getpid(), os.environ["TEST_THREADS"]


def run(tasks, jobs):
    """-> deaths, results, and what was reported, in order."""
    results, seen = {}, []
    deaths = workers.run(
        dict(enumerate(tasks)),
        work,
        start,
        jobs,
        on_progress=lambda key, done: seen.append((key, done)),
        on_result=results.__setitem__,
    )
    return deaths, results, seen


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_all_results_come_in(jobs):
    _, results, seen = run("abcd", jobs)
    assert {key: result[0] for key, result in results.items()} == dict(enumerate("abcd"))
    assert {(key, 0.5) for key in range(4)} <= set(seen)
    processes = {result[1] for result in results.values()}
    assert (processes == {os.getpid()}) is (jobs == 1)
    threads = {result[2] for result in results.values()}
    assert threads == {str(max(1, cores() // jobs))}


def test_a_death_is_named_and_the_others_go_on():
    deaths, results, _ = run(["a", "die", "b", "c"], jobs=2)
    assert set(results) == {0, 2, 3}
    assert deaths == {1: "killed by SIGKILL"}


def test_when_all_processes_are_dead_the_rest_is_left():
    deaths, results, _ = run(["die", "die", "a"], jobs=2)
    assert set(deaths) == {0, 1}
    assert not results


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_arrives_with_its_type_and_traceback_and_stops_the_rest(jobs):
    taken = []
    with pytest.raises(ValueError, match="expected something else, received raise") as raised:
        workers.run(
            dict(enumerate(["raise", *range(100)])),
            work,
            start,
            jobs,
            lambda *_: None,
            lambda key, result: taken.append(key),
        )
    assert len(taken) < 50  # those of the other process while the error travelled
    where = "".join(traceback.format_exception(raised.value))
    assert 'raise ValueError("expected something else' in where


def test_an_error_that_cannot_travel_arrives_as_text():
    with pytest.raises(RuntimeError, match="a strange one"):
        run(["unpicklable", "a"], jobs=2)


def test_a_result_that_cannot_be_taken_ends_all():
    """As on a full disk; the process that waits for its next task must not be waited for."""

    def refuse(key, result):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        workers.run({0: "a"}, work, start, 2, lambda *_: None, refuse)
