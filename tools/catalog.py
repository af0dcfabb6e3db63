"""The recipes by chapter, and their records as tables in README.md and docs/results.md.

python -m tools.catalog list                 the chapters, and each recipe with its time
python -m tools.catalog record NAME [FLAGS]  run it, say what moved, and keep its results in docs/
python -m tools.catalog record-all [FLAGS]   the same for all recipes and data sets not kept yet
python -m tools.catalog readme               judge the records by today's findings, and write the
                                             tables anew
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.system import UsageError, write_whole

ROOT = Path(__file__).parents[1]
RECIPES, DOCS = ROOT / "recipes", ROOT / "docs"
READ = (
    "`±` is a standard deviation over seeds. `(a .. b)` is a 95 % interval of the mean; an "
    "equivalence is judged by its 90 % interval; a printed figure agrees within the interval of "
    "one more run. Seconds are those of the recorded run, which may have had other work beside it."
)
MADE = "<!-- {}: made by `make readme` -->", "<!-- end of {} -->"  # around a table of README.md
Content = dict[str, Any]  # a results.json


def chapters() -> dict[str, list[str]]:
    """The recipes of each chapter, both in the order in which the docstrings name them."""
    folders = {file.parent.name for file in RECIPES.glob("*/__init__.py")}
    return {
        chapter: _in_order(
            RECIPES / chapter / "__init__.py",
            {file.stem for file in (RECIPES / chapter).glob("*.py")} - {"__init__"},
        )
        for chapter in _in_order(RECIPES / "__init__.py", folders)
    }


def _in_order(file: Path, names: set[str]) -> list[str]:
    """The names in the order in which the file's docstring first mentions them in backticks."""
    mentioned = re.findall(r"`(\w+)`", docstring(file))
    place = {name: i for i, name in reversed(list(enumerate(mentioned)))}
    return sorted(names, key=lambda name: (place.get(name, len(mentioned)), name))


def recipes() -> list[str]:
    """Names of all recipes, chapter by chapter."""
    return [name for names in chapters().values() for name in names]


def find(name: str) -> str:
    """The name of a recipe, given with underscores or hyphens.

    Raises UsageError if there is none.
    """
    if name.replace("-", "_") not in recipes():
        known = ", ".join(map(target, recipes()))
        raise UsageError(f"expected one of the recipes: {known}; received: {name or 'none'}")
    return name.replace("-", "_")


def path(name: str) -> Path:
    """The file of a recipe."""
    return next(RECIPES.glob(f"*/{name}.py"))


def module(name: str) -> str:
    """The dotted name of a recipe's module."""
    return f"recipes.{path(name).parent.name}.{name}"


def target(name: str) -> str:
    """The make target's name of a recipe."""
    return name.replace("_", "-")


def docstring(file: Path) -> str:
    """The docstring of a file."""
    return ast.get_docstring(ast.parse(file.read_text()))


def headline(name: str) -> str:
    """The first line of a recipe's docstring: its finding in one sentence."""
    return docstring(path(name)).splitlines()[0]


def duration(name: str) -> str:
    """How long a recipe takes, as its docstring says beside the command."""
    return re.search(rf"make recipe-{target(name)} +(\S.*)", path(name).read_text())[1]


def load(name: str) -> Any:
    """The RECIPE of a recipe."""
    return importlib.import_module(module(name)).RECIPE


def record_file(name: str, preset: str, dataset: str) -> Path:
    """Where the record of a recipe under a preset on a data set is kept."""
    from common.experiment import record

    return record.RECORDS / record.file_name(name, preset, dataset, _default_dataset(name))


def _default_dataset(name: str) -> str:
    """The first data set of a recipe, read from its source: importing it takes seconds."""
    call = path(name).read_text().rpartition("\nRECIPE = ")[2]
    named = re.search(r'\bdatasets=\("?(\w*)', call)
    return named[1] if named else "mnist"


def records(name: str) -> list[Content]:
    """What is kept of a recipe: the default first, then other presets and data sets."""
    found = [json.loads(file.read_text()) for file in (DOCS / "results").glob(f"{name}.*json")]
    usual = _default_dataset(name)
    return sorted(
        (content for content in found if content["recipe"] == name),
        key=lambda c: (c["preset"] != "default", c["dataset"]["name"] != usual, c["preset"]),
    )


def row(*cells: str) -> str:
    """A row of a Markdown table; a bar within a cell, as in |dE/dw|, ends none."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def seeds(content: Content) -> int:
    """How many seeds the results stand on."""
    return max(len(arm["seeds"]) for arm in content["arms"].values())


def setting(content: Content) -> str:
    """Preset and data set of a record, in words."""
    paper = ", --paper" * (content["preset"] == "paper")
    return f"{content['dataset']['name']}{paper}"


def printed(content: Content) -> list[Content]:
    """The findings of a record that compare a printed figure whose protocol was run.

    Those compared on other test images than printed are left out.
    """
    found = [f for f in content["findings"] if f["printed"] and "images" not in f["printed"]]
    return [f for f in found if f["printed"]["agrees"] is not None]


def comparable(compared: Content | None) -> bool:
    """Whether a record had metrics in common with the record before it."""
    moved = (compared or {"moved": []})["moved"]
    return compared is not None and not (moved and all(one["by"] is None for one in moved))


def runs_are_missing(content: Content) -> bool:
    """Whether results were judged without some of the runs that were asked for."""
    return any("runs are missing" in (finding["why"] or "") for finding in content["findings"])


def counted(verdicts: list[bool]) -> str:
    """How many hold of how many, nothing if there are none."""
    return f"{sum(verdicts)} of {len(verdicts)}" if verdicts else ""


def in_minutes(seconds: float) -> str:
    """Whole minutes in words, at least one."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minutes" if minutes > 1 else "a minute"


def readme_table() -> str:
    """The recipes by chapter with their first finding, and which printed figures differ."""
    every = {name: records(name) for name in recipes()}
    compared = [(c, f) for contents in every.values() for c in contents for f in printed(c)]
    agreeing = [finding["printed"]["agrees"] for _, finding in compared]
    lines = [
        f"**Of {len(agreeing)} printed figures whose protocol was run, {sum(agreeing)} agree.** "
        "Those that differ stand below the table, with the cause where it is known."
    ]
    for chapter, names in chapters().items():
        title = docstring(RECIPES / chapter / "__init__.py").splitlines()[0]
        lines += [
            "",
            f"**{title}**",
            "",
            row("recipe", "what it found", "shown", "as printed", "time"),
        ]
        lines.append("|---|---|---|---|---|")
        for name in names:
            link = f"[{target(name)}]({path(name).relative_to(ROOT)})"
            if not every[name]:
                lines.append(row(link, headline(name), "not recorded yet", "", duration(name)))
            for content in every[name]:
                if content["preset"] == "default" and content is not every[name][0]:
                    continue  # other data sets are in docs/results.md
                judged = [f for f in content["findings"] if f["shown"] is not None]
                about = next((f["name"] for f in judged or content["findings"]), "")
                shown = [f["shown"] for f in judged]
                agrees = [f["printed"]["agrees"] for f in printed(content)]
                few = f"not judged: {seeds(content)} seed{'s' * (seeds(content) > 1)}"
                paper = content["preset"] == "paper"
                time = in_minutes(content["seconds"]) if paper else duration(name)
                lines.append(
                    row(
                        f"{link} --paper" if paper else link,
                        about if paper else f"{headline(name)}<br>{about}",
                        f"[{counted(shown)}](docs/results.md#{name})" if shown else few,
                        counted(agrees),
                        time.partition(" on 2 cores")[0],
                    )
                )
    differ = [
        f"- {target(content['recipe'])} ({setting(content)}): {finding['name']}. "
        f"{finding['printed'].get('cause') or 'Cause unknown'}."
        for content, finding in compared
        if not finding["printed"]["agrees"]
    ]
    failed = [
        f"- {target(content['recipe'])} ({setting(content)}): {finding['name']}."
        for contents in every.values()
        for content in contents
        for finding in content["findings"]
        if finding["shown"] is False
    ]
    hardware = sorted({c["hardware"] for contents in every.values() for c in contents})
    quiet = "Times are of two cores with nothing else to do; those of --paper as recorded."
    lines += ["", f"Measured on: {'; '.join(hardware)}. {quiet}"]
    lines += ["", "Printed figures that differ:", "", *(differ or ["none."])]
    lines += ["", "Findings not shown:", "", *(failed or ["none."])]
    return "\n".join(lines)


def results_page() -> str:
    """docs/results.md: every finding of every record, with its figure."""
    from common.experiment import record, wording

    parts = ["# Results", "", "Made by `make readme` from `docs/results/`; do not edit.", "", READ]
    found = [(i, content) for name in recipes() for i, content in enumerate(records(name))]
    for i, content in found:
        name = content["recipe"]
        file = record_file(name, content["preset"], content["dataset"]["name"])
        heading, number = f"{name} ({setting(content)})" if i else name, seeds(content)
        versions = ", ".join(f"{key} {value}" for key, value in content["versions"].items())
        parts += [f"\n## {heading}", "", headline(name), ""]
        figure = DOCS / "figures" / f"{file.stem}.png"
        parts += [f"![{headline(name)}](figures/{figure.name})", ""] if figure.exists() else []
        parts += [
            f"{setting(content)}, {number} seed{'s' * (number > 1)}, {content['seconds']:.0f} s on "
            f"{content['hardware']}; {versions}.",
            "",
            "| finding | measured | printed | verdict | source |",
            "|---|---|---|---|---|",
        ]
        for entry in content["findings"]:
            texts = wording.measured_text(entry), wording.printed_text(entry)
            parts.append(row(entry["name"], *texts, wording.verdict(entry), entry["source"]))
        against = content.get("record")
        parts += ["", f"When recorded: {record.describe(against)}."] if comparable(against) else []
    return "\n".join(parts) + "\n"


def speeds_table() -> str:
    """The first table of docs/benchmarks.md."""
    lines = (DOCS / "benchmarks.md").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    last = next(i for i, line in enumerate(lines[first:], first) if not line.startswith("|"))
    return "\n".join(lines[first:last])


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
    """Judges the records by the findings as they are now; writes README.md and docs/results.md."""
    import recipes as _  # noqa: F401  starts TensorFlow quietly
    from common.experiment import report

    anew = []
    for name in recipes():
        for content in records(name):
            try:
                judged = report.judged(load(name), content)["findings"]
            except ValueError as error:
                received = f"received {name} ({setting(content)}): {error}"
                raise UsageError(f"expected records of today's metrics, {received}") from None
            if rounded(judged) != rounded(content["findings"]):
                anew.append(content | {"findings": judged})
    for content in anew:
        keep(content)
    readme = ROOT / "README.md"
    write_whole(readme, with_tables(readme.read_text()).encode())
    write_whole(DOCS / "results.md", results_page().encode())


def rounded(findings: list[dict]) -> Any:
    """The findings without the last digits, in which processors differ."""
    return json.loads(json.dumps(findings), parse_float=lambda text: f"{float(text):.9g}")


def keep(content: Content) -> None:
    """Writes the record of results.json, its curves thinned."""
    from common.experiment.results import encode
    from tools.thinning import thinned

    file = record_file(content["recipe"], content["preset"], content["dataset"]["name"])
    write_whole(file, encode(thinned(content)))


def record(name: str, flags: list[str]) -> int:
    """Runs a recipe, says what moved since its record, and replaces that; -> its exit code.

    Only complete results of a preset's own hyperparameters become a record. Raises UsageError for
    flags with which there would be none.
    """
    recipe = load(name)  # and with it TensorFlow
    from common.experiment import command
    from common.flags import parse_recipe, preset_of

    if any(flag.startswith("--out") for flag in flags):
        raise UsageError("expected flags without --out, a folder that a record settles itself")
    own = recipe.configured(preset_of(flags), "")
    chosen, config = parse_recipe(flags, recipe.module.__name__, "", own)
    if chosen.smoke or chosen.precision != "float32" or config != own:
        expected = "expected a preset's own hyperparameters, in float32 and without --smoke"
        raise UsageError(f"{name}: {expected}, received {' '.join(flags)}")
    out = ROOT / "results" / "-".join([name, *(f.strip("-") for f in flags)])
    code = command.run(recipe, ["--out", str(out), *flags])
    if code not in (command.DONE, command.FAILED):
        return code
    content, figure = json.loads((out / "results.json").read_text()), out / f"{name}.png"
    preset, dataset = content["preset"], content["dataset"]["name"]
    if not figure.exists() or runs_are_missing(content):
        print(f"{name}: not recorded: expected complete runs", file=sys.stderr)
        return command.FAILED
    file = record_file(name, preset, dataset)
    keep(content)
    write_whole(DOCS / "figures" / f"{file.stem}.png", figure.read_bytes())
    print(f"recorded {file.relative_to(ROOT)}")
    return code


def settings() -> Iterator[tuple[str, list[str]]]:
    """Every recipe on every data set, as name and flags; the default data sets come first."""
    found = [
        (i, name, ["--dataset", dataset] if i else [])
        for name in recipes()
        for i, dataset in enumerate(load(name).datasets)
    ]
    return ((name, flags) for _, name, flags in sorted(found, key=lambda one: one[0] > 0))


def record_all(flags: list[str]) -> int:
    """Records what has no record yet, one setting after the other; -> the worst exit code."""
    worst = 0
    for name, dataset in settings():
        where = dataset[1] if dataset else _default_dataset(name)
        if record_file(name, "default", where).exists():
            continue
        code = record(name, [*dataset, *flags])
        if code == 130:
            return code
        worst = max(worst, code)
    return worst


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    try:
        match arguments:
            case ["list"]:
                _print_list()
                return 0
            case ["record", name, *flags]:
                return record(find(name), flags)
            case ["record-all", *flags]:
                return record_all(flags)
            case ["readme"]:
                write_tables()
                return 0
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    expected = "list, record NAME, record-all or readme"
    print(f"expected {expected}, received: {' '.join(arguments) or 'none'}", file=sys.stderr)
    return 2


def _print_list() -> None:
    width = max(len(target(name)) for name in recipes())
    for chapter, names in chapters().items():
        print(docstring(RECIPES / chapter / "__init__.py").splitlines()[0])
        for name in names:
            print(f"  recipe-{target(name):{width}}  {headline(name)}")
            print(f"{'':{width + 9}}  {duration(name)}")


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # as in `make list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
