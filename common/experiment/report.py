"""From finished runs to results.json, judged, and the figure."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import system
from common.experiment import figures, findings, record, results
from common.experiment.recipe import Recipe, examples_used
from common.experiment.results import Results
from common.training import distribution

if TYPE_CHECKING:
    from common.experiment.grid import Plan, Run


@dataclass(frozen=True)
class Report:
    """What came of a command: the results, and why they are not complete, if they are not."""

    results: Results | None
    kept: int  # runs finished by an earlier command
    missing: Mapping[Run, str]  # why


def conclude(plan: Plan, finished: dict, deaths: Mapping, kept: int, seconds: float) -> Report:
    """Judges and draws what is finished, and writes results.json, pictures and figure."""
    missing = {run: deaths.get(run, "not begun") for run in plan.runs if run not in finished}
    if not finished:
        return Report(None, kept, missing)
    pictures = {}
    for run in finished:
        stored = plan.file(run).with_suffix(".npz")
        if run[1] == 0 and stored.exists():
            with np.load(stored, allow_pickle=False) as arrays:
                pictures |= arrays
    found = Results(_content(plan, finished, missing, seconds), pictures)
    if distribution.is_chief():
        stream = io.BytesIO()
        np.savez_compressed(stream, **pictures)
        system.write_whole(plan.out / "pictures.npz", stream.getvalue())
        system.write_whole(plan.out / "results.json", results.encode(found.content))
        if draw(plan.recipe, found, plan.out) is None:  # nor does an older figure stand for these
            (plan.out / f"{plan.recipe.name}.png").unlink(missing_ok=True)
    return Report(found, kept, missing)


def draw(recipe: Recipe, found: Results, out: Path) -> Path | None:
    """Draws the recipe's figure from its results; None if they lack a whole arm."""
    if set(found.arms) != set(recipe.arms_for(found.content["preset"], found.dataset)):
        return None
    file = out / f"{recipe.name}.png"
    with figures.style():
        picture = figures.png(recipe.plot(found))
    system.write_whole(file, picture)
    return file


def _content(plan: Plan, finished: Mapping, missing: Mapping, seconds: float) -> dict[str, Any]:
    arms: dict[str, Any] = {}
    for arm in plan.recipe.arms:
        seeds = [seed for seed in range(plan.seeds) if (arm, seed) in finished]
        runs = [finished[arm, seed] for seed in seeds]
        if seeds:
            arms[arm] = {"seeds": seeds} | {
                part: {name: [run[part][name] for run in runs] for name in runs[0][part]}
                for part in ("metrics", "history")
            }
    counts = examples_used(plan.config, plan.data.n_train, plan.data.n_test)
    content = {
        "schema": results.SCHEMA,
        "recipe": plan.recipe.name,
        "preset": plan.preset,
        "config": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(plan.config).items()
        },
        "precision": plan.precision,
        "dataset": {
            "name": plan.data.name,
            "source": plan.data.source,
            "sha256": plan.data.sha256,
            **counts,
        },
        "arms": arms,
        "versions": system.versions(),
        "hardware": system.hardware(),
        "devices": distribution.describe(),
        "seconds": round(seconds, 1),
        "commit": system.commit(),
        "key": plan.folder.name,
    }
    why_not = f"{len(missing)} of {len(plan.runs)} runs are missing" if missing else None
    return content | judged(plan.recipe, content, why_not, whole=plan.arms is None)


def judged(
    recipe: Recipe, content: Mapping[str, Any], why_not: str | None = None, whole: bool = True
) -> dict[str, Any]:
    """`findings` and `record` of results.json.

    Args:
        content: results.json; the record's too, when findings were edited.
        why_not: why nothing can be judged, if so.
        whole: whether all arms were to be trained; else the record may hold more.
    """
    preset, dataset = content["preset"], content["dataset"]["name"]

    def settings_of(name: str) -> dict[str, Any]:
        config = dataclasses.asdict(recipe.configured(name, dataset))
        return {key: str(v) if isinstance(v, Path) else v for key, v in config.items()}

    if preset == "smoke":
        why_not = why_not or "a smoke run shows nothing"
    elif content["config"] != settings_of(preset):
        why_not = why_not or "hyperparameters differ from the preset's"
    same = tuple(one for one in ("default", "paper") if settings_of(one) == content["config"])
    entries = [
        findings.judge(finding, Results(content), recipe.default_dataset, same, why_not)
        for finding in recipe.findings
    ]
    against = None if why_not else record.compare_with_file(content, recipe.default_dataset, whole)
    return {"findings": entries, "record": against}
