"""Methods are one level under Method, files read in one sitting, and tracked files speak only of the project."""

import inspect
import re
import subprocess
from pathlib import Path

import pytest

import recloom
from recloom import methods
from recloom.training import Method

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "recloom").rglob("*.py"))


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_methods_are_one_level_under_method():
    found = [kind for kind in subclasses(Method) if kind.__module__.startswith("recloom.")]
    assert len(found) >= 3
    for kind in found:
        assert kind.__bases__ == (Method,), f"{kind.__name__} is not directly under Method"


def test_a_method_replaces_only_what_it_may():
    allowed = {"queries", "catalogue", "score", "configure_optimizers", "training_step", "epoch_losses", "__init__"}
    own = {name for name, value in vars(Method).items() if callable(value)}
    for kind in subclasses(Method):
        if kind.__module__.startswith("recloom."):
            assert set(vars(kind)) & own <= allowed, kind.__name__


@pytest.mark.parametrize("function", [recloom.train, recloom.compare])
def test_no_argument_of_a_method_is_taken_by_what_trains_it(function):
    parameters = inspect.signature(function).parameters.items()
    taken = {name for name, parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    for name in methods.METHODS:
        assert not taken & set(methods.arguments(name)), f"{name}: {function.__name__} would keep it for itself"


def test_every_method_file_is_listed():
    files = {path.stem for path in (ROOT / "recloom" / "methods").glob("*.py")} - {
        "__init__",
        "about",
        "argument_texts",
        "attribute_models",
        "causal_models",
        "composition",
        "pretrained_models",
    }
    assert files == {build.__module__.split(".")[-1] for build in methods.METHODS.values()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 400


def test_readme_is_short_and_its_links_hold():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 120
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    missing = [link for link in links if not (ROOT / link).exists() and not link.startswith("results/")]
    assert not missing


def test_readme_and_docs_name_every_method():
    text, page = (ROOT / "README.md").read_text(), (ROOT / "docs" / "methods.md").read_text()
    assert all(f"| `{name}` |" in text for name in methods.METHODS)
    assert all(f"**`{name}`**" in page for name in methods.METHODS)


def test_the_arguments_that_the_docs_name_exist():
    page = (ROOT / "docs" / "methods.md").read_text()
    every = {key for name in methods.METHODS for key in methods.arguments(name)}
    named = set(re.findall(r"`([a-z_]+)(?:=[^`]*)?`", page)) - {name for name in methods.METHODS}
    assert named <= every | {"yelp", "full-open", "full-mask"}, named - every


def test_constraints_are_exact_and_cover_what_the_project_needs():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    needed = re.findall(r'^    "([A-Za-z0-9-]+)[><=]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert {name.lower() for name in needed} <= pinned


def tracked():
    done = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_machine_paths_in_tracked_files():
    path = re.compile(r"(?<![\w.])/(?:home|root|Users|mnt|opt|work|srv)/\w")
    found = []
    for file in tracked():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in path.finditer(text)]
    assert not found
