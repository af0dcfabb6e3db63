"""What the tables count, and what is read from a recipe's source."""

import keras
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
def test_what_is_not_a_presets_own_is_not_recorded(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    before = keras.config.dtype_policy()
    monkeypatch.setattr(catalog, "keep", lambda content: pytest.fail("it was recorded"))
    try:
        assert catalog.record("vanishing_chain", [*flags, "--jobs", "1"]) == command.FAILED
    finally:
        keras.config.set_dtype_policy(before)
    assert "not recorded: expected complete runs of a preset's own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "a minute"), (89, "a minute"), (91, "2 minutes"), (5400, "90 minutes")],
)
def test_whole_minutes_in_words(seconds, words):
    assert catalog.in_minutes(seconds) == words
