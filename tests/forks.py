"""Processes that start at once: forked from one that has TensorFlow loaded, and unused.

To start TensorFlow takes longer than most of what the tests do in processes of their own. What runs
in a fork sees nothing of this repository but what lies in its folder: modules of `common` and
`recipes` are imported there anew.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = ("common", "recipes", "tests", "tools")


class Fork:
    """One process; what it says is in two files."""

    def __init__(self, answers, folder: Path):
        self._answers, self._folder = answers, folder
        self.pid, self.returncode = int(answers.readline()), None

    def poll(self, timeout: float = 0) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._answers], [], [], timeout)[0]:
            self.returncode = int(self._answers.readline())
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """The exit code."""
        if self.poll(timeout) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.poll(timeout)  # or the next one would read this one's answer
            raise TimeoutError(f"still running after {timeout} s: {self.stdout}{self.stderr}")
        return self.returncode

    @property
    def stdout(self) -> str:
        return (self._folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self._folder / "stderr").read_text()


class Forks:
    """Starts forks, one after the other."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def start(self, what: str, *arguments: str, folder: Path = ROOT, **environment: str) -> Fork:
        """`python -m WHAT ARGUMENTS` in a folder, or `python WHAT ARGUMENTS` for a name in .py."""
        order = [what, arguments, str(folder), str(self._folder), dict(os.environ) | environment]
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        return Fork(self._server.stdout, self._folder)

    def run(self, *how, **more) -> Fork:
        """The same, and waits."""
        fork = self.start(*how, **more)
        fork.wait()
        return fork

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def serve() -> None:
    """Forks for every line of stdin, and answers with the process's number and its exit code."""
    import recipes  # noqa: F401  starts TensorFlow quietly

    # isort: split
    import distributed  # noqa: F401
    import hypothesis  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import tyro  # noqa: F401

    gc.freeze()  # TensorFlow's many objects, which each collection of a fork would look through
    warnings.filterwarnings("ignore", message=".*fork")  # TensorFlow computes nothing here
    for line in sys.stdin:
        child = os.fork()
        if child:
            print(child, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        else:
            _become(*json.loads(line))


def _become(what: str, arguments: list[str], folder: str, said: str, environment: dict) -> None:
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, if the tests run behind `&`
    os.environ.clear()
    os.environ.update(environment)
    for stream, name in ((0, os.devnull), (1, f"{said}/stdout"), (2, f"{said}/stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), stream)
    for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
        del sys.modules[name]
    sys.path[0], sys.argv, code = folder, [what, *arguments], 0
    try:
        if what.endswith(".py"):
            runpy.run_path(what, run_name="__main__")
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else bool(exit_.code)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
