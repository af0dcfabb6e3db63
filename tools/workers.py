"""Several workers of one recipe on this machine, as they would run on several.

python -m tools.workers NAME WORKERS [FLAGS OF THE RECIPE]

Each line of a worker is prefixed with its number. When one worker dies or fails, the others are
ended, and its exit code is returned. Ctrl-C ends all.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

from common.system import UsageError
from tools import catalog

GRACE_SECONDS = 10  # between asking a worker to end and ending it


def free_addresses(n: int) -> list[str]:
    """HOST:PORT of ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def run(arguments: list[str], workers: int) -> int:
    """Starts Python with the arguments once a worker; the first exit code that is not 0, else 0."""
    addresses, processes, readers = free_addresses(workers), [], []
    try:
        for index in range(workers):
            task = {"type": "worker", "index": index}
            described = json.dumps({"cluster": {"worker": addresses}, "task": task})
            process = subprocess.Popen(
                [sys.executable, "-u", *arguments],
                env=os.environ | {"TF_CONFIG": described},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is for this process, which passes it on
            )
            processes.append(process)
            readers.append(threading.Thread(target=_prefixed, args=(index, process)))
            readers[-1].start()
        code = _first_failure(processes)
        if code not in (0, 1):
            how = f"ended with code {code}" if code > 0 else f"died by {signal.Signals(-code).name}"
            print(f"a worker {how}: ending the others", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    try:
        _end(processes)
    finally:  # whatever else is pressed
        for process in processes:
            process.kill()
    for reader in readers:
        reader.join()
    return code if code >= 0 else 128 - code


def _prefixed(index: int, process: subprocess.Popen) -> None:
    for line in process.stdout:
        print(f"[{index}] {line}", end="", flush=True)


def _first_failure(processes: list[subprocess.Popen]) -> int:
    """The first exit code but 0, or 0 when all have ended so.

    1 is a finding that is not shown: all workers see it at once, so the others get time to say so.
    """
    until = math.inf
    while True:
        codes = [process.poll() for process in processes]
        failed = [code for code in codes if code]
        if set(failed) == {1} and until == math.inf:
            until = time.monotonic() + GRACE_SECONDS
        if None not in codes or set(failed) - {1} or time.monotonic() > until:
            return next((code for code in failed if code != 1), max(failed, default=0))
        time.sleep(0.05)


def _end(processes: list[subprocess.Popen]) -> None:
    until = time.monotonic() + GRACE_SECONDS
    for ask in (signal.SIGINT, signal.SIGKILL):
        for process in processes:
            if process.poll() is None:
                process.send_signal(ask)
        while time.monotonic() < until and any(one.poll() is None for one in processes):
            time.sleep(0.05)
    for process in processes:
        process.wait()


def main(arguments: list[str]) -> int:
    """The command line."""
    count = arguments[1] if len(arguments) > 1 else ""
    try:
        name = catalog.find(arguments[0] if arguments else "")
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    if not count.isdecimal() or not 1 <= int(count) <= 64:
        print(
            f"WORKERS: expected a number from 1 to 64, received {count or 'none'}", file=sys.stderr
        )
        return 2
    return run(["-m", catalog.module(name), *arguments[2:]], int(count))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
