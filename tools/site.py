"""The gallery: pages made of records, figures, docstrings and sources, without training.

python -m tools.site [DIR]        writes it to DIR (site/), from where it opens without a server
"""

from __future__ import annotations

import ast
import html
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import vl_convert
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.cmd.build import build_main

import recipes  # noqa: F401  starts TensorFlow quietly

# isort: split
from common.experiment import figures, record, wording
from common.experiment.results import Results
from common.system import UsageError
from tools import catalog, copying

SOURCES = catalog.DOCS / "site"
COLAB = "https://colab.research.google.com/github"
BADGES = {"shown": "shown", "as printed": "agrees", "differs": "differs", "NOT SHOWN": "missing"}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    try:
        if len(arguments) > 1 or any(one.startswith("-") for one in arguments):
            raise UsageError(f"expected one folder, received: {' '.join(arguments)}")
        out = Path(*arguments or ["site"])
        if out.exists() and any(out.iterdir()) and not (out / "searchindex.js").exists():
            raise UsageError(f"expected an empty folder or an older site, received {out}")
        with tempfile.TemporaryDirectory() as folder:
            write_sources(Path(folder, "source"))
            built = Path(folder, "site")
            quiet = ["-q", "-W", "--keep-going", "-d", str(Path(folder, "doctrees"))]
            if code := build_main([*quiet, "-b", "html", str(Path(folder, "source")), str(built)]):
                return code
            shutil.rmtree(built / "_sources", ignore_errors=True)
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(built, out)
    except (UsageError, OSError) as error:
        print(f"site: {error}", file=sys.stderr)
        return 2
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}/index.html: {len(list(out.rglob('*.html')))} pages, {size / 1e6:.0f} MB")
    return 0


def write_sources(source: Path) -> None:
    """Everything that Sphinx reads, into a new folder."""
    shutil.copytree(SOURCES, source)
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Its names must not meet those of Sphinx's own scripts.
    (source / "_static" / "vega.js").write_text(f"(() => {{{bundle}}})();\n")
    for folder in ("recipes", "chapters", "figures", "extra/copies", "extra/slides"):
        (source / folder).mkdir(parents=True)
    for figure in (catalog.DOCS / "figures").glob("*.png"):
        shutil.copy(figure, source / "figures")
    chapters = catalog.chapters()
    every = [name for names in chapters.values() for name in names]
    for i, name in enumerate(every):
        following = every[i + 1] if i + 1 < len(every) else None
        (source / "recipes" / f"{name}.md").write_text(recipe_page(name, following, source))
        for made in (copying.script(name), copying.notebook(name)):
            for file, text in made.items():
                (source / "extra" / "copies" / file).write_text(text)
    path = []
    for number, (chapter, names) in enumerate(chapters.items(), start=1):
        title, about = told(catalog.RECIPES / chapter / "__init__.py")
        text = f"# {number}. {title}\n\n{about}\n\n{cards(names, '..')}\n"
        toctree = "\n".join(f"../recipes/{name}" for name in names)
        text += f"\n```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"
        (source / "chapters" / f"{chapter}.md").write_text(text)
        path.append(f"## [{number}. {title}](chapters/{chapter}.md)\n\n{cards(names, '.')}\n")
    index = (source / "index.md").read_text().replace("CHAPTERS", "\n".join(path))
    pages = "\n".join(f"chapters/{chapter}" for chapter in chapters)
    (source / "index.md").write_text(index.replace("PAGES", pages))
    (source / "printed.md").write_text(printed_page(every))


def told(file: Path) -> tuple[str, str]:
    """Title and text of a chapter, whose recipes become links."""
    title, _, text = catalog.docstring(file).partition("\n")
    known = set(catalog.recipes())

    def link(found: re.Match) -> str:
        name = found[1]
        return f"[{catalog.target(name)}](../recipes/{name}.md)" if name in known else f"`{name}`"

    return title.rstrip("."), re.sub(r"`(\w+)`", link, text.strip())


def cards(names: list[str], root: str) -> str:
    """A card for each recipe: figure, finding, verdicts and time."""
    rows = ["::::::{grid} 1 2 2 3", ":gutter: 3", ""]
    for name in names:
        kept = catalog.records(name)
        figure = f"{root}/figures/{name}.png"
        rows += [":::::{grid-item-card} " + catalog.target(name)]
        rows += [f":link: {root}/recipes/{name}", ":link-type: doc", f":class-card: {mode(name)}"]
        if kept:
            rows += [f":img-top: {figure}", f":img-alt: {catalog.headline(name)}"]
        rows += ["", catalog.headline(name), "", "::::{card-footer}", raw(verdicts(name, kept))]
        rows += ["::::", ":::::", ""]
    return "\n".join([*rows, "::::::"])


def mode(name: str) -> str:
    """CSS class of a recipe's figure: "inverts" in dark mode, or "pictures"."""
    return "pictures" if "results.picture" in catalog.path(name).read_text() else "inverts"


def verdicts(name: str, kept: list[catalog.Content]) -> str:
    """How much is shown, as printed and unchanged, and the time that it takes, in marks."""
    shown = [f["shown"] for content in kept for f in content["findings"] if f["shown"] is not None]
    agree = [f["printed"]["agrees"] for content in kept for f in catalog.printed(content)]
    marks = []
    if shown:
        marks.append(mark(all(shown), "shown", "missing", f"{catalog.counted(shown)} shown"))
    if agree:
        printed = f"{catalog.counted(agree)} as printed"
        marks.append(mark(all(agree), "agrees", "differs", printed))
    compared = [one["record"] for one in kept if catalog.comparable(one["record"])]
    if compared and not any(one["moved"] for one in compared):
        marks.append(mark(True, "agrees", "", "unchanged when trained again"))
    time = catalog.duration(name).partition(" on 2 cores")[0]
    return f'<div class="verdicts">{"".join(marks)}<span>{html.escape(time)}</span></div>'


def mark(holds: bool, good: str, bad: str, text: str) -> str:
    """A verdict in its color."""
    return f'<span class="verdict {good if holds else bad}">{html.escape(text)}</span>'


def raw(text: str) -> str:
    """HTML within a page of Markdown."""
    return f"```{{raw}} html\n{text}\n```"


def recipe_page(name: str, following: str | None, source: Path) -> str:
    """The page of a recipe."""
    docstring = catalog.docstring(catalog.path(name)).partition("\n")[2].strip()
    about = docstring.partition("\n    make recipe-")[0].strip()
    parts = [f"# {catalog.target(name)}", f"**{catalog.headline(name)}**"]
    kept = catalog.records(name)
    parts += [raw(verdicts(name, kept)), "::::::{tab-set}"]
    for content in kept:
        parts += [":::::{tab-item} " + catalog.setting(content), recorded(name, content, source)]
        parts.append(":::::")
    parts += ["::::::", "", "## What it reproduces, and how"]
    parts += [raw(f"<p>{html.escape(one)}</p>") for one in about.split("\n\n")]
    parts += ["## The code", raw(buttons(name, kept)), raw(code(name)), "## Read next"]
    if following:
        parts.append(
            f"[{catalog.target(following)}]({following}.md): {catalog.headline(following)}"
        )
    else:
        parts.append("[All recipes](../index.md)")
    return "\n\n".join(parts) + "\n"


def buttons(name: str, kept: list[catalog.Content]) -> str:
    """Links to downloads: copy, notebook, figures."""
    links = {f"../copies/{name}.py": "One-file copy", f"../copies/{name}.ipynb": "Notebook"}
    if kept:
        links[f"../_images/{name}.png"] = "Figure as PNG"
    if mode(name) == "inverts" and kept:
        links[f"../slides/{name}.svg"] = "Figure as SVG"
    made = [f'<a href="{file}" download>{text}</a>' for file, text in links.items()]
    if repository := os.environ.get("GITHUB_REPOSITORY"):  # whose workflow publishes this page
        opened = f"{COLAB}/{repository}/blob/notebooks/{name}.ipynb"
        made.append(f'<a href="{opened}">Open in Colab</a>')
    return f'<div class="buttons">{"".join(made)}</div>'


def recorded(name: str, content: catalog.Content, source: Path) -> str:
    """Figure, curves and findings of one record."""
    stem = catalog.record_file(name, content["preset"], content["dataset"]["name"]).stem
    figure = None
    if mode(name) == "inverts":  # the record has all that the figure shows
        with figures.style():
            figure = catalog.load(name).plot(Results(whole(content)))
            if stem == name:
                figure.savefig(source / "extra" / "slides" / f"{name}.svg")
    about = next(iter(content["findings"]), {"name": catalog.headline(name)})["name"]
    parts = []
    if (catalog.DOCS / "figures" / f"{stem}.png").exists():
        image = f"```{{image}} ../figures/{stem}.png\n:alt: {about}\n```"
        parts.append(f":::{{div}} figure-plate {mode(name)}\n{image}\n:::")
    if any(arm["history"] for arm in content["arms"].values()):
        drawn = json.dumps(curves(content, figure)).replace("<", "\\u003c")
        script = f'<script type="application/json">{drawn}</script>'
        parts.append(raw(f'<div class="curves">{script}</div>'))
    return "\n\n".join([*parts, raw(findings_table(content)), how_it_ran(name, content)])


def findings_table(content: catalog.Content) -> str:
    """The findings of a record, as a recipe's command prints them."""
    heads = ("finding", "measured", "printed", "verdict")
    rows = ["".join(f'<th scope="col">{one}</th>' for one in heads)]
    for entry in content["findings"]:
        verdict = wording.verdict(entry)
        texts = entry["name"], wording.measured_text(entry), wording.printed_text(entry)
        cells = [html.escape(text) for text in texts]
        why = f"<br><small>{html.escape(entry['why'])}</small>" if verdict == "not judged" else ""
        cells.append(f'<span class="{BADGES.get(verdict, "")}">{html.escape(verdict)}</span>{why}')
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table>{body}</table></div>'


def how_it_ran(name: str, content: catalog.Content) -> str:
    """Command, seeds, time, machine and versions of a record, and what moved since the last."""
    dataset, flags = content["dataset"]["name"], ["--paper"] * (content["preset"] == "paper")
    flags += [f"--dataset {dataset}"] * (dataset != catalog.load(name).default_dataset)
    command = f"make recipe-{catalog.target(name)}" + f' ARGS="{" ".join(flags)}"' * bool(flags)
    versions = ", ".join(f"{key} {value}" for key, value in content["versions"].items())
    compared = content["record"]
    told = f" When recorded: {record.describe(compared)}." if catalog.comparable(compared) else ""
    seeds = f"{(n := catalog.seeds(content))} seed{'s' * (n > 1)}"
    return (
        f"`{command}`: {seeds}, {content['seconds']:.0f} s on "
        f"{content['hardware']}; {versions}.{told}"
    )


def whole(content: catalog.Content) -> catalog.Content:
    """A record whose thinned series have their full length again, by straight lines."""
    arms = {}
    for name, arm in content["arms"].items():
        history = {
            key: [
                _stretched(one, n, content)
                for one, n in zip(seeds, arm["history_length"][key], strict=True)
            ]
            for key, seeds in arm["history"].items()
        }
        arms[name] = arm | {"history": history}
    return content | {"arms": arms}


def _stretched(series: list, n: int, content: catalog.Content) -> list[float]:
    kept = content["history_index"][str(n)]
    values = np.array(series, dtype=float)
    return np.interp(np.arange(n), kept, values).tolist() if kept else [np.nan] * n


def curves(content: catalog.Content, figure: Figure | None) -> dict[str, dict[str, Any]]:
    """What `site.js` draws of each series: {"x": label, "arms": {arm: [[x, y], ...] by seed}}.

    Where the figure has a panel of the series, x is the panel's, and the marked `points` too.
    """
    panels, drawn = {axes.get_ylabel(): axes for axes in (figure.axes if figure else ())}, {}
    for arm, measured in content["arms"].items():
        for series, seeds in measured["history"].items():
            lengths = measured["history_length"][series]
            about = drawn.setdefault(series, described(panels.get(series)) | {"arms": {}})
            about["arms"][arm] = [
                [
                    [about["at"].get(n, range(1, n + 1))[i], y]
                    for i, y in zip(content["history_index"][str(n)], one, strict=True)
                ]
                for n, one in zip(lengths, seeds, strict=True)
            ]
    return {series: {k: v for k, v in one.items() if k != "at"} for series, one in drawn.items()}


def described(axes: Axes | None) -> dict[str, Any]:
    """Label of x, places of n points, and marked points of a panel."""
    lines = axes.get_lines() if axes else []
    marked = [line for line in lines if line.get_markersize() == figures.MARKER]
    # The words for all marks are with a line of none, as `figures.legend` adds it.
    words = next((line.get_label() for line in marked if not len(line.get_xdata())), "")
    return {
        "x": (axes and axes.get_xlabel()) or "point of the series",
        "at": {len(line.get_xdata()): np.array(line.get_xdata()).tolist() for line in lines},
        "points": [
            {
                "x": float(x),
                "y": float(y),
                "source": words if line.get_label().startswith("_") else line.get_label(),
            }
            for line in marked
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        ],
    }


def code(name: str) -> str:
    """`build_model` and `train` with lines that can be linked to, and the whole file, folded."""
    text = catalog.path(name).read_text()
    lines, parts = text.splitlines(keepends=True), []
    tree = {node.name: node for node in ast.parse(text).body if hasattr(node, "name")}
    for function in ("build_model", "train"):
        node = tree[function]
        own = "".join(lines[node.lineno - 1 : node.end_lineno])
        parts.append(f'<div class="source">{colored(own, function, node.lineno)}</div>')
    where = catalog.path(name).relative_to(catalog.ROOT)
    folded = f"<summary>The whole file, {where}</summary>{colored(text, 'line', 1)}"
    return "\n".join([*parts, f'<details class="source">{folded}</details>'])


def colored(text: str, anchor: str, first: int) -> str:
    """Code as HTML, its lines numbered from `first` and linked to as ANCHOR-NUMBER."""
    how = {"linenos": "inline", "lineanchors": anchor, "anchorlinenos": True}
    return highlight(text, PythonLexer(), HtmlFormatter(linenostart=first, **how))


def printed_page(names: list[str]) -> str:
    """Printed against measured, over all recipes."""
    compared = [(c, f) for name in names for c in catalog.records(name) for f in catalog.printed(c)]
    agreeing = sum(entry["printed"]["agrees"] for _, entry in compared)
    heads = ("recipe", "finding", "printed", "measured", "verdict", "source", "cause")
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "".join(printed_row(content, entry) for content, entry in compared)
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return (
        "# Printed against measured\n\n"
        f"Of {len(compared)} printed figures whose protocol was run, {agreeing} agree: they lie in "
        "the 95 % prediction interval for one further run.\n\n"
        + raw(f'<div class="wide"><table class="sortable">{table}</table></div>')
        + "\n"
    )


def printed_row(content: catalog.Content, entry: wording.Entry) -> str:
    """A row of the table; numbers sort by `data-value`."""
    name, printed, verdict = content["recipe"], entry["printed"], wording.verdict(entry)
    cause = "" if printed["agrees"] else printed.get("cause") or "Cause unknown"
    setting = html.escape(catalog.setting(content))
    cells = [
        f'<a href="recipes/{name}.html">{catalog.target(name)}</a><br>{setting}',
        html.escape(entry["name"]),
        number(printed["value"], wording.printed_text(entry)),
        number(entry["measured"]["mean"], wording.measured_text(entry)),
        f'<span class="{BADGES[verdict]}">{verdict}</span>',
        html.escape(entry["source"]),
        html.escape(cause),
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def number(value: float | None, text: str) -> str:
    """A number that a column is sorted by."""
    return f'<span class="number" data-value="{value}">{html.escape(text)}</span>'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
