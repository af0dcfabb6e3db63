"""States of a training: what they hold, and that damage is noticed."""

import functools

import keras
import numpy as np
import pytest

from common.training import resume


def variables(*values) -> list[keras.Variable]:
    return [keras.Variable(value) for value in values]


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
    written = variables(np.float32([[1.5, -0.0]]), np.int64(5), np.zeros((0, 2), np.float32))
    resume.write(file, written, STATE)
    values, state = resume.read(file, written)
    assert same(state, STATE)
    for one, other in zip(written, values, strict=True):
        assert one.numpy().tobytes() == other.tobytes()
    assert resume.read(tmp_path / "none.state", written) == (None, None)


def test_what_a_killed_process_left_half_written_goes_away(tmp_path):
    file = tmp_path / "one.state"
    (tmp_path / "one.stateabc.part").write_bytes(b"half")
    resume.write(file, variables(np.zeros(3, np.float32)), {})
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("where", ["head", "array", "checksum", "cut", "empty"])
def test_a_damaged_state_is_noticed_and_the_previous_one_taken(where, tmp_path):
    file = tmp_path / "one.state"
    for epoch in (1, 2):
        resume.write(file, variables(np.full(50, epoch, np.float32)), {"epoch": epoch})
    content = bytearray(file.read_bytes())
    if where in ("cut", "empty"):
        content = content[: len(content) // 2 if where == "cut" else 0]
    else:
        at = {"head": 3, "array": len(content) - 60, "checksum": len(content) - 1}[where]
        content[at] ^= 0x10
    file.write_bytes(content)
    wanted = variables(np.zeros(50, np.float32))
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        (values,), state = resume.read(file, wanted)
    assert state == {"epoch": 1}
    assert np.all(values == 1)
    resume.previous(file).write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        assert resume.read(file, wanted) == (None, None)


def test_a_state_of_other_variables_is_not_used(tmp_path):
    file = tmp_path / "one.state"
    resume.write(file, variables(np.zeros(3, np.float32)), {})
    with pytest.warns(UserWarning, match="other variables"):
        assert resume.read(file, variables(np.zeros(4, np.float32))) == (None, None)


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
    with pytest.raises(resume.NotPlain):
        resume.remembered(closure)
    closure.remembers = ()
    assert resume.remembered(closure) == {}
    for lost in (keras.metrics.Mean(), functools.partial(print, 1), seen.append):
        holder = keras.callbacks.Callback()
        holder.lost = lost
        with pytest.raises(resume.NotPlain):
            resume.remembered(holder)
    plain = keras.callbacks.Callback()
    plain.best, plain.worse, plain.unit = max, np.less, str
    assert resume.remembered(plain) == {}
