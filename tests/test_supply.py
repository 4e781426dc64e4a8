"""What is depended on, under which licences; what is built, and that it runs where it is put."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OWN_WORK = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "env", "runs")
COPYLEFT = re.compile(r"\b[AL]?GPL|General Public", re.IGNORECASE)


def declared():
    """Return the requirements of pyproject.toml by extra; "" is what every user gets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [Requirement(text) for text in texts if not text.startswith("sdloop[")]
        for extra, texts in groups.items()
    }


def names_of(requirements):
    return {canonicalize_name(each.name) for each in requirements}


ALL = sorted({canonicalize_name(each.name) for group in declared().values() for each in group})


def table_of_readme():
    """Return the rows of the README's table of dependencies by package: (licence, what for)."""
    text = (ROOT / "sdloop/README.md").read_text()
    section = text.split("\n## Dependencies\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return {
        canonicalize_name(name.strip()): (row[1].strip(), row[2].strip())
        for row in cells[2:]
        for name in row[0].split(",")
    }


def licence_of(distribution):
    """Return what a distribution says of its licence, in a few words: in metadata or in a file."""
    fields = distribution.metadata
    classifiers = [
        text.split("::")[-1].strip()
        for text in fields.get_all("Classifier", [])
        if text.startswith("License ::")
    ]
    named = fields.get("License-Expression") or ", ".join(classifiers) or fields.get("License")
    if not named:
        [path] = [
            each for each in distribution.files if each.name in fields.get_all("License-File")
        ]
        named = distribution.locate_file(path).read_text()
    return named.splitlines()[0]


@pytest.mark.parametrize("name", ALL)
def test_dependency_is_justified_and_pinned(name):
    _, reason = table_of_readme()[name]
    assert len(reason.split()) >= 2
    pins = [Requirement(line.partition("#")[0]) for line in constraint_lines()]
    [pin] = [each for each in pins if canonicalize_name(each.name) == name]
    assert [each.operator for each in pin.specifier] == ["=="]


@pytest.mark.parametrize("name", ALL)
def test_table_says_the_licence_that_the_package_says(name):
    try:
        said = licence_of(metadata.distribution(name))
    except metadata.PackageNotFoundError:
        if name not in names_of(declared()["bench"]):
            raise
        pytest.skip(f"{name} comes with sdloop[bench], which the tests do without")
    licence, _ = table_of_readme()[name]
    for word in re.findall(r"Apache|BSD|LGPL|MIT|MPL|PSF|Python Software Foundation", said):
        assert word.replace("Python Software Foundation", "PSF") in licence


def constraint_lines():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_readme_names_nothing_that_is_not_used():
    assert sorted(table_of_readme()) == ALL


def test_pins_are_within_the_bounds():
    pins = {each.name: each for each in map(Requirement, constraint_lines())}
    pins = {canonicalize_name(name): pin for name, pin in pins.items()}
    for group in declared().values():
        for requirement in group:
            [pin] = pins[canonicalize_name(requirement.name)].specifier
            assert requirement.specifier.contains(pin.version), requirement


def imported_packages():
    """Return the top names of all that sdloop imports, beside the standard library and itself."""
    names = set()
    for path in (ROOT / "sdloop").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"sdloop"}


def test_every_import_is_declared():
    distributions = metadata.packages_distributions()
    groups = declared()
    extras = [groups[extra] for extra in groups if extra not in ("test", "bench")]
    users = names_of([each for extra in extras for each in extra])
    imported = imported_packages()
    assert {"torch", "yaml", "PIL"} <= imported
    # Triton comes with torch's builds for CUDA, IPython with notebooks; both are used only there
    undeclared = {
        name
        for name in imported - {"triton", "IPython"}
        if not users & {canonicalize_name(each) for each in distributions.get(name, [])}
    }
    assert undeclared == set()


def test_what_the_bundled_model_was_trained_on_is_in_the_notice():
    card = (ROOT / "sdloop/bundled/README.md").read_text()
    notice = " ".join((ROOT / "NOTICE").read_text().split())
    for holder in (
        "Fluent Emoji", "Microsoft Corporation", "LobeHub", "MIT",
        "Noto Emoji", "Google LLC", "Apache License",
    ):  # fmt: skip
        assert holder in card
        assert holder in notice


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build an sdist of a clean copy, and a wheel of that sdist; return both files."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "source", ignore=OWN_WORK)
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "source"],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    [sdist] = (folder / "dist").glob("*.tar.gz")
    [wheel] = (folder / "dist").glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sdloop").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"sdloop/py.typed", "sdloop/bundled/model_index.json"} <= ours
    assert any(name.startswith("sdloop/show/page/web/") for name in ours)
    assert any(name.startswith("sdloop/bundled/unet/") for name in ours)
    assert {name for name in names if name.startswith("sdloop/")} == ours
    rest = {name.partition("/")[2] for name in names - ours}
    assert {"licenses/LICENSE", "licenses/NOTICE", "METADATA", "entry_points.txt"} <= rest
    assert {name.partition("/")[0] for name in names - ours} == {"sdloop-0.1.0.dist-info"}


@pytest.mark.slow
def test_sdist_holds_what_a_wheel_is_built_of(built):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "sdloop/py.typed"} <= names
    assert not any(name.startswith("scripts") for name in names)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Install the wheel into a fresh environment; return its folder of programs."""
    environment = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    programs = environment / "bin"
    pip = [programs / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "-c", ROOT / "constraints.txt", built[1]], check=True, timeout=900, env=clean()
    )
    return programs


def clean():
    """Return the environment without what leads Python back to the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.mark.slow
def test_installed_wheel_runs_from_another_folder(installed, tmp_path):
    shutil.copy(ROOT / "configs/astronaut.yaml", tmp_path / "mine.yaml")
    options = ["mine.yaml", "device=cpu", "scheduler.num_steps=4", "export.stages=null"]
    for name, command in (
        ("script", [installed / "sdloop-run"]),
        ("module", [installed / "python", "-m", "sdloop.run"]),
    ):
        subprocess.run(
            [*command, *options, f"output={name}"],
            check=True, cwd=tmp_path, env=clean(), timeout=300,
        )  # fmt: skip
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert {"frames.gif", "strip.png", "index.html", "trajectory.safetensors"} <= files
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "script", "module"}
    for gif in ("frames.gif", "difference.gif"):
        assert (tmp_path / "script" / gif).read_bytes() == (tmp_path / "module" / gif).read_bytes()
    result = subprocess.run(
        [installed / "sdloop-render", "script"], cwd=tmp_path, env=clean(), timeout=300
    )
    assert result.returncode == 0


@pytest.mark.slow
def test_installed_environment_is_whole_and_its_licences_are_known(installed, tmp_path):
    python = installed / "python"
    subprocess.run([python, "-m", "pip", "check"], check=True, env=clean())
    where = subprocess.run(
        [python, "-c", "import sdloop; print(sdloop.__file__)"],
        check=True, cwd=tmp_path, env=clean(), capture_output=True, text=True,
    )  # fmt: skip
    package = Path(where.stdout.strip()).parent
    assert package.is_relative_to(installed.parent)
    found = metadata.distributions(path=[str(package.parent)])
    licences = {each.metadata["Name"]: licence_of(each) for each in found}
    assert names_of(declared()[""]) <= {canonicalize_name(name) for name in licences}
    assert all(licences.values()), [name for name, named in licences.items() if not named]
    assert not [name for name, named in licences.items() if COPYLEFT.search(named)]
