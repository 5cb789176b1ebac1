"""The wheel is whole: what it holds, and that it works where nothing but the wheel is."""

import os
import shutil
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile

import pytest

from paths import ROOT

PACKAGES = ("benchmarks", "methods", "results", "harness")

# What the code reads besides itself.
DATA = (
    "benchmarks/matrices/*.yaml",
    "results/papers/*.csv",
    "results/report/templates/*.j2",
    "results/report/templates/*.js",
    "results/report/templates/*.css",
    "harness/launch/templates/*.j2",
    "harness/matrix/reference/*.json",
    "harness/matrix/reference/*.yaml",
    "harness/tracking/*.js",
    "harness/start/templates/*.template",
)

# The calls that pip makes, in the folder of the sources: no network, and no other environment.
BUILD = "import setuptools.build_meta as backend, sys; print(getattr(backend, 'build_' + sys.argv[1])(sys.argv[2]))"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the sources, links as links: a build leaves files beside them."""
    folder = tmp_path_factory.mktemp("sources")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", *PACKAGES):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(kind, sources, folder):
    """The path of a "wheel" or an "sdist" that is put into `folder`."""
    command = [sys.executable, "-c", BUILD, kind, str(folder)]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    return build("wheel", sources, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_file_that_the_code_needs_and_no_other(wheel):
    expected = {f"mtlbench/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    for package in PACKAGES:
        expected |= {f"mtlbench/{file.relative_to(ROOT)}" for file in (ROOT / package).rglob("*.py")}
    for pattern in DATA:
        found = {f"mtlbench/{file.relative_to(ROOT)}" for file in ROOT.glob(pattern)}
        assert found, pattern
        expected |= found
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected


def test_every_folder_with_code_is_a_package():
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            assert file.with_name("__init__.py").exists(), f"{file.parent}: the wheel would lack it"


def test_the_wheel_has_the_console_script_and_is_not_to_be_uploaded(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("METADATA"))
    assert "mtlbench = mtlbench.harness.cli.app:main" in points
    assert "Classifier: Private :: Do Not Upload" in metadata
    assert "License-Expression: Apache-2.0" in metadata and "License ::" not in metadata


def test_every_dependency_is_bounded():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    for dependency in wanted:
        assert dependency.startswith("mtlbench[") or any(sign in dependency for sign in "<>="), dependency


@pytest.mark.slow
def test_a_source_distribution_gives_the_same_wheel(wheel, sources, tmp_path):
    with tarfile.open(build("sdist", sources, tmp_path)) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = build("wheel", unpacked, tmp_path)
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_the_wheel_works_where_it_is_installed_alone(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MTLBENCH_"))}
    (tmp_path / "empty").mkdir()

    def call(*command, status=0):
        done = subprocess.run(
            [str(binaries / command[0]), *command[1:]],
            cwd=tmp_path / "empty", env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    call("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    # The dependencies are those of this environment. Its own .pth files, and with them this checkout, are not read.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    (where,) = call("python", "-c", "import mtlbench.methods; print(mtlbench.methods.__file__)").split()
    assert where == str(packages / "mtlbench" / "methods" / "__init__.py")
    assert "Start with:  mtlbench run smoke" in call("mtlbench", "--help")
    assert "Start with:  mtlbench run smoke" in call("python", "-m", "mtlbench", "--help")
    assert "seeds" in call("mtlbench", "plan", "--difference", "1", "--sd", "0.82")
    assert "smoke" in call("mtlbench", "list")
    assert "SCA-MTL paper, Table 1" in call("mtlbench", "audit", status=1)  # three values of the paper are impossible
    assert list((tmp_path / "empty").iterdir()) == []
