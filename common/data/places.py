"""Where a data set is looked for, and downloaded last."""

import os
from pathlib import Path

from common.data import files, tfds
from common.data.tfds import DataError

HOME = "~/tensorflow_datasets"
FORMATS = {"mnist": ", mnist.npz or all four IDX files", "cifar10": " or cifar-10-batches-py"}


def find(
    name: str, data_dir: str | Path | None, notices: list[str]
) -> tuple[Path | list[Path], str]:
    """The folder of TensorFlow Datasets or the `files` of a data set, and where they were found.

    Looks in `data_dir` alone if that is given, else in `$TFDS_DATA_DIR`, `~/tensorflow_datasets`
    and `~/.keras/datasets`, and downloads last. Adds to `notices` what the user must know. Where
    they were found is told without a local path.

    Raises DataError if it is nowhere, or has several configurations and none is named.
    """
    asked = ["$TFDS_DATA_DIR"] * bool(os.environ.get("TFDS_DATA_DIR"))
    keras = "$KERAS_HOME" if os.environ.get("KERAS_HOME") else "~/.keras"
    labels = [*asked, HOME, f"{keras}/datasets"]
    places = {label: Path(os.path.expandvars(label)).expanduser() for label in labels}
    if data_dir is not None:
        asked, places = ["--data-dir"], {"--data-dir": Path(data_dir).expanduser()}
    for label, root in places.items():
        if folder := tfds.newest(root / name):
            return folder, f"{label} {name} {folder.name}"
        if found := files.find(name, root):
            return found, f"{label} {found[0].relative_to(root).parts[0]}"
        if label in asked:
            expected = f"{name}/VERSION{FORMATS.get(name, '')}"
            notices.append(f"{label} {root}: expected {expected}, received {_found(root)}")
    if data_dir is None:
        *roots, _ = places.values()  # what Keras downloads is its own
        root = next((one for one in roots if _may_be_written(one)), places[HOME])
        if failure := tfds.download(name, root):
            notices.append(f"not in {HOME} or {keras}/datasets, and {failure}")
        if folder := tfds.newest(root / name):
            return folder, f"downloaded {name} {folder.name}"
    raise DataError(
        f"{name.upper()} not found: {'; '.join(notices)} (docs/data.md: where it may be)"
    )


def _may_be_written(folder: Path) -> bool:
    """Whether a folder can be written to, or made."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return os.access(there, os.W_OK)


def _found(root: Path) -> str:
    """What there is in place of a folder of data sets."""
    if not root.is_dir():
        return "a file" if root.exists() else "nothing (it does not exist)"
    names = sorted(one.name for one in root.glob("*"))
    return f"a folder with {', '.join(names[:4]) or 'nothing to read'}"
