"""What the tables count."""

from tools import catalog


def test_figures_of_other_test_images_do_not_count():
    """Nor those that were not compared, nor orderings."""
    marked = {"agrees": True, "images": "other test images"}
    figures = [{"agrees": True}, {"agrees": False}, {"agrees": None}, marked, None]
    findings = [{"printed": printed} for printed in figures]
    assert catalog.printed({"findings": findings}) == findings[:2]
