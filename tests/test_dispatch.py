"""Tasks side by side, on processes of this machine and on a cluster: results, errors and deaths."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import psutil
import pytest

from common import dispatch
from common.system import UsageError, cores

ROOT = Path(__file__).parents[1]
NOTHING = {"on_progress": lambda *_: None}


def start(threads, number):
    os.environ["TEST_PROCESS"] = f"{threads} {number}"


def work(task, report):
    """`task` is what happens, and a file in which this process writes its number."""
    what, file = task
    with file.open("a") as begun:
        begun.write(f"{os.getpid()}\n")
    report(0.5)
    if what == "raise":
        raise ValueError("expected something else, received raise")
    time.sleep(0.05)
    if what == "die" or (what == "die once" and file.read_text().count("\n") == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "unpicklable":
        error = RuntimeError("a strange one")
        error.extra = lambda: None
        raise error
    if what == "stuck":
        time.sleep(60)
        file.with_suffix(".end").touch()
    return what, os.getpid(), os.environ["TEST_PROCESS"]


def run(folder, tasks, jobs=1, cluster=None, renew=math.inf):
    """-> lost tasks, how many were begun again, results, and what was reported, in order."""
    results, seen = {}, []
    lost, again = dispatch.run(
        {i: (what, folder / f"{i}.begun") for i, what in enumerate(tasks)},
        work,
        start,
        jobs,
        on_progress=lambda key, done: seen.append((key, done)),
        on_result=results.__setitem__,
        cluster=cluster,
        renew=renew,
    )
    return lost, again, results, seen


def at_work():
    """Processes that Dask has started here."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "spawn_main" in " ".join(one.cmdline())]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_all_results_come_in(jobs, tmp_path):
    lost, again, results, seen = run(tmp_path, "abcd", jobs)
    assert (lost, again) == ({}, 0)
    assert {key: result[0] for key, result in results.items()} == dict(enumerate("abcd"))
    assert {(key, 0.5) for key in range(4)} <= set(seen)
    processes = {result[1] for result in results.values()}
    assert (processes == {os.getpid()}) is (jobs == 1)
    settings = {result[2] for result in results.values()}
    numbers = [None] if jobs == 1 else range(jobs)
    assert settings <= {f"{max(1, cores() // jobs)} {number}" for number in numbers}


@pytest.mark.parametrize("most", [0, 2**40])
def test_processes_that_hold_much_memory_are_renewed(most, tmp_path, capfd):
    """All but those that have the next task before their last result has arrived here."""
    lost, again, results, _ = run(tmp_path, "abcd", 2, renew=most)
    assert (lost, again) == ({}, 0)
    assert {key: result[0] for key, result in results.items()} == dict(enumerate("abcd"))
    assert (len({result[1] for result in results.values()}) > 2) is (most == 0)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_said_and_no_port_is_opened_to_others(tmp_path, capfd):
    listening = []

    def look(key, result):
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            listening.extend(c.laddr.ip for c in process.net_connections() if c.status == "LISTEN")

    tasks = {0: ("a", tmp_path / "a"), 1: ("b", tmp_path / "b")}
    dispatch.run(tasks, work, start, 2, **NOTHING, on_result=look)
    assert set(listening) == {"127.0.0.1"}
    assert capfd.readouterr() == ("", "")


def test_a_task_that_kills_three_workers_is_lost_and_the_others_go_on(tmp_path, capfd):
    lost, again, results, _ = run(tmp_path, ["a", "die", "b", "c"], jobs=2)
    assert set(results) == {0, 2, 3}
    assert lost == {1: "3 workers died of it"}
    assert len((tmp_path / "1.begun").read_text().splitlines()) == 3
    assert again == 2
    assert capfd.readouterr() == ("", "")


def test_a_task_whose_worker_dies_is_begun_again(tmp_path):
    lost, again, results, _ = run(tmp_path, ["die once", "a"], jobs=2)
    assert (lost, again) == ({}, 1)
    first, second = (tmp_path / "0.begun").read_text().split()
    assert first != second
    assert results[0][1] == int(second)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_arrives_with_its_type_and_traceback_and_stops_the_rest(jobs, tmp_path):
    with pytest.raises(ValueError, match="expected something else, received raise") as raised:
        run(tmp_path, ["raise", *range(100)], jobs)
    assert len(list(tmp_path.glob("*.begun"))) < 50  # those begun while the error traveled
    where = "".join(traceback.format_exception(raised.value))
    assert 'raise ValueError("expected something else' in where


def test_an_error_that_cannot_travel_arrives_as_text(tmp_path):
    with pytest.raises(Exception, match="a strange one"):
        run(tmp_path, ["unpicklable", "a"], jobs=2)


def test_a_result_that_cannot_be_taken_ends_all(tmp_path):
    """As on a full disk; a process that is at work must not be waited for."""

    def refuse(key, result):
        raise OSError("no space left")

    tasks = {0: ("a", tmp_path / "a"), 1: ("stuck", tmp_path / "b")}
    with pytest.raises(OSError, match="no space left"):
        dispatch.run(tasks, work, start, 2, **NOTHING, on_result=refuse)
    assert not at_work()
    assert not (tmp_path / "b.end").exists()


HIDDEN = ("__file__", "__spec__")


def test_ctrl_c_comes_after_the_processes_have_started():
    """And never to what is started within; a program that is started is not imported there."""
    seen, program = [], sys.modules["__main__"]
    before = {name: value for name, value in vars(program).items() if name in HIDDEN}
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def interrupted():
        with dispatch._uninterrupted(), dispatch._unimported():
            os.kill(os.getpid(), signal.SIGINT)
            seen.append(subprocess.check_output([sys.executable, "-c", code]))
            seen.append((program.__file__, program.__spec__))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen == [b"True\n", (None, None)]
    assert {name: value for name, value in vars(program).items() if name in HIDDEN} == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_interrupted_it_ends_its_processes_whatever_they_are_at(tmp_path):
    def interrupt(key, share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dispatch.run({0: ("stuck", tmp_path / "a")}, work, start, 2, interrupt, print)
    assert not at_work()
    assert not (tmp_path / "a.end").exists()


# --- a cluster


class Cluster:
    """`dask scheduler` and `dask worker` on 127.0.0.1, as a user starts them."""

    def __init__(self, folder: Path):
        self.file, self._processes = folder / "scheduler.json", []
        how = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file))
        self.scheduler = self._start(folder, "scheduler", *how)  # which has none of our code
        until = time.monotonic() + 60
        while not self.file.exists():
            assert time.monotonic() < until
            time.sleep(0.05)

    def worker(self, *flags: str, code: Path = ROOT) -> psutil.Popen:
        """A nanny and the process that works for it."""
        flags = flags or ("--nthreads", "1")
        flags = "--scheduler-file", str(self.file), "--host", "127.0.0.1", *flags
        return self._start(code, "worker", *flags)

    def _start(self, code: Path, kind: str, *flags: str) -> psutil.Popen:
        process = psutil.Popen(
            [sys.executable, "-m", "dask", kind, "--no-dashboard", *flags],
            cwd=code,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def ask(self, question):
        """What a client of it learns."""
        with dispatch.Client(scheduler_file=str(self.file)) as client:
            return question(client)

    def at_work(self) -> set[str]:
        """The tasks that the workers have."""
        return {key for keys in self.ask(dispatch.Client.processing).values() for key in keys}

    def close(self) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in process.children(recursive=True):
                    child.kill()
                process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    running = Cluster(tmp_path)
    yield running
    running.close()


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def test_a_worker_that_comes_late_takes_part(cluster, tmp_path):
    cluster.worker()
    results = {}

    def take(key, result):
        if not results:
            cluster.worker()
            wait_for(lambda: len(cluster.ask(dispatch.Client.ncores)) == 2)
        results[key] = result

    tasks = {i: ("a", tmp_path / f"{i}.begun") for i in range(40)}
    dispatch.run(tasks, work, start, 1, **NOTHING, on_result=take, cluster=str(cluster.file))
    assert len(results) == len(tasks)
    assert len({process for _, process, _ in results.values()}) == 2


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp://127.0.0.1:9", "that answers, received tcp://127.0.0.1:9: [Errno 111]"),
        ("nonsense", "received nonsense: missing port number"),
        ("scheduler.json", "received scheduler.json: missing port number"),  # there is none
        (__file__, f"received {__file__}: "),  # it is not a scheduler's
    ],
)
def test_a_scheduler_that_does_not_answer_is_refused(address, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "CONNECTION_SECONDS", 1)
    with pytest.raises(UsageError) as raised:
        run(tmp_path, "a", cluster=address)
    assert expected in str(raised.value)


def test_a_cluster_without_workers_is_refused(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "WORKERS_SECONDS", 1)
    with pytest.raises(UsageError, match="which has none within 1 s"):
        run(tmp_path, "a", cluster=str(cluster.file))


def test_workers_that_run_several_at_once_are_refused(cluster, tmp_path):
    cluster.worker("--nthreads", "2")
    with pytest.raises(UsageError, match="expected workers with --nthreads 1, received several"):
        run(tmp_path, "a", cluster=str(cluster.file))


# --- a recipe on a cluster

RECIPE = "recipes.regularization.overfitting"
SHORT = ("--dataset", "mnist5k", "--seeds", "3", "--epochs", "80")
REFUSED = (*SHORT[:-1], "3")  # epochs, should it be trained after all


def content(out: Path) -> dict:
    return {**json.loads((out / "results.json").read_text()), "seconds": None}


def test_a_killed_worker_changes_no_bit(cluster, tmp_path, forks):
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert forks.run(RECIPE, *SHORT, "--jobs", "1", "--out", str(alone)).returncode in (0, 1)
    keep_all = "from common.training import resume; resume.SAVE_SECONDS, resume.SAVE_SHARE = 0, 1e9"
    nannies = [cluster.worker("--nthreads", "1", "--preload", keep_all) for _ in range(2)]
    driver = forks.start(RECIPE, *SHORT, "--cluster", str(cluster.file), "--out", str(out))
    wait_for(lambda: list(out.glob("runs/*/*.unfinished/*")))
    for child in nannies[0].children():
        if "resource_tracker" not in " ".join(child.cmdline()):
            child.kill()
    assert driver.wait() in (0, 1), driver.stderr
    assert "runs begun again after the death of their process: " in driver.stdout
    assert "3/3" in driver.stdout
    assert content(out) == content(alone)
    assert not list(out.glob("runs/*/*.unfinished"))


def test_finished_runs_are_kept_when_the_scheduler_dies(cluster, tmp_path, forks):
    cluster.worker()
    out = tmp_path / "out"
    how = (*SHORT, "--out", str(out))
    driver = forks.start(RECIPE, *how, "--cluster", str(cluster.file))
    wait_for(lambda: list(out.glob("runs/*/*.0.json")))
    cluster.scheduler.kill()
    assert driver.wait() == 1
    assert driver.stderr == ""
    assert driver.stdout.count(": the scheduler is gone") == 3 - len(
        list(out.glob("runs/*/*.json"))
    )
    assert "the same command trains the rest" in driver.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_give_up_what_nobody_waits_for(number, cluster, tmp_path, forks):
    cluster.worker()
    out = tmp_path / "out"
    how = ("--dataset", "mnist5k", "--seeds", "1", "--epochs", "1000000", "--out", str(out))
    driver = forks.start(RECIPE, *how, "--cluster", str(cluster.file))
    wait_for(cluster.at_work)
    os.kill(driver.pid, number)
    assert driver.wait() == (130 if number == signal.SIGINT else -number)
    assert driver.stderr == ""
    wait_for(lambda: not cluster.at_work())
    # It is free again, and not busy with what was given up.
    found = run(tmp_path, "a", cluster=str(cluster.file))[2]
    assert found[0][0] == "a"


def test_a_worker_with_other_code_is_refused(cluster, tmp_path, forks):
    other = tmp_path / "other"
    ignored = shutil.ignore_patterns(".*", "results", "docs", "__pycache__")
    shutil.copytree(ROOT, other, ignore=ignored)
    with (other / "common" / "training" / "loop.py").open("a") as file:
        file.write("\nADDED = 1\n")
    cluster.worker(code=other)
    out = tmp_path / "out"
    done = forks.run(RECIPE, *REFUSED, "--cluster", str(cluster.file), "--out", str(out))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "overfitting: worker tcp://127.0.0.1:" in done.stderr
    assert ": code: expected " in done.stderr
    assert not out.exists()


def test_a_worker_without_the_code_is_refused(cluster, tmp_path, forks):
    cluster.worker(code=tmp_path)
    out = tmp_path / "out"
    done = forks.run(RECIPE, *REFUSED, "--cluster", str(cluster.file), "--out", str(out))
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.returncode == 2
    assert "expected workers that can import" in done.stderr
