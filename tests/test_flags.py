"""The command line that tyro reads: what is refused gives one line, through its internal hook."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from common import flags
from common.experiment import Recipe, command
from common.system import UsageError


@dataclass(frozen=True)
class Config:
    """Hyperparameters of every type that recipes use."""

    epochs: int = 3  # passes over the training images
    sigma: float = 0.5  # standard deviation of the noise
    kind: Literal["dense", "conv"] = "dense"  # kind of layers
    deep: bool = False  # more layers
    image: Path = Path("digit.png")  # file of a picture
    most: Annotated[int | None, flags.optional("N", "all")] = None  # largest number
    sides: tuple[int, int] = (2, 3)  # of a rectangle

    def __post_init__(self):
        """Refuses 13, over two lines."""
        if self.epochs == 13:
            raise ValueError("--epochs: expected no unlucky number,\n  received 13")


def parse(*arguments: str) -> Config:
    return flags.parse(Config, list(arguments), "About.", prog="test")


# Each kind of event that our command lines can make tyro raise, with the line made of it.
NOT_A_FLAG = "expected flags that --help lists, received "
REFUSED = {
    "UnrecognizedArgs": [
        (["--speed", "3"], f"{NOT_A_FLAG}--speed 3"),
        (["word"], f"{NOT_A_FLAG}word"),
        (["-e", "3"], f"{NOT_A_FLAG}-e 3"),
        (["--deep=yes"], f"{NOT_A_FLAG}yes"),
        (["--no-deep"], f"{NOT_A_FLAG}--no-deep"),
    ],
    "InvalidChoice": [(["--kind", "x"], "--kind: expected one of dense, conv; received x")],
    "BadValue": [
        (["--epochs"], "--epochs: expected a value, received none"),
        (["--kind"], "--kind: expected a value, received none"),
        (["--sides", "1"], "--sides: expected a value, received none"),
    ],
    "InstantiationFailure": [
        (["--epochs", "1.5"], "--epochs: expected a whole number, received 1.5"),
        (["--epochs", "ten"], "--epochs: expected a whole number, received ten"),
        (["--epochs="], "--epochs: expected a whole number, received nothing"),
        (["--sigma", "1,5"], "--sigma: expected a number, received 1,5"),
        (["--sigma="], "--sigma: expected a number, received nothing"),
        (["--most", "ten"], "--most: expected a whole number, received ten"),
        (["--most="], "--most: expected a whole number, received nothing"),
        (["--epochs", "it's 3"], "--epochs: expected a whole number, received it's 3"),
        (["--sigma", "a\nb"], "--sigma: expected a number, received a\\nb"),
        (["--epochs", "7" * 5_000], "--epochs: expected a number, received Exceeds the limit..."),
        (["--sides", "1", "x"], "--sides: expected a number, received Could not parse..."),
        (["--epochs", "13"], "--epochs: expected no unlucky number, received 13"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "arguments", "line"),
    [(kind, *one) for kind, those in REFUSED.items() for one in those],
    ids=lambda one: str(one)[:40],
)
def test_what_is_refused_gives_one_line(kind, arguments, line, capsys):
    with pytest.raises(UsageError) as refused:
        parse(*arguments)
    said = str(refused.value)
    assert said.startswith(line[:-3]) if line.endswith("...") else said == line
    received = capsys.readouterr()
    assert received.out + received.err == ""  # tyro has not printed its own box


@pytest.mark.parametrize("kind", REFUSED)
def test_tyro_still_raises_these_events(kind):
    """The hook is tyro's internal interface: an upgrade that changes it must be noticed here."""
    expected = getattr(tyro._errors, kind)
    for arguments, _ in REFUSED[kind]:
        events = []
        with tyro._errors.on_parse_error(events.append), pytest.raises(SystemExit):
            tyro.cli(
                Config,
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
                console_outputs=False,
            )
        assert [type(event) for event in events] == [expected], arguments


def test_kinds_of_events_are_those_that_were_looked_at():
    """The others belong to subcommands, exclusive groups and arguments without a default."""
    kinds = {event.__name__ for event in tyro._errors.ParseErrorEvent.__subclasses__()}
    others = {"MissingArgs", "MissingMutexGroup", "MissingSubcommand"}
    others |= {"MutexConflict", "SubcommandConflict"}
    assert kinds == REFUSED.keys() | others


def test_an_event_that_is_not_known_is_left_to_tyro(capsys):
    @dataclass(frozen=True)
    class Needs:
        file: Path

    with pytest.raises(SystemExit) as exit_:
        flags.parse(Needs, [], "About.")
    assert exit_.value.code == 2
    assert "--file" in capsys.readouterr().err


def test_a_positional_argument_is_called_by_its_name():
    @dataclass(frozen=True)
    class Where:
        place: tyro.conf.Positional[int]

    with pytest.raises(UsageError, match="place: expected a whole number, received here"):
        flags.parse(Where, ["here"], "About.")


def test_what_is_accepted():
    assert parse() == Config()
    typed = ["--epochs", "5", "--sigma=1e-3", "--kind", "conv", "--deep", "--image", "a b.png"]
    assert parse(*typed, "--most", "7", "--sides", "4", "5") == Config(
        5, 0.001, "conv", True, Path("a b.png"), 7, (4, 5)
    )


ABOUT = """A finding.

A paragraph that is longer than a line of the terminal, so that it is wrapped where its width of one
hundred characters ends, and not where it ends in the source.

    make recipe-test          a minute
"""


def test_help_begins_with_what_the_docstring_says(capsys):
    with pytest.raises(SystemExit) as exit_:
        flags.parse(Config, ["--help"], ABOUT, prog="make recipe-test")
    assert exit_.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("A finding.\n\nA paragraph")
    assert "\n    make recipe-test          a minute" in said  # a command is not wrapped
    assert max(len(line) for line in said.partition("usage")[0].splitlines()) <= 100
    help_of = re.sub(r"[\s│]+", " ", said)
    assert "standard deviation of the noise (default: 0.5)" in help_of
    assert "largest number (default: all)" in help_of
    assert "--no-deep" not in said


def recipe(**changed) -> Recipe:
    """One with these presets, that trains nothing."""

    def train(config, arm, seed, data):
        raise AssertionError("trained")

    return Recipe(Config, {"arm": {}}, train, (), lambda results: None, smoke={}, **changed)


def test_a_flag_comes_before_the_preset_and_that_before_the_data_set():
    of = recipe(paper={"epochs": 9}, on={"mnist5k": {"epochs": 4, "sigma": 0.1}})

    def asked(arguments, dataset):
        config = of.configured(flags.preset_of(arguments), dataset)
        return flags.parse_recipe(arguments, "recipes.cost.test", "", config)

    assert asked([], "")[1] == Config()
    assert asked([], "mnist5k")[1] == Config(4, 0.1)
    common, config = asked(["--paper", "--seeds", "2"], "mnist5k")
    assert (common.paper, common.seeds) == (True, 2)
    assert config == Config(9, 0.1)
    assert asked(["--epochs", "5", "--paper"], "mnist5k")[1] == Config(5, 0.1)
    assert asked(["--epochs", "3"], "mnist5k")[1] == Config(3, 0.1)  # though it is the default


def test_the_preset_that_is_named():
    assert flags.preset_of(["--epochs", "3"]) == "default"
    assert flags.preset_of(["--smoke"]) == "smoke"
    with pytest.raises(UsageError, match="expected --smoke or --paper, received both"):
        flags.preset_of(["--paper", "--smoke"])


def test_a_message_of_several_lines_is_printed_as_one(capsys, tmp_path):
    assert command.run(recipe(), ["--epochs", "13", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said == "test_flags: --epochs: expected no unlucky number, received 13\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("recipes.cost.test_flags", "make recipe-test-flags"),  # python -m
        ("test_flags", "python test_flags.py"),  # python FILE
    ],
)
def test_help_names_the_command_that_was_typed(module, expected, capsys):
    with pytest.raises(SystemExit):
        flags.parse_recipe(["--help"], module, "A.", Config())
    assert f"usage: {expected} " in capsys.readouterr().out
