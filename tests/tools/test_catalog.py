"""What the tables count, and what is read from a recipe's source."""

import json
from pathlib import Path

import pytest

from common.experiment import command
from common.system import UsageError
from tools import catalog


def test_figures_of_other_test_images_do_not_count():
    """Nor those that were not compared, nor orderings."""
    marked = {"agrees": True, "images": "other test images"}
    figures = [{"agrees": True}, {"agrees": False}, {"agrees": None}, marked, None]
    findings = [{"printed": printed} for printed in figures]
    assert catalog.printed({"findings": findings}) == findings[:2]


@pytest.mark.parametrize("name", catalog.recipes())
def test_the_default_data_set_read_from_the_source_is_the_recipes(name):
    assert catalog._default_dataset(name) == catalog.load(name).default_dataset


def test_last_digits_do_not_write_a_record_anew():
    findings = [{"measured": {"mean": 10306.97021912087, "n": 3}, "shown": True}]
    last = [{"measured": {"mean": 10306.970219120873, "n": 3}, "shown": True}]
    moved = [{"measured": {"mean": 10306.9703, "n": 3}, "shown": True}]
    assert catalog.rounded(findings) == catalog.rounded(last) != catalog.rounded(moved)
    assert catalog.rounded(findings) != catalog.rounded([findings[0] | {"shown": False}])


def test_a_record_has_a_folder_of_its_own():
    with pytest.raises(UsageError, match="expected flags without --out"):
        catalog.record("vanishing_chain", ["--out=here"])


@pytest.mark.parametrize(
    "flags", [["--smoke"], ["--chains", "50"], ["--precision", "mixed_bfloat16"]]
)
def test_what_is_not_a_presets_own_is_refused_before_it_trains(flags, monkeypatch):
    monkeypatch.setattr(command, "run", lambda *_: pytest.fail("it began"))
    expected = f"expected a preset's own hyperparameters, .* received {' '.join(flags)}"
    with pytest.raises(UsageError, match=expected):
        catalog.record("vanishing_chain", flags)


def test_incomplete_runs_are_not_recorded(tmp_path, monkeypatch, capsys):
    def lose(recipe, flags):
        finding = {"why": "2 runs are missing", "name": "", "printed": None, "shown": None}
        content = {"preset": "default", "dataset": {"name": "none"}, "findings": [finding]}
        out = Path(flags[1])
        out.mkdir(parents=True)
        (out / "results.json").write_text(json.dumps(content))
        (out / "vanishing_chain.png").touch()
        return command.FAILED

    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    monkeypatch.setattr(command, "run", lose)
    monkeypatch.setattr(catalog, "keep", lambda content: pytest.fail("it was recorded"))
    assert catalog.record("vanishing_chain", []) == command.FAILED
    assert "not recorded: expected complete runs\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "a minute"), (89, "a minute"), (91, "2 minutes"), (5400, "90 minutes")],
)
def test_whole_minutes_in_words(seconds, words):
    assert catalog.in_minutes(seconds) == words
