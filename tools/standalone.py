"""A recipe's source as one file of stock Keras, which imports nothing of this repository.

What stands above the rule `# ---- findings` is kept as it is written, with its comments. Calls of
`fit(model, ...)` become `model.fit(...)`, annotated types plain ones; the ingredients that it uses
are written in, and a `main` trains every arm. Positions come from `ast`, formatting from ruff.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import symtable
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruff import find_ruff_bin

from common.source import RULE
from common.system import UsageError
from tools import catalog

ROOT = Path(__file__).parents[1]
INGREDIENTS = "common.ingredients"
# Arguments added to a call that becomes a method of the model.
ADDED = {"fit": {"verbose": "0"}, "evaluate": {"return_dict": "True", "verbose": "0"}}
# And to a `fit` that validates: in mini-batches of ten, 10,000 images take longer than to train.
VALIDATES = {"validation_batch_size": "500"}
# What a copy defines itself if its recipe imports it.
PROVIDED = {
    "Outcome": """
# What training one arm gives: final numbers, series by epoch, and arrays, each by name.
Outcome = namedtuple("Outcome", ("metrics", "curves", "pictures"), defaults=({}, {}))
""",
    "once": '''
SHARED = {"seed": 0}  # the current seed; by (seed, name), what several arms start from


def once(name, make):
    """The result of make(), which is called once per seed for all arms that ask by this name."""
    seed = SHARED["seed"]
    if (seed, name) not in SHARED:
        SHARED[seed, name] = make()
    keras.utils.set_random_seed(seed)  # the arm that made it goes on as those that found it
    return SHARED[seed, name]
''',
}
IMPORTS = (
    "import sys\nfrom collections import namedtuple\nfrom dataclasses import dataclass\n\n"
    "import keras\nimport numpy as np\n"
)
DATA = {
    "mnist": "[(x, y.astype('int32')) for x, y in keras.datasets.mnist.load_data()]",
    "cifar10": "[(x, y.ravel().astype('int32')) for x, y in keras.datasets.cifar10.load_data()]",
    "none": "None",
}
RUN = """\
{paper}config = {smoke} if smoke else {default}
seeds = 1 if smoke else {seeds}
data = {data}
for {loop}:
    outcomes = []
    for seed in range(seeds):
        {begin}
        outcomes.append(train(config, {arm}, seed, data))
    for metric in outcomes[0].metrics:
        values = [float(outcome.metrics[metric]) for outcome in outcomes]
        std = f" ± {{np.std(values, ddof=1):.2g}}" if len(values) > 1 else ""
        print(f"{{name:{width}}}  {{np.mean(values):10.4g}}{{std:10}}  {{metric}}", flush=True)
{keep}"""
MAIN = '''
def main():
    """Trains every arm on every seed; prints mean ± standard deviation over the seeds."""
    if sys.argv[1:] not in ([], ["--smoke"]):
        print("expected --smoke or nothing, received", *sys.argv[1:], file=sys.stderr)
        sys.exit(2)
    smoke = "--smoke" in sys.argv
{}

if __name__ == "__main__":
    main()
'''
CELL = """\
smoke = True  # for seconds; False: the whole experiment
results = {{}}  # what training gave, by arm and seed
{}
"""
# The last cell of a notebook whose recipe has curves.
CURVES = """
series = list(dict.fromkeys(one for outcomes in results.values() for one in outcomes[0].curves))
figure, panels = plt.subplots(len(series), figsize=(7, 4 * len(series)), squeeze=False)
for panel, one in zip(panels[:, 0], series, strict=True):
    for i, (name, outcomes) in enumerate(results.items()):
        for seed, run in enumerate(outcomes):
            label = None if seed else name
            panel.plot(run.curves.get(one, []), ".-", color=f"C{i % 10}", label=label)
    low, high = panel.dataLim.intervaly
    panel.set(ylabel=one, yscale="log" if 0 < 1_000 * low < high else "linear")
    panel.legend()
"""


@dataclass
class Module:
    """A file in pieces: each statement with the comments above it."""

    docstring: str = ""
    imports: list[str] = field(default_factory=list)  # of packages
    ours: dict[str, set[str]] = field(default_factory=dict)  # module of common -> names
    definitions: list[str] = field(default_factory=list)  # all the rest

    @classmethod
    def read(cls, source: str) -> Module:
        """Raises ValueError for an import of ours under another name."""
        module, lines, end = cls(), source.splitlines(), 0
        for node in ast.parse(source).body:
            piece, end = "\n".join(lines[end : node.end_lineno]), node.end_lineno
            match node:
                case ast.Expr(value=ast.Constant(value=str())) if not module.docstring:
                    module.docstring = piece
                case ast.ImportFrom(module=str(name)) if name.partition(".")[0] == "common":
                    if any(one.asname for one in node.names):
                        raise ValueError(f"expected a name imported as it is, received: {piece}")
                    module.ours.setdefault(name, set()).update(one.name for one in node.names)
                case ast.Import() | ast.ImportFrom():
                    module.imports.append(piece)
                case _:
                    module.definitions.append(piece)
        module.definitions.append("\n".join(lines[end:]))
        return module

    def ingredients(self) -> dict[str, set[str]]:
        """Names imported from common/ingredients/, by file."""
        named = ((name.removeprefix(f"{INGREDIENTS}."), names) for name, names in self.ours.items())
        return {file: names for file, names in named if file not in self.ours}


def names(code: str) -> tuple[set[str], set[str]]:
    """Names that the code binds at its top level, and global names that it uses."""
    top = symtable.symtable(code, "copy", "exec")
    bound = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}
    used, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        symbols = [one for one in table.get_symbols() if one.is_referenced()]
        used |= {one.get_name() for one in symbols if table is top or one.is_global()}
    return bound, used


def stock(source: str) -> str:
    """The code in stock Keras: methods of the model for `fit` and `evaluate`, and plain types.

    Raises ValueError for a call whose first argument is not the name of a model.
    """
    tree, code = ast.parse(source), source.encode()
    starts = [0, *itertools.accumulate(map(len, code.splitlines(keepends=True)))]
    imports = [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == INGREDIENTS
        if not any(one.asname for one in node.names)
    ]
    # Whole files, used as in `attacks.fgsm`, and what is used of them.
    files: dict[str, set[str]] = {one.name: set() for node in imports for one in node.names}
    edits = []  # (begin, end, text), in bytes as `ast` counts them

    def begin(node: ast.AST) -> int:
        return starts[node.lineno - 1] + node.col_offset

    def end(node: ast.AST) -> int:
        return starts[node.end_lineno - 1] + node.end_col_offset

    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="fit" | "evaluate" as method)):
                rest = sorted([*node.args[1:], *node.keywords], key=begin)
                if not (rest and node.args and isinstance(node.args[0], ast.Name)):
                    received = ast.get_source_segment(source, node)
                    raise ValueError(f"expected {method}(model, x, y, ...), received: {received}")
                comma = code.index(b",", end(node.args[0]))
                edits.append((begin(node), comma + 1, f"{node.args[0].id}.{method}("))
                given = {keyword.arg for keyword in node.keywords}
                extra = (VALIDATES if "validation_data" in given else {}) | ADDED[method]
                added = [f"{k}={v}" for k, v in extra.items() if k not in given]
                after = re.sub(rb"#.*", b"", code[end(rest[-1]) : end(node) - 1])
                text = ", " * (b"," not in after) + ", ".join(added)
                edits.append((end(node) - 1, end(node) - 1, text))
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[plain, *_])):
                edits.append((begin(node), begin(plain), ""))
                edits.append((end(plain), end(node), ""))
            case ast.Name(id="Data"):
                edits.append((begin(node), end(node), "tuple"))
            case ast.Attribute(value=ast.Name(id=file)) if file in files:
                edits.append((begin(node), end(node), node.attr))
                files[file].add(node.attr)
    for node in imports:
        used = [(one.name, ", ".join(sorted(files[one.name]))) for one in node.names]
        lines = [f"from {INGREDIENTS}.{file} import {names}" for file, names in used if names]
        edits.append((begin(node), end(node), "\n".join(lines)))
    for first, last, text in sorted(edits, reverse=True):
        code = code[:first] + text.encode() + code[last:]
    return code.decode()


def ingredients(recipe: Module) -> list[Module]:
    """What a recipe uses of common/ingredients/, whose files import nothing of each other."""
    files: dict[str, Module] = {}
    reached: dict[str, set[int]] = {}
    waiting = {(file, name) for file, wanted in recipe.ingredients().items() for name in wanted}
    while waiting:
        file, name = waiting.pop()
        if file not in files:
            files[file] = Module.read(stock((ROOT / f"common/ingredients/{file}.py").read_text()))
            reached[file] = set()
        for i, definition in enumerate(files[file].definitions):
            bound, used = names(definition)
            if name in bound and i not in reached[file]:
                reached[file].add(i)
                waiting |= {(file, one) for one in used}
    return [
        Module(
            imports=files[file].imports,
            definitions=[files[file].definitions[i] for i in sorted(reached[file])],
        )
        for file in sorted(files)
    ]


def one_file(name: str, recipe: Any, source: str, notebook: bool = False) -> str:
    """The recipe as one file: a script, or the code of a notebook.

    Args:
        name: of the recipe.
        recipe: its Recipe.
        source: its file's text.

    Raises:
        UsageError: a data set that `keras.datasets` does not have.
        ValueError: a recipe that is not written to be copied.
    """
    above, rule, _ = source.partition(RULE)
    if not rule:
        raise ValueError(f"{name}: expected the line {RULE.strip()!r}, received none")
    own = Module.read(stock(above))
    used = ingredients(own)
    ours = set().union(*own.ours.values())
    run = running(name, recipe, "--paper" in own.docstring, "once" in ours, notebook)
    curves = CURVES if notebook and has_curves(above) else ""
    plotting = ["import matplotlib.pyplot as plt"] * bool(curves)
    imports = "\n".join(
        [*(text for one in (own, *used) for text in one.imports), IMPORTS, *plotting]
    )
    parts = [
        *("\n\n".join(one.definitions) for one in used),
        *(code for provided, code in PROVIDED.items() if provided in ours),
        "\n".join(own.definitions),
        CELL.format(run) + curves if notebook else MAIN.format(textwrap.indent(run, "    ")),
    ]
    for one, other in itertools.combinations([names(part)[0] for part in (imports, *parts)], 2):
        if twice := one & other:
            received = f"two of {', '.join(sorted(twice))}"
            raise ValueError(f"{name}: expected one definition of each name, received {received}")
    docstring = with_commands(own.docstring, name, recipe)
    return tidy(name, "\n\n".join([docstring, imports, *parts]))


def has_curves(source: str) -> bool:
    """Whether an Outcome in the code is given series."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return any(
        len(call.args) > 1 or any(one.arg == "curves" for one in call.keywords)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Outcome"
    )


def with_commands(docstring: str, name: str, recipe: Any) -> str:
    """The docstring with how a copy is run in place of how the recipe is."""
    command = rf"make recipe-{catalog.target(name)}(?![-\w])"
    arms = len(recipe.arms_for("default", recipe.default_dataset))
    ways = [
        f"    python {name}.py            {arms} arm{'s' * (arms > 1)} on {recipe.seeds} seeds",
        f"    python {name}.py --smoke    seconds, to see that it runs",
    ]
    lines = []
    for line in docstring.splitlines():
        if re.match(f" +{command}", line):
            lines, ways = lines + ways, []
        else:
            lines.append(re.sub(command, f"python {name}.py", line))
    return "\n".join(lines)


def running(name: str, recipe: Any, paper: bool, shared: bool, keep: bool) -> str:
    """Code that, given `smoke`, trains every arm on every seed and prints what it measures.

    `paper`: it says what --paper stands for; `shared`: it tells `once` the seed; `keep`: it puts
    what training gave into `results`.
    """
    dataset = recipe.default_dataset
    if dataset not in DATA:
        received = f"one on {dataset} (FULL=1 copies it with its data)"
        raise UsageError(f"{name}: expected a recipe on mnist or cifar10, received {received}")

    def config(fields: Mapping[str, Any]) -> str:
        values = {k: f"{v:_}" if type(v) is int else repr(v) for k, v in fields.items()}
        return f"Config({', '.join(f'{k}={v}' for k, v in values.items())})"

    own = recipe.on.get(dataset, {})
    arms = recipe.arms_for("default", dataset)
    all_of_them = arms == list(recipe.arms)
    comment = (
        textwrap.wrap(f"--paper above: {config({**own, **recipe.paper})}", 90) if paper else []
    )
    seeded = ['SHARED["seed"] = seed'] * shared + ["keras.utils.set_random_seed(seed)"]
    return RUN.format(
        paper="".join(f"# {line}\n" for line in comment),
        smoke=config({**own, **recipe.smoke}),
        default=config(own),
        data=DATA[dataset],
        loop="name, arm in ARMS.items()" if all_of_them else f"name in {arms}",
        arm="arm" if all_of_them else "ARMS[name]",
        seeds=recipe.seeds,
        begin="\n        ".join(seeded),
        width=max(map(len, arms)),
        keep="    results[name] = outcomes\n" * keep,
    )


def tidy(name: str, source: str) -> str:
    """The code formatted, with its imports sorted and only those that it uses.

    Raises ValueError for undefined or unused names.
    """
    rules = ["--select=F,I", "--fixable=F401,I001", "--fix", "--quiet", "--output-format=concise"]
    for command in (["check", *rules], ["format"]):
        settings = ["--isolated", "--no-cache", "--line-length=100", "--target-version=py311"]
        done = subprocess.run(
            [find_ruff_bin(), *command, *settings, "-"],
            input=source,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        if done.returncode:
            raise ValueError(f"{name}: expected code that can be copied, received {done.stderr}")
        source = done.stdout
    return source
