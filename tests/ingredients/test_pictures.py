"""Photographs of a folder; how pictures are read is tested where one attacks them."""

import numpy as np
from PIL import Image

from common.ingredients.pictures import photographs


def test_photographs_are_those_of_the_folder_by_name(tmp_path):
    for name, color in (("b", 2), ("a", 1), ("c", 3)):
        Image.fromarray(np.full((4, 4, 3), color, np.uint8)).save(
            tmp_path / f"{name}.{'jpeg' if name == 'b' else 'png'}"
        )
    (tmp_path / "d.txt").write_text("no picture")
    assert [np.unique(one).tolist() for one in photographs(tmp_path)] == [[1], [2], [3]]


def test_without_a_folder_they_are_those_of_scikit_learn(tmp_path):
    assert [one.size for one in photographs(tmp_path / "none")] == [(640, 427)] * 2
