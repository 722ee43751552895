"""A wheel of the project works outside its folder."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "backtester/", "blofin_assets/", "blofin_resources/", "calibration/", "features/", "model_zoo/", "strategies/",
    "warehouse/",
)  # fmt: skip

USE = """
from pathlib import Path

import blofin_assets
from blofin_assets.definitions import defs
from blofin_assets.scheduling.instance import prepare_home
from blofin_assets.shared.code_version import code_version, root_file
from blofin_resources.warehouse import Warehouse

home = prepare_home(Path("w"))
assert (home / "dagster.yaml").exists() and root_file("workspace.yaml").exists()
with Warehouse.open(Path("w"), market="sample") as warehouse:
    assert warehouse.read("SELECT * FROM research.leaderboard").is_empty()
print(len(defs.resolve_all_job_defs()), code_version(), blofin_assets.__file__)
"""


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_holds_what_is_needed_and_works_where_no_source_is(tmp_path: Path) -> None:
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = run("git", "ls-files", folder=PROJECT).split()
    source = tmp_path / "source"
    for name in tracked:
        if (PROJECT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, source / name)
    build = ("wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w", tmp_path, source)
    run(sys.executable, "-m", "pip", *build, folder=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert [name for name in tracked if name.startswith(PACKAGES) and name not in held] == []
    assert [name for name in held if name.startswith(("tests/", "docs/", "build/"))] == []
    shutil.rmtree(source)

    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment, folder=tmp_path)
    [site] = environment.glob("lib/*/site-packages")
    # the libraries are those of this environment; what it holds of the project itself comes after the wheel's
    (site / "libraries.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    python = environment / "bin" / "python"
    install = ("install", "--no-deps", "--disable-pip-version-check", "--force-reinstall", wheel)
    run(python, "-m", "pip", *install, folder=tmp_path)
    jobs, version, where = run(python, "-c", USE, folder=tmp_path).split()
    assert int(jobs) > 3
    assert len(version) == 16
    assert Path(where).is_relative_to(environment)
    assert run(environment / "bin" / "blofin", "--version", folder=tmp_path).startswith("blofin ")
