"""States of a training: what they hold, and that damage is noticed."""

import functools

import keras
import numpy as np
import pytest

from common.training import resume

STATE = {
    "epoch": 3,
    "best": float("inf"),
    "flag": True,
    "nothing": None,
    "name": "x",
    "tuple": (1, [2.5, np.float32(0.1)]),
    "weights": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)],
}


def same(one, other) -> bool:
    if isinstance(one, (list, tuple)):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (np.ndarray, np.generic)):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "one.state"
    state = STATE | {"variables": [np.float32([[1.5, -0.0]]), np.zeros((0, 2), np.float32)]}
    resume.write(file, state)
    found = resume.read(file)
    assert same(found, state)
    for one, other in zip(found["variables"], state["variables"], strict=True):
        assert one.tobytes() == other.tobytes()
    assert resume.read(tmp_path / "none.state") is None


def test_what_a_killed_process_left_half_written_goes_away(tmp_path):
    file = tmp_path / "one.state"
    (tmp_path / "one.stateabc.part").write_bytes(b"half")
    resume.write(file, STATE)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("where", ["checksum", "array", "end", "cut", "empty"])
def test_a_damaged_state_is_noticed_and_replaced(where, tmp_path):
    file = tmp_path / "one.state"
    resume.write(file, {"weights": np.ones(50, np.float32)})
    content = bytearray(file.read_bytes())
    if where in ("cut", "empty"):
        content = content[: len(content) // 2 if where == "cut" else 0]
    else:
        at = {"checksum": 3, "array": len(content) - 60, "end": len(content) - 1}[where]
        content[at] ^= 0x10
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged checkpoint") as warned:
        assert resume.read(file) is None
    assert "\n" not in str(warned[0].message)
    resume.write(file, STATE)
    assert same(resume.read(file), STATE)


def test_what_callbacks_remember():
    stop = keras.callbacks.EarlyStopping(patience=3)
    stop.wait, stop.best_weights = 2, [np.ones(3)]
    found = resume.remembered(stop)
    assert found["wait"] == 2
    assert same(found["best_weights"], [np.ones(3)])
    plateau = keras.callbacks.ReduceLROnPlateau()
    plateau.wait = 1
    assert resume.remembered(plateau)["wait"] == 1
    seen = []
    closure = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(1))
    assert resume.remembered(closure) is None
    closure.remembers = ()
    assert resume.remembered(closure) == {}
    for lost in (
        keras.metrics.Mean(),
        [keras.Variable(1.0)],
        functools.partial(print, 1),
        seen.append,
    ):
        holder = keras.callbacks.Callback()
        holder.lost = lost
        assert resume.remembered(holder) is None
    plain = keras.callbacks.Callback()
    plain.best, plain.worse, plain.unit = max, np.less, str
    assert resume.remembered(plain) == {}
