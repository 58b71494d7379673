"""Imports only point upwards, `import recloom` is light, and nothing unpickles."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "recloom"
ORDER = [
    "errors", "toml_files", "data", "views", "nn", "items", "encoders", "objectives", "evaluation", "training",
    "methods", "recommend", "run_recipe", "environment", "run_folder", "start", "run", "run_training", "leaderboard",
    "comparison", "search_space", "tuning", "result_pages", "results", "recipes", "reproduce", "cli", "__main__",
]  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Modules that a file imports when it is loaded or called; those for type checkers alone are left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield f"{node.module}"
            if node.module == "recloom":
                yield from (f"recloom.{alias.name}" for alias in node.names)


def part(module):
    """The entry of ORDER that a module belongs to; None for the package itself and for names it holds."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[1] in ORDER else None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_upwards(path):
    own = part(name_of(path))
    for module in imports(path):
        if module.split(".")[0] != "recloom" or own is None or part(module) is None:
            continue
        assert ORDER.index(part(module)) <= ORDER.index(own), f"{name_of(path)} imports {module}, which is below it"


def test_no_file_hides_what_the_package_offers_under_its_name():
    """Importing `recloom/compare.py` would put the module in the place of the function `recloom.compare`."""
    import recloom

    files = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert not files & set(recloom._HOMES)


def test_every_part_has_its_place():
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert parts <= set(ORDER), f"not in the order: {sorted(parts - set(ORDER))}"


def test_the_check_sees_a_downward_import(tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text("def f():\n    from recloom.cli import main\n    from recloom import run\n")
    assert {part(module) for module in imports(file)} == {None, "cli", "run"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_pickle(path):
    banned = {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    assert not banned & {module.split(".")[0] for module in imports(path)}
    for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "torch.load":
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords), path
        if ast.unparse(call.func) in ("np.load", "numpy.load"):
            assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in call.keywords), path


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[-2] == "data"], ids=name_of)
def test_data_holds_no_models(path):
    assert not {m for m in imports(path) if m.startswith("torch.nn")}


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.split()


def test_import_is_light():
    code = "import sys, time; t = time.perf_counter(); import recloom; print(time.perf_counter() - t, *sys.modules)"
    seconds, *modules = python(code)
    assert float(seconds) < 0.5
    assert not {"torch", "lightning", "polars", "pyarrow", "numpy"} & set(modules)


def test_help_is_light():
    code = (
        "import sys\nfrom recloom.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n"
        "    assert not end.code\nprint('MODULES', *sys.modules)"
    )
    words = python(code)
    assert not {"torch", "lightning", "polars", "pyarrow", "numpy"} & set(words[words.index("MODULES") :])
