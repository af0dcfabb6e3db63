"""What is packed for a machine with a GPU."""

import json

import numpy as np
import pytest

from common import data
from tools import catalog, gpu_check


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """The folder, and the packages that were asked for."""
    asked = []

    def fetch(packages, folder):
        asked.extend(packages)
        return 0

    def load(name):
        side = (32, 32, 3) if name == "cifar10" else (28, 28)
        part = np.zeros((4, *side), np.uint8), np.arange(4)
        return data.Dataset(name, (part, part), "made up", "0" * 64)

    monkeypatch.setattr(gpu_check, "fetch", fetch)
    monkeypatch.setattr(gpu_check.data, "load", load)
    assert gpu_check.main([str(tmp_path / "to")]) == 0
    return tmp_path / "to", asked


def test_recipes_data_and_wheels_are_packed(packed):
    folder, asked = packed
    names = {file.name for file in folder.iterdir()}
    copies = {f"{name}.py" for name in gpu_check.RECIPES}
    assert names == copies | {"mnist.npz", "cifar10.npz", "records.json", "run.py"}
    for file in folder.glob("*.py"):
        compile(file.read_text(), file, "exec")
        assert "tensorflow" not in file.read_text().replace("TensorFlow", "")
    with np.load(folder / "cifar10.npz") as arrays:
        assert arrays["x_test"].shape == (4, 32, 32, 3)
    assert any(one.startswith("keras==") for one in asked)


def test_what_is_compared_is_the_record(packed):
    records = json.loads((packed[0] / "records.json").read_text())
    content = catalog.records("dropout")[0]
    values = content["arms"]["plain"]["metrics"]["test error (%)"]
    mean, std = records["dropout"]["arms"]["plain"]["test error (%)"]
    assert (mean, std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert records["alexnet"]["dataset"] == "cifar10"


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"]])
def test_anything_else_than_a_folder_is_refused(arguments, capsys):
    assert gpu_check.main(arguments) == 2
    said = " ".join(arguments) or "none"
    assert capsys.readouterr().err == f"gpu_check: expected DIR, received {said}\n"
