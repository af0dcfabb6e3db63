"""The recipes as a list, and their recorded results as tables in README.md and docs/results.md.

python -m tools.catalog list                 name, claim and time of each recipe
python -m tools.catalog record NAME [--paper]
                                             run it and keep its results in docs/
python -m tools.catalog readme               write both tables anew from docs/results/
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from common.claims import describe
from common.results import UsageError

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
DOCS = ROOT / "docs"
BEGIN, END = "<!-- results: made by `make readme` -->", "<!-- end of results -->"


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
        "| recipe | claim | published | measured | seeds | claims that hold | time |",
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
        time = f"{content['seconds']:.0f} s"
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


def with_table(readme: str) -> str:
    """README.md's text with the table between its marks made anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{readme_table()}\n{END}{after}"


def write_tables() -> None:
    """Writes README.md and docs/results.md anew."""
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text()))
    (DOCS / "results.md").write_text(results_page())


def record(name: str, paper: bool) -> int:
    """Runs a recipe and keeps what it measured; its exit code."""
    out = ROOT / "results" / stem(name, paper)
    command = [sys.executable, "-m", f"recipes.{name}", "--out", str(out)]
    code = subprocess.run([*command, *["--paper"] * paper], cwd=ROOT).returncode
    if code not in (0, 1):
        return code
    content = json.loads((out / "results.json").read_text())
    content = without_history(content)
    for folder in ("results", "figures"):
        (DOCS / folder).mkdir(parents=True, exist_ok=True)
    kept = stem(name, paper)
    (DOCS / "results" / f"{kept}.json").write_text(json.dumps(content, indent=1) + "\n")
    shutil.copyfile(out / f"{name}.png", DOCS / "figures" / f"{kept}.png")
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
            write_tables()
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
