"""What every room uses: errors shown to users, files written whole, versions and hardware."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds, and in how many


class UsageError(ValueError):
    """A request that cannot be met; its message becomes one line: expected ..., received ..."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


def write_whole(file: Path, content: bytes | Iterable[bytes]) -> None:
    """Writes the file, in one piece or several, whole or not at all: beside it, then renamed.

    Raises OSError.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines([content] if isinstance(content, bytes) else content)
        os.chmod(temporary, 0o644)  # mkstemp's own 0600 would hide the file from other users
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def message(error: Exception) -> str:
    """What an error says, at most 200 characters, without TensorFlow's names of its operations."""
    said = re.sub(r"\{\{.*?\}\} *", "", str(getattr(error, "message", None) or error))
    return said.strip()[:200] or type(error).__name__


def file_stem(name: str) -> str:
    """A name as part of a file's name; two names never become one."""
    return urllib.parse.quote(name, safe=" +(),=").replace("-", "%2D").replace(" ", "-")


def cores() -> int:
    """Number of cores that this process may use, as Slurm and containers limit them."""
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # no limit on the processor's time
        quota, period = map(int, CPU_LIMIT.read_text().split())
        count = min(count, max(1, quota // period))
    return count


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    names = dict.fromkeys(
        ["tensorflow", "keras", "numpy", os.environ.get("KERAS_BACKEND", "tensorflow")]
    )
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


def hardware() -> str:
    """The processor and its cores, or the GPUs."""
    import tensorflow as tf  # takes seconds, and the rest of this module does without

    if gpus := tf.config.get_visible_devices("GPU"):
        names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
        return ", ".join(str(name) for name in names)
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        if named := re.search("model name\\s*: (.*)", Path("/proc/cpuinfo").read_text()):
            model = named[1]
    return f"{model.strip()}, {os.cpu_count()} cores"


def commit() -> str | None:
    """The commit of this repository, None outside one; `-dirty` if files differ or are new.

    Documents do not count, because a recorded run changes them.
    """
    settings = {"cwd": Path(__file__).parent, "capture_output": True, "text": True}
    head = ["git", "rev-parse", "--short=12", "HEAD"]
    code = [":/", ":(exclude,top)docs", ":(exclude,top)README.md"]
    try:
        name = subprocess.run(head, check=True, **settings).stdout.strip()
        differs = ["git", "status", "--porcelain", "--", *code]
        return name + "-dirty" * bool(subprocess.run(differs, check=True, **settings).stdout)
    except (OSError, subprocess.CalledProcessError):
        return None
