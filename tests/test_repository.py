"""Files that GitHub and pip read, against published schemas and against what they name."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = GITHUB / "ISSUE_TEMPLATE"
OTHERS = {  # file, its schema, what it must not lack
    ROOT / "CITATION.cff": ("vendor.citation-file-format", "cff-version"),
    GITHUB / "dependabot.yml": ("vendor.dependabot", "updates"),
    FORMS / "number.yml": ("vendor.github-issue-forms", "body"),
    FORMS / "recipe.yml": ("vendor.github-issue-forms", "body"),
    FORMS / "config.yml": ("vendor.github-issue-config", "blank_issues_enabled: true"),
}


def validate(file: Path, schema: str = "vendor.github-workflows") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.name)
def test_a_file_is_what_its_readers_expect(file, tmp_path):
    schema, needed = OTHERS[file]
    done = validate(file, schema)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / file.name
    broken.write_text(file.read_text().replace(needed, f"wrong-{needed}"))
    assert validate(broken, schema).returncode == 1


def pinned(file: str, package: str) -> str:
    """The version of a package in a file of requirements."""
    pattern = rf"^{re.escape(package)}==(\S+)"
    return re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)[1]


def test_versions_agree():
    locked = pinned("requirements.lock", "tensorflow")
    assert pinned("requirements.txt", "tensorflow") == locked
    assert pinned("requirements-gpu.txt", "tensorflow[and-cuda]") == locked
    for line in (ROOT / "requirements-site.txt").read_text().splitlines():
        if "==" in line and not line.startswith("#"):
            package, version = line.split()[0].split("==")
            assert pinned("requirements-site.lock", package) == version


def test_the_newest_changes_are_those_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert headings[0] in (version, "Unreleased")
    assert cited == next(heading for heading in headings if heading != "Unreleased")


def test_a_project_file_names_files_of_requirements_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dynamic = project["tool"]["setuptools"]["dynamic"]
    extras = dynamic["optional-dependencies"]
    assert set(extras) == {"bench", "gpu", "site"}
    for named in (dynamic["dependencies"], *extras.values()):
        assert (ROOT / named["file"]).exists()
    assert set(project["project"]["dynamic"]) == {"dependencies", "optional-dependencies"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_is_one(file, tmp_path):
    done = validate(file)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(file.read_text().replace("runs-on:", "runs:"))
    assert validate(broken).returncode == 1


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_targets_that_a_workflow_makes_exist(file):
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"make ([a-z-]+)", file.read_text())
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
