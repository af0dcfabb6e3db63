"""results.json judged, and its figure drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import data, system
from common.experiment import figures, findings, record, results
from common.experiment.recipe import Recipe
from common.experiment.results import Results


def judged(
    recipe: Recipe, content: Mapping[str, Any], why_not: str | None = None, whole: bool = True
) -> dict[str, Any]:
    """`findings` and `record` of results.json, or of a record when findings were edited.

    `why_not` is why nothing can be judged, if so. Unless the `whole` was to be trained, the record
    may hold more arms.
    """
    preset, dataset = content["preset"], content["dataset"]["name"]
    same, parent = _presets(recipe, content, dataset), data.PART_OF.get(dataset)
    if preset == "smoke":
        why_not = why_not or "a smoke run shows nothing"
    elif preset not in same:
        why_not = why_not or "hyperparameters differ from the preset's"
    elif content["precision"] != "float32":
        why_not = why_not or "findings are judged in float32"
    of_whole = parent and (parent, _presets(recipe, content, parent))
    entries = [
        findings.judge(finding, Results(content), recipe.default_dataset, same, why_not, of_whole)
        for finding in recipe.findings
    ]
    against = None if why_not else record.compare_with_file(content, recipe.default_dataset, whole)
    return {"findings": entries, "record": against}


def _presets(recipe: Recipe, content: Mapping[str, Any], dataset: str) -> list[str]:
    """Those whose hyperparameters on a data set are those of results.json."""
    configs = {name: recipe.configured(name, dataset) for name in ("default", "paper")}
    return [name for name in configs if results.settings(configs[name]) == content["config"]]


def draw(recipe: Recipe, found: Results, out: Path) -> Path | None:
    """Draws the recipe's figure from its results; None if they lack an arm or a run of one."""
    seeds = {tuple(found.seeds(arm)) for arm in found.arms}
    arms = set(recipe.arms_for(found.content["preset"], found.dataset))
    if set(found.arms) != arms or len(seeds) != 1 or 0 not in min(seeds):
        return None
    file = out / f"{recipe.name}.png"
    with figures.style():
        system.write_whole(file, figures.png(recipe.plot(found)))
    return file
