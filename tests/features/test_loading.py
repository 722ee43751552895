"""A user's features: one decorated function in a file; refused with the reason where it is unsound."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from features import FeatureManager, FeatureRefusedError, load_folder
from features.market import EPOCH, example_market

HEAD = "import polars as pl\nfrom features import feature\n\n"

SOUND = (
    HEAD
    + '''
@feature("range_share_<n>", unit="ratio", warmup=lambda n: n - 1, default=(20,))
def range_share(n: int) -> pl.Expr:
    """High-low range of n bars relative to the close."""
    return (pl.col("high").rolling_max(n) - pl.col("low").rolling_min(n)) / pl.col("close")


@feature("stretched", unit="true or false", warmup=300, window=20, dtype=pl.Boolean)
def stretched() -> pl.Expr:
    """Range above its usual size while the hour trends."""
    return (pl.col("range_share_20") > 0.01) & (pl.col("60m:close") > 0) & (pl.col("rsi_14") > 50)
'''
)


def one(formula: str, warmup: str = "0") -> str:
    head = f'{HEAD}\n@feature("mine", unit="any", warmup={warmup})\n'
    return f'{head}def mine() -> pl.Expr:\n    """Mine."""\n    return {formula}\n'


UNSOUND = {
    'pl.col("close").shift(-1)': "mine looks ahead: mine of .* when the data after",
    'pl.col("volume").fill_null(strategy="backward")': "mine looks ahead",
    'pl.col("close") / pl.col("close").mean()': "mine looks ahead",
    'pl.col("close").ewm_mean(span=50)': "states a warm-up of 0 bars",
    'pl.col("closing")': "'mine' reads 'closing', which is unknown.*nearest: close",
    '"close"': "'mine' returned str; return a Polars expression",
    'pl.col("close").head(3)': "mine",
    "1 / 0": "ZeroDivisionError",
}


def test_a_users_features_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOUND)
    (tmp_path / "_helper.py").write_text("raise RuntimeError")
    registry = load_folder(tmp_path)
    manager = FeatureManager(example_market(3000).source(), EPOCH.replace(day=7), registry)
    seen = manager.get_features("AAA-USDT", "5m", ["range_share_10", "range_share", "stretched"], 50)
    assert seen["range_share_10"].null_count() < 50
    assert registry.group("custom")[-2:] == ["range_share_20", "stretched"]
    assert manager.list_available_features().filter(name="range_share_<n>")["description"].item().startswith("High-low")
    assert len(registry.hash("stretched")) == 16


@pytest.mark.parametrize("formula", UNSOUND)
def test_unsound_features_are_refused_with_the_reason(formula: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(one(formula))
    with pytest.raises(FeatureRefusedError, match=UNSOUND[formula]) as caught:
        load_folder(tmp_path)
    assert str(tmp_path / "mine.py") in str(caught.value)


def test_a_stated_warmup_that_suffices_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(one('pl.col("close").ewm_mean(span=10, adjust=False)', warmup="120"))
    assert "mine" in load_folder(tmp_path).group("custom")


def test_a_taken_name_a_broken_file_and_a_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        one('pl.col("close")').replace('"mine"', '"rsi_<n>"').replace("mine()", "mine(n)")
    )
    with pytest.raises(FeatureRefusedError, match="two features are called 'rsi_<n>'"):
        load_folder(tmp_path)
    (tmp_path / "mine.py").write_text("def broken(:\n")
    with pytest.raises(FeatureRefusedError, match="could not be read: SyntaxError"):
        load_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_folder(tmp_path / "nowhere")


def test_kernels_run_without_a_folder_for_compiled_code(tmp_path: Path) -> None:
    """As in a read-only installation: nothing beside the source, no home to write to."""
    package = tmp_path / "site" / "features"
    package.mkdir(parents=True)
    for name in ("jit.py", "bars.py", "definition.py", "kernels.py"):
        (package / name).write_bytes((Path(__file__).parents[2] / "features" / name).read_bytes())
    (package / "__init__.py").write_text("")
    (package / "__pycache__").write_text("a file where the cache folder would be")
    home = tmp_path / "home"
    home.write_text("no folder")
    code = "import numpy as np; from features import kernels; print(kernels.moving_sum(np.arange(5.0), 2).tolist()[1:])"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA", "XDG", "COV"))}
    environment |= {"HOME": str(home), "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.stdout.strip() == "[1.0, 3.0, 5.0, 7.0]", done.stderr
