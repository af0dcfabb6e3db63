"""What the tables count, and what is read from a recipe's source."""

import pytest

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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "a minute"), (89, "a minute"), (91, "2 minutes"), (5400, "90 minutes")],
)
def test_whole_minutes_in_words(seconds, words):
    assert catalog.in_minutes(seconds) == words
