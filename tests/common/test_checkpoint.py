"""Weights kept in a file: whole, and of what was asked for."""

import numpy as np
import pytest

from common import checkpoint
from common.results import UsageError

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(7), np.zeros((0, 2))]
ABOUT = {"net": "AlexNet cifar", "classes": 10, "data": "cifar10"}


def test_what_is_saved_is_loaded(tmp_path):
    file = tmp_path / "deep" / "net.npz"
    checkpoint.save(file, WEIGHTS, ABOUT)
    for received, expected in zip(checkpoint.load(file, ABOUT), WEIGHTS, strict=True):
        np.testing.assert_array_equal(received, expected)
    assert len(checkpoint.load(file, {"classes": 10})) == 3
    assert [child.name for child in file.parent.iterdir()] == ["net.npz"]


def test_another_net_is_refused_and_both_are_named(tmp_path):
    checkpoint.save(tmp_path / "net.npz", WEIGHTS, ABOUT)
    with pytest.raises(UsageError) as refused:
        checkpoint.load(tmp_path / "net.npz", ABOUT | {"classes": 8, "width": 3})
    said = str(refused.value)
    assert "{'classes': 8, 'width': 3}" in said
    assert "{'classes': 10, 'width': None}" in said


def test_what_is_not_a_checkpoint_is_refused(tmp_path):
    file = tmp_path / "net.npz"
    with pytest.raises(UsageError, match="received nothing"):
        checkpoint.load(file, ABOUT)
    checkpoint.save(file, WEIGHTS, ABOUT)
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    for damaged in (b"", b"text", whole[:middle], flipped):
        file.write_bytes(damaged)
        with pytest.raises(UsageError, match="received a damaged file"):
            checkpoint.load(file, ABOUT)
    np.savez(file, weight0=WEIGHTS[0])
    with pytest.raises(UsageError, match="received a damaged file"):
        checkpoint.load(file, ABOUT)
    np.save(tmp_path / "net.npy", WEIGHTS[0])
    with pytest.raises(UsageError, match="received a damaged file"):
        checkpoint.load(tmp_path / "net.npy", ABOUT)
