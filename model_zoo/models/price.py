"""Price: a small neural network (PyTorch) on the forward return.

Belongs here: this model. Does not belong here: labels, folds, calibration, files around the model.

Trained with PyTorch, in one thread and from its own generator, so that the same rows and seed give the same weights.
Predicting is two matrix products, done with NumPy. A graphics card is used for training where there is one; chance is
drawn on the processor in any case, so that only rounding differs between devices.
"""

from math import sqrt
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import polars as pl
from safetensors.numpy import load, save

from backtester.statistics.windows import Window
from features.array_types import FloatArray
from features.bars import bar_length
from model_zoo.datasets.folds import decided_in, learnable
from model_zoo.models._scaling import Scaling
from model_zoo.models._skops_io import require_numbers
from model_zoo.models.base import ModelError, ModelSpec, Range, Regressor, spread_of, thinned, weights_of

LARGEST_MOVE: Final = 4.0
"""Usual moves beyond which a return is cut in training."""
INNER_SHARE: Final = 0.2
"""Share of the training window, at its end, on which early stopping judges."""
WEIGHTS: Final = ("mean", "deviation", "w1", "b1", "w2", "b2")


class PriceModel(Regressor):
    """Neural network (one hidden layer) regression of the forward return."""

    type = "price"
    file = "model.safetensors"
    library = "pytorch"
    unit = "standard deviations of the last day's moves over the horizon"
    defaults: ClassVar = {
        "hidden": 16.0, "epochs": 20.0, "least_epochs": 5.0, "batch": 512.0, "rate": 0.005, "decay": 0.1,
        "most_rows": 5_000.0,
    }  # fmt: skip
    ranges: ClassVar = {
        "hidden": Range(4, 32, log=True, whole=True),
        "rate": Range(0.001, 0.02, log=True),
        "decay": Range(0.01, 1.0, log=True),
    }

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._weights: dict[str, FloatArray] = {}

    @classmethod
    def value(cls, spec: ModelSpec) -> pl.Expr:
        """See `Model.value`: label_return / (scale sqrt(horizon))."""
        usual = pl.col(spec.scale) * sqrt(spec.horizon)
        return pl.when(usual > 0).then(pl.col("label_return") / usual)

    def fit(self, rows: pl.DataFrame) -> None:
        """See `Model.fit`: the number of epochs by early stopping on the last fifth, then once more on all rows."""
        kept = thinned(rows, int(self.hyper["most_rows"]))
        self.spread = spread_of(_cut(kept))
        self._weights, _ = self._fitted(kept, self._epochs(kept), None)

    def estimate(self, matrix: FloatArray) -> FloatArray:
        """See `Regressor.estimate`."""
        if not self._weights:
            raise self.untrained()
        w = self._weights
        hidden = np.tanh(Scaling(w["mean"], w["deviation"]).apply(matrix) @ w["w1"].T + w["b1"])
        out: FloatArray = hidden @ w["w2"] + w["b2"]
        return out

    def write(self, path: Path) -> None:
        """See `Model.write`: safetensors."""
        if not self._weights:
            raise self.untrained()
        path.write_bytes(save({name: self._weights[name] for name in WEIGHTS}))

    def read(self, path: Path) -> None:
        """See `Model.read`."""
        try:
            self._weights = _checked(load(path.read_bytes()), len(self.spec.inputs))
        except Exception as error:  # a damaged file fails in as many ways as there are bytes
            msg = f"{path}: not a price model of {len(self.spec.inputs)} inputs: {error}"
            raise ModelError(msg) from error

    def _epochs(self, rows: pl.DataFrame) -> int:
        most, least = int(self.hyper["epochs"]), int(self.hyper["least_epochs"])
        start, end = rows["ts"].min(), rows["label_known_at"].max()
        whole = Window(start, end)  # type: ignore[arg-type]  # of a non-empty column of times
        cut = whole.end - (whole.end - whole.start) * INNER_SHARE
        timeframe = self.spec.timeframe
        early = rows.filter(learnable(Window(whole.start, cut), timeframe, self.spec.horizon * bar_length(timeframe)))
        late = rows.filter(decided_in(Window(cut, whole.end), timeframe))
        if not late.height or not early.height:
            return least
        _, losses = self._fitted(early, most, late)
        return max(least, int(np.argmin(losses)) + 1)

    def _fitted(
        self, rows: pl.DataFrame, epochs: int, judge: pl.DataFrame | None
    ) -> tuple[dict[str, FloatArray], list[float]]:
        """Return the weights after so many epochs, and the judge's loss after each."""
        matrix = self.matrix(rows)
        scaling = Scaling.of(matrix)
        sets = [(scaling.apply(matrix), _cut(rows), weights_of(rows))]
        if judge is not None:
            sets.append((scaling.apply(self.matrix(judge)), _cut(judge), weights_of(judge)))
        layers, losses = _gradient_descent(sets, epochs, self.spec.seed, self.hyper)
        return {"mean": scaling.mean, "deviation": scaling.deviation, **layers}, losses


def _checked(weights: dict[str, FloatArray], inputs: int) -> dict[str, FloatArray]:
    """Return the weights of a network of one hidden layer, or refuse them."""
    if set(weights) != set(WEIGHTS):
        msg = f"it holds {', '.join(sorted(weights))}, not {', '.join(WEIGHTS)}"
        raise ValueError(msg)
    require_numbers("w1", weights["w1"], (None, inputs))
    hidden = len(weights["w1"])
    shapes = {"mean": (inputs,), "deviation": (inputs,), "b1": (hidden,), "w2": (hidden,), "b2": (1,)}
    for name, shape in shapes.items():
        require_numbers(name, weights[name], shape)
    if not (weights["deviation"] > 0).all():
        msg = "deviation is not above 0"
        raise ValueError(msg)
    return weights


def _cut(rows: pl.DataFrame) -> FloatArray:
    cut: FloatArray = np.clip(rows["label_value"].to_numpy(), -LARGEST_MOVE, LARGEST_MOVE)
    return cut


def _gradient_descent(
    sets: list[tuple[FloatArray, FloatArray, FloatArray]], epochs: int, seed: int, hyper: dict[str, float]
) -> tuple[dict[str, FloatArray], list[float]]:
    """Fit one hidden layer to the first set; return its weights and the loss on the second after each epoch."""
    import torch  # noqa: PLC0415 - takes a second and 200 MB; only training needs it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        random = torch.Generator().manual_seed(seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tensors = [tuple(torch.from_numpy(np.ascontiguousarray(tensor)).to(device) for tensor in part) for part in sets]
        inputs, values, weight = tensors[0]
        hidden = int(hyper["hidden"])
        shapes = {"w1": (hidden, inputs.shape[1]), "b1": (hidden,), "w2": (hidden,), "b2": (1,)}
        layers = {}
        for name, shape in shapes.items():
            scale = 0.0 if name.startswith("b") else shape[-1] ** -0.5 * (0.1 if name == "w2" else 1.0)
            drawn = torch.randn(shape, generator=random, dtype=torch.float64) * scale
            layers[name] = drawn.to(device).requires_grad_()

        def loss(x: Any, y: Any, w: Any) -> Any:
            out = torch.tanh(x @ layers["w1"].T + layers["b1"]) @ layers["w2"] + layers["b2"]
            return (w * torch.nn.functional.huber_loss(out, y, reduction="none")).mean()

        descent = torch.optim.AdamW(list(layers.values()), lr=hyper["rate"], weight_decay=hyper["decay"])
        losses = []
        for _ in range(epochs):
            order = torch.randperm(len(values), generator=random).to(device)
            for batch in torch.split(order, int(hyper["batch"])):
                descent.zero_grad()
                loss(inputs[batch], values[batch], weight[batch]).backward()
                descent.step()
            if len(tensors) > 1:
                with torch.no_grad():
                    losses.append(float(loss(*tensors[1])))
    finally:
        torch.set_num_threads(threads)
    return {name: layer.detach().cpu().numpy().copy() for name, layer in layers.items()}, losses
