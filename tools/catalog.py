"""The recipes as a list, and their recorded results as tables in README.md and docs/results.md.

python -m tools.catalog list                 name, claim and time of each recipe
python -m tools.catalog record NAME [--paper]
                                             run it and keep its results in docs/
python -m tools.catalog readme               judge what is kept by today's claims, and write the
                                             tables anew
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from common.claims import describe
from common.results import UsageError, encode, write_whole

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
DOCS = ROOT / "docs"
MADE = "<!-- {}: made by `make readme` -->", "<!-- end of {} -->"  # around a table of README.md


def recipes() -> list[str]:
    """Names of all recipes."""
    return sorted(file.stem for file in RECIPES.glob("*.py") if file.stem != "__init__")


def find(name: str) -> str:
    """The name of the recipe that is called so, or is of that make target.

    Raises UsageError if there is none.
    """
    if name.replace("-", "_") not in recipes():
        known = ", ".join(map(target, recipes()))
        raise UsageError(f"expected one of the recipes: {known}; received: {name or 'none'}")
    return name.replace("-", "_")


def target(name: str) -> str:
    """The make target's name of a recipe."""
    return name.replace("_", "-")


def headline(name: str) -> str:
    """The first line of a recipe's docstring: its claim in one sentence."""
    return ast.get_docstring(ast.parse((RECIPES / f"{name}.py").read_text())).splitlines()[0]


def duration(name: str) -> str:
    """How long a recipe takes, as its docstring says beside the command."""
    source = (RECIPES / f"{name}.py").read_text()
    return re.search(rf"make recipe-{target(name)} +(\S.*)", source).group(1)


def recorded(name: str, paper: bool = False) -> dict[str, Any] | None:
    """The results kept in docs/ at the default budget or with --paper, None if there are none."""
    file = DOCS / "results" / f"{stem(name, paper)}.json"
    return json.loads(file.read_text()) if file.exists() else None


def stem(name: str, paper: bool) -> str:
    """What the recorded files of a recipe are called."""
    return f"{name}-paper" if paper else name


def verdict(claim: dict[str, Any]) -> str:
    """Whether a claim holds, in a word."""
    return {True: "holds", False: "**fails**", None: "not judged"}[claim["holds"]]


def published(claim: dict[str, Any]) -> str:
    """The published figure, nothing if there is none."""
    return "" if claim["published"] is None else f"{claim['published']:.4g}"


def row(*cells: str) -> str:
    """A row of a Markdown table; a bar within a cell, as in |dE/dw|, ends none."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def seeds(content: dict[str, Any]) -> int:
    """How many seeds the results stand on."""
    return max(len(arm["seeds"]) for arm in content["arms"].values())


def readme_table() -> str:
    """One row a recipe: its first claim stands for all, with how many of them hold."""
    rows = [
        "| recipe | claim | published | measured | seeds | judged claims that hold | on 2 cores |",
        "|---|---|---|---|---|---|---|",
    ]
    hardware = set()
    for name in recipes():
        content = recorded(name)
        link = f"[{target(name)}](recipes/{name}.py)"
        if content is None:
            rows.append(row(link, headline(name), "", "", "", "not recorded yet", ""))
            continue
        first = content["claims"][0]
        judged = [c["holds"] for c in content["claims"] if c["holds"] is not None]
        hardware.add(content["hardware"])
        held = f"[{judged.count(True)} of {len(judged)}](docs/results.md#{name})"
        time = duration(name).partition(" on 2 cores")[0]
        about = first["name"], published(first), describe(first), str(seeds(content))
        rows.append(row(link, *about, held, time))
    return "\n".join([*rows, "", f"Measured on: {'; '.join(sorted(hardware))}."])


def results_page() -> str:
    """docs/results.md: every claim of every recipe, with its figure."""
    parts = ["# Results", "", "Made by `make readme` from `docs/results/`; do not edit."]
    for name, paper in ((name, paper) for name in recipes() for paper in (False, True)):
        content = recorded(name, paper)
        if content is None:
            continue
        many = f"{seeds(content)} seed{'s' * (seeds(content) > 1)}"
        about = f"{content['dataset']['name']}, {many}, {content['seconds']:.0f} s"
        versions = ", ".join(f"{key} {value}" for key, value in content["versions"].items())
        parts += [
            f"\n## {name}{' --paper' * paper}",
            "",
            headline(name),
            "",
            f"![{headline(name)}](figures/{stem(name, paper)}.png)",
            "",
            f"{about} on {content['hardware']}; {versions}.",
            "",
            "| claim | published | measured | expected | verdict | source |",
            "|---|---|---|---|---|---|",
        ]
        for claim in content["claims"]:
            cells = (claim["name"], published(claim), describe(claim), claim.get("expected", ""))
            parts.append(row(*cells, verdict(claim), claim["source"]))
    return "\n".join(parts) + "\n"


def speeds_table() -> str:
    """The first table of docs/benchmarks.md."""
    lines = (DOCS / "benchmarks.md").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    return "\n".join(itertools.takewhile(lambda line: line.startswith("|"), lines[first:]))


def with_tables(readme: str) -> str:
    """README.md's text with the tables between their marks made anew."""
    for name, table in (("results", readme_table()), ("speeds", speeds_table())):
        begin, end = (mark.format(name) for mark in MADE)
        if readme.count(begin) != 1 or readme.count(end) != 1:
            raise UsageError(f"README.md: expected {begin} and {end} once each")
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = f"{before}{begin}\n{table}\n{end}{after}"
    return readme


def write_tables() -> None:
    """Judges what is kept by the claims as they are now; writes README.md and docs/results.md."""
    import recipes as _  # noqa: F401  starts TensorFlow quietly, in seconds; listing does without
    from common import experiment

    for name, paper in itertools.product(recipes(), (False, True)):
        if content := recorded(name, paper):
            keep(stem(name, paper), content | {"claims": experiment.judge(load(name), content)})
    readme = ROOT / "README.md"
    write_whole(readme, with_tables(readme.read_text()).encode())
    write_whole(DOCS / "results.md", results_page().encode())


def load(name: str) -> Any:
    """The RECIPE of a recipe."""
    return importlib.import_module(f"recipes.{name}").RECIPE


def keep(kept: str, content: dict[str, Any]) -> None:
    """Writes docs/results/KEPT.json."""
    text = json.dumps(json.loads(encode(content)), indent=1)
    write_whole(DOCS / "results" / f"{kept}.json", f"{text}\n".encode())


def record(name: str, paper: bool) -> int:
    """Runs a recipe and keeps what it measured, if that is complete; its exit code."""
    recipe = load(name)  # and with it TensorFlow
    from common import command

    kept = stem(name, paper)
    out = ROOT / "results" / kept
    code = command.run(recipe, ["--out", str(out), *["--paper"] * paper])
    if code not in (command.HOLDS, command.FAILS):
        return code
    figure = out / f"{name}.png"
    if not figure.exists():  # runs are missing, as the command said
        return code
    keep(kept, without_history(json.loads((out / "results.json").read_text())))
    write_whole(DOCS / "figures" / f"{kept}.png", figure.read_bytes())
    write_tables()
    return code


def without_history(content: dict[str, Any]) -> dict[str, Any]:
    """results.json without its longest part: tables and comparisons need only the metrics."""
    arms = {
        name: {part: value for part, value in arm.items() if part != "history"}
        for name, arm in content["arms"].items()
    }
    return {**content, "arms": arms}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    match arguments:
        case ["list"]:
            width = max(len(target(name)) for name in recipes())
            for name in recipes():
                print(f"recipe-{target(name):{width}}  {headline(name)}")
                print(f"{'':{width + 7}}  {duration(name)}")
            return 0
        case ["record", name, *flags] if flags in ([], ["--paper"]):
            try:
                return record(find(name), bool(flags))
            except UsageError as error:
                print(error, file=sys.stderr)
                return 2
        case ["readme"]:
            try:
                write_tables()
            except UsageError as error:
                print(error, file=sys.stderr)
                return 2
            return 0
    print(
        f"expected list, record NAME [--paper] or readme, received: {' '.join(arguments)}",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # as in `make list | head`: who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
