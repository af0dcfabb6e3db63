"""Replicas and workers give the numbers of one device; what is wrong with a cluster is said."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.experiment import command
from common.system import UsageError
from common.training import cluster, distribution
from recipes.regularization.overfitting import RECIPE
from tests.forks import Forks
from tools.workers import free_addresses

ROOT = Path(__file__).parents[2]


def start(arguments: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tf_config(addresses: list[str], index: int) -> str:
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def numbers(forks: Forks, out: Path, devices: str, *nets: str, workers: int = 1) -> dict:
    """What tests/training/replicas.py measures on the devices, or by several workers."""
    arguments = ["tests.training.replicas", devices, str(out), *nets]
    if workers == 1:
        done = forks.run(*arguments)
        assert done.returncode == 0, done.stderr
    else:
        addresses = free_addresses(workers)
        configs = [tf_config(addresses, i) for i in range(workers)]
        for process in [start(["-m", *arguments], TF_CONFIG=config) for config in configs]:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    with np.load(out) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def one(forks, tmp_path_factory):
    return numbers(forks, tmp_path_factory.mktemp("one") / "one.npz", "auto")


@pytest.mark.parametrize(("devices", "workers"), [("cpu:2", 1), ("cpu:4", 1), ("auto", 2)], ids=str)
def test_replicas_and_workers_give_the_numbers_of_one_device(
    devices, workers, one, forks, tmp_path
):
    """To 1e-4 relative: the sums of gradients, and of the moments of batch normalization, are
    added in another order, and three epochs let such a difference grow."""
    found = numbers(forks, tmp_path / "found.npz", devices, workers=workers)
    assert found.keys() == one.keys()
    for name, values in one.items():
        if name.endswith("weights"):
            error = np.linalg.norm(found[name] - values) / np.linalg.norm(values)
            assert error < 1e-4, name
        elif name.endswith("accuracy"):
            np.testing.assert_allclose(found[name], values, atol=2e-4, err_msg=name)
        else:
            np.testing.assert_allclose(found[name], values, rtol=1e-4, err_msg=name)
        if name.endswith("count"):
            n = 10_000 if name.startswith("dense") else 1_000
            count = {"val_count": n, "odd_count": n + 3}.get(name.split("/")[1], 357)
            np.testing.assert_array_equal(found[name], count)


def test_replicas_draw_their_own_numbers_and_repeat_them(forks, tmp_path):
    """Dropout and augmentation; adversarial training draws nothing, but has its own step."""
    nets = "dropout", "augmentation", "attacked"
    alone, two, again = (
        numbers(forks, tmp_path / f"{i}.npz", devices, *nets)
        for i, devices in enumerate(("auto", "cpu:2", "cpu:2"))
    )
    for name, values in two.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)
    for name in ("dropout/loss", "augmentation/loss"):
        assert not np.allclose(two[name], alone[name], rtol=1e-4), name
        np.testing.assert_allclose(two[name], alone[name], rtol=0.3, err_msg=name)
    for name in ("attacked/loss", "attacked/val_loss"):
        np.testing.assert_allclose(two[name], alone[name], rtol=1e-3, err_msg=name)


def test_each_replica_has_its_own_mask(forks, tmp_path):
    """Two masks of half the units agree on half of them; Keras alone would draw the same twice."""
    code = """
import recipes, keras, numpy as np, tensorflow as tf
from common.training import distribution
distribution.start("cpu:2")
with distribution.scope():
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dropout(0.5, seed=1)])
distribution.prepare(model)
strategy = distribution._State.strategy
draw = tf.function(lambda: strategy.run(lambda: model(tf.ones((1, 1000)), training=True)))
one, two = (np.array(each) for each in strategy.experimental_local_results(draw()))
print(np.mean((one > 0) == (two > 0)))
"""
    (tmp_path / "mask.py").write_text(code)
    done = forks.run(str(tmp_path / "mask.py"))
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout) - 0.5) < 0.1


MEASURES = {
    # Each replica answers for the whole batch; what asks for predictions counts one answer.
    "predictions": """
from common.ingredients.learning_rates import evaluate_each, nets_alike
x, y = np.arange(9 * 784).reshape(9, 28, 28) % 255, np.arange(9)
def measure():
    return evaluate_each(nets_alike(3, [4], "relu", keras.initializers.GlorotUniform(1)), x, y)
""",
    # Keras's `predict` fails where a replica is left without an image.
    "probabilities of one image": """
from common.ingredients.attacks import probabilities
def measure():
    conv = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(1))
    pool = keras.layers.GlobalAveragePooling2D()
    net = keras.Sequential([keras.Input((8, 8, 1)), conv, pool])
    return probabilities(net, np.ones((1, 8, 8, 1)))
""",
    # Of a tape by the weights themselves, of the Hessian by copies of them.
    "derivatives": """
from common.ingredients.curvature import extreme_eigenvalues, sharpness
x, y = np.arange(15, dtype="float32").reshape(5, 3) % 4, np.eye(5, dtype="float32")[:, :2]
def squared(targets, outputs):
    return keras.ops.sum(keras.ops.square(targets - outputs), axis=-1)
def measure():
    glorot = keras.initializers.GlorotUniform(1)
    dense = keras.layers.Dense(2, "tanh", kernel_initializer=glorot)
    model = keras.Sequential([keras.Input((3,)), dense])
    with tf.GradientTape() as tape:
        cost = tf.reduce_mean(squared(y, model(x)))
    slopes = np.ravel(tape.gradient(cost, model.layers[0].kernel))
    ends = extreme_eigenvalues(model, squared, x, y, 1e-6, seed=0)
    return [*slopes, *ends, sharpness(model, squared, x, y, 100, seed=0)()[0]]
""",
}


@pytest.mark.parametrize("what", MEASURES)
def test_what_is_measured_under_replicas_is_that_of_one_device(what, forks, tmp_path):
    code = f"""
import recipes, keras, numpy as np, tensorflow as tf
from common.training import distribution
distribution.start("cpu:2")
{MEASURES[what]}
alone = measure()
with distribution.scope():
    shared = measure()
np.testing.assert_allclose(shared, alone, rtol=1e-4)
"""
    (tmp_path / "measure.py").write_text(code)
    done = forks.run(str(tmp_path / "measure.py"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("devices", ["auto", "cpu", "gpu", "gpu:0", "gpu:0,3", "cpu:1", "cpu:64"])
def test_devices_that_make_sense(devices):
    distribution.check(devices)


@pytest.mark.parametrize(
    "devices", ["", "tpu", "cpu:0", "cpu:-1", "cpu:65", "cpu:two", "gpu:", "gpu:0,0", "gpu:0,"]
)
def test_devices_that_do_not(devices):
    with pytest.raises(UsageError, match="--devices: expected"):
        distribution.check(devices)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--devices", "gpu:7"], "--devices: expected gpu:7, received 0 GPUs"),
        (["--devices", "cpu:3"], "expected a multiple of the 3 replicas, as 9 or 12, received 10"),
        (["--devices", "cpu:2", "--jobs", "2"], "--jobs: expected 1 with several replicas"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(flags, expected, forks, tmp_path):
    out = tmp_path / "out"
    usual = ["--dataset", "mnist5k", "--smoke", "--out", str(out)]
    done = forks.run("recipes.regularization.overfitting", *usual, *flags)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert not out.exists()


GOOD = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def test_a_cluster_is_read_from_tf_config():
    found = cluster.described({"TF_CONFIG": json.dumps(GOOD)})
    assert found == cluster.Cluster(("a:1", "b:2"), 1)
    alone = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    assert cluster.described({"TF_CONFIG": json.dumps(alone)}) is None
    assert cluster.described({}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "TF_CONFIG: expected"),
        ("{", "TF_CONFIG: expected"),
        ("[]", "TF_CONFIG: expected"),
        (json.dumps({"cluster": GOOD["cluster"]}), "TF_CONFIG: expected"),
        (json.dumps(GOOD | {"cluster": {"worker": ["a", "b:2"]}}), "TF_CONFIG: expected"),
        (json.dumps(GOOD | {"cluster": {"worker": ["a:1", "b:70000"]}}), "TF_CONFIG: expected"),
        (json.dumps(GOOD | {"cluster": {"chief": ["a:1"], "worker": ["b:2"]}}), "TF_CONFIG"),
        (
            json.dumps(GOOD | {"cluster": {"worker": ["a:1", "a:1"]}}),
            "index 1 of workers .'a:1', 'a:1'",
        ),
        (json.dumps(GOOD | {"task": {"type": "worker", "index": 2}}), "index 2 of workers"),
        (json.dumps(GOOD | {"task": {"type": "worker", "index": -1}}), "index -1 of workers"),
        (json.dumps(GOOD | {"task": {"type": "ps", "index": 0}}), "TF_CONFIG: expected"),
    ],
)
def test_a_malformed_cluster_is_refused(text, expected):
    with pytest.raises(UsageError, match=expected):
        cluster.described({"TF_CONFIG": text})


def test_a_cluster_is_read_from_slurm(monkeypatch):
    """With the variables that srun sets on two nodes of one task each."""
    variables = {
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "gpu[07-08]",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_STEP_NUM_NODES": "2",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = cluster.described()
    assert found == cluster.Cluster(("gpu07:8888", "gpu08:8888"), 1)
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(UsageError, match="Slurm: expected"):
        cluster.described()


def test_an_address_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"expected to listen on {address}, received"):
            cluster.rendezvous(cluster.Cluster((address, "127.0.0.1:1"), 0))


def meet(addresses: list[str], come: list[int], other: list[int] = ()) -> list[str]:
    """What the workers that come are told; some have another list of workers."""

    def one(index: int) -> str:
        workers = tuple(addresses) + ("127.0.0.1:1",) * (index in other)
        try:
            cluster.rendezvous(cluster.Cluster(workers, index))
        except UsageError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as threads:
        return list(threads.map(one, come))


def test_workers_that_come_are_told_who_is_missing_or_differs(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.setattr(cluster, "MEETING_SECONDS", 2)
    addresses = free_addresses(4)
    assert meet(addresses, [3, 1, 0, 2]) == [""] * 4
    task = {"type": "worker", "index": int(json.loads(os.environ["TF_CONFIG"])["task"]["index"])}
    assert json.loads(os.environ["TF_CONFIG"]) == {"cluster": {"worker": addresses}, "task": task}
    said = meet(addresses, [0, 1, 3], other=[3])
    assert said == said[:1] * 3
    assert "\n" not in said[0]
    assert f"received: no worker 2 ({addresses[2]}); worker 3 with {{'workers': [" in said[0]
    for index, one in zip([1, 2], meet(addresses, [1, 2]), strict=True):
        expected = f"worker {index}: expected an answer of worker 0 ({addresses[0]}) within 2 s"
        assert one.startswith(f"{expected}, received: ")


def test_strangers_at_worker_0_are_ignored(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.setattr(cluster, "CONNECTION_SECONDS", 0.1)
    addresses = free_addresses(2)
    host, port = addresses[0].split(":")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(meet, addresses, [0])
        for said in (b"GET / HTTP/1.1\n", b"[]\n", b'{"index": 1, "seconds": 0}\n', b"", b"\xff\n"):
            while True:
                try:
                    stranger = socket.create_connection((host, int(port)))
                    break
                except ConnectionRefusedError:
                    assert not waiting.done()
            with stranger:
                stranger.sendall(said)
        assert meet(addresses, [1]) == waiting.result() == [""]


def test_a_worker_that_does_not_come_is_named_in_time(tmp_path):
    here, absent = free_addresses(2)
    code = (
        "import recipes, sys; from common.training import cluster; "
        "cluster.MEETING_SECONDS = 5; from recipes.regularization.overfitting import RECIPE; "
        "from common.experiment import main; main(RECIPE, sys.argv[1:])"
    )
    arguments = ["--dataset", "mnist5k", "--smoke", "--out", str(tmp_path / "out")]
    process = start(["-c", code, *arguments], TF_CONFIG=tf_config([here, absent], 0))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert f"expected 2 workers to meet within 5 s, received: no worker 1 ({absent})" in said
    assert not (tmp_path / "out").exists()


def test_workers_that_do_different_things_are_told(tmp_path):
    addresses = free_addresses(2)
    arguments = ["-m", "recipes.regularization.overfitting", "--dataset", "mnist5k", "--seeds", "1"]
    processes = [
        start(
            [*arguments, "--epochs", str(2 + i), "--out", str(tmp_path / "out")],
            TF_CONFIG=tf_config(addresses, i),
        )
        for i in range(2)
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 2
        assert "data and versions: expected the same on all workers, received" in said


def test_a_lost_worker_is_said_in_a_line(monkeypatch, capsys):
    def lose(recipe, arguments, arms):
        raise tf.errors.UnavailableError(None, None, "Connection reset by peer\nand more")

    monkeypatch.setattr(command, "_run", lose)
    monkeypatch.setattr(distribution._State, "cluster", cluster.Cluster(("a:1", "b:2"), 0))
    with pytest.raises(SystemExit) as exit_:
        command.main(RECIPE, [])
    assert exit_.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "lost a worker (Connection reset by peer)" in said
    monkeypatch.setattr(distribution._State, "cluster", None)
    with pytest.raises(tf.errors.UnavailableError):
        command.main(RECIPE, [])
