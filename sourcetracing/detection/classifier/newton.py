"""Logistic regression to its optimum: Newton's method whose steps are solved by conjugate gradients on the features as they lie on disk.

The loss is scikit-learn's: sum over rows of weight * log(1 + exp(-sign * (x.w + b))) + 1/(2C) * |w|^2. Everything is computed in
coordinates v = w * scale of standardised features, with the penalty that these coordinates have: only the conditioning changes, not the
optimum. No standardised copy exists; mean and scale are folded into the vectors.

One pass over the features (memory-bound) costs about 1/50 of a Hessian (n x D x D, arithmetic-bound) at D = 1920. So a Cholesky factor of
the Hessian at *some* point serves as preconditioner for many Newton steps, and for other row sets that resemble this one (`mixing_solver`).
Directions come from float32 products; the gradient that decides is float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from sourcetracing.errors import UserError

# Shapes: N rows, D features; vectors of unknowns have D + 1 entries, the intercept last.
BLOCK_ROWS = 512
_MOST_RIDGES = 20  # each ten times the one before; the first is tiny
_WIDTH_PER_PASS = 40  # a Hessian of D features takes as long as D / 40 passes (48 at D = 1920, measured on 2 cores)
# The largest entry of the gradient at an optimum, per row, in standardised coordinates (1e-8 is common): beyond the first, the optimum is
# sought on in float64 throughout; beyond the second, where scikit-learn would not stop either, it is none.
_GOOD_GRADIENT, _MOST_GRADIENT = 1e-6, 1e-4


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature (D,), float64; 1 where a feature is constant.

    varies (D,) bool: the features that get a weight. That of a constant one is 0 at the optimum: the intercept does the same, unpenalised.
    """

    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray

    @classmethod
    def of(cls, blocks: Sequence[np.ndarray], weights: Sequence[np.ndarray | None]) -> Scaling:
        """Over the rows (weighted) of several arrays (N_k, D)."""
        width = blocks[0].shape[1]
        total, count, first, second = np.zeros(width), 0.0, np.zeros(width), np.zeros(width)
        origin = np.asarray(blocks[0][0], dtype=np.float64)  # sums of squares about a row lose no digits to a large mean
        for block, weight in zip(blocks, weights, strict=True):
            for rows in row_blocks(len(block)):
                part = np.asarray(block[rows], dtype=np.float64) - origin
                share = np.ones(len(part)) if weight is None else weight[rows]
                first, second, count = first + share @ part, second + share @ part**2, count + share.sum()
        total = first / count
        scale = np.sqrt(np.maximum(second / count - total**2, 0))
        varies = scale > 1e-12 * (np.abs(origin) + scale.max(initial=0))
        return cls(total + origin, np.where(varies, scale, 1.0), varies)


@dataclass
class Problem:
    """The loss of one training set: arrays (N_k, D) that are only read, their signs (N_k,) in {-1, 1}, and what weighs them.

    penalty (D,): the L2 penalty on each of the standardised coordinates, without the factor 1/2.
    """

    blocks: Sequence[np.ndarray]
    signs: Sequence[np.ndarray]
    weights: Sequence[np.ndarray | None]
    scaling: Scaling
    penalty: np.ndarray

    @property
    def num_rows(self) -> int:
        return sum(map(len, self.blocks))

    def in_feature_space(self, unknowns: np.ndarray) -> tuple[np.ndarray, float]:
        """w (D,) and b of x.w + b."""
        coef = self.scaling.varies * unknowns[:-1] / self.scaling.scale
        return coef, float(unknowns[-1] - self.scaling.mean @ coef)

    def from_feature_space(self, coef: np.ndarray, intercept: float) -> np.ndarray:
        """The inverse of `in_feature_space`."""
        return np.append(self.scaling.varies * coef * self.scaling.scale, intercept + self.scaling.mean @ coef)

    def gradient(self, unknowns: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, gradient (D + 1,) and margins sign * (x.w + b) (N,), in float64 throughout."""
        margins, total, pull = np.empty(self.num_rows), np.zeros(len(self.penalty)), 0.0
        coef, intercept = self.in_feature_space(unknowns)
        for part, rows, block, sign, weight in self._row_blocks():
            features = block[part].astype(np.float64)
            margins[rows] = sign[part] * (features @ coef + intercept)
            residual = -sign[part] * sigmoid(-margins[rows]) * _share(weight, part)
            total += residual @ features
            pull += residual.sum()
        return self.loss(margins, unknowns), self._in_unknowns(total, pull, unknowns), margins

    def _in_unknowns(self, total: np.ndarray, pull: float, unknowns: np.ndarray) -> np.ndarray:
        """(D + 1,): sums over rows of features (D,) and of 1, in the standardised coordinates, and the penalty's part at `unknowns`."""
        scaling = self.scaling
        return np.append(scaling.varies * (total - scaling.mean * pull) / scaling.scale + self.penalty * unknowns[:-1], pull)

    def loss(self, margins: np.ndarray, unknowns: np.ndarray) -> float:
        """The loss at given margins (N,)."""
        losses, start = 0.0, 0
        for block, weight in zip(self.blocks, self.weights, strict=True):
            terms = np.logaddexp(0, -margins[start : start + len(block)])
            losses += float(terms.sum() if weight is None else terms @ weight)
            start += len(block)
        return losses + 0.5 * float(self.penalty @ unknowns[:-1] ** 2)

    def curvature(self, margins: np.ndarray) -> np.ndarray:
        """Second derivative of each row's loss (N,), float32."""
        probability = sigmoid(margins)
        shares = [np.ones(len(block)) if weight is None else weight for block, weight in zip(self.blocks, self.weights, strict=True)]
        return (probability * (1 - probability) * np.concatenate(shares)).astype(np.float32)

    def product(self, direction: np.ndarray, curvature: np.ndarray, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Change of x.w + b (N,) along a direction (D + 1,), and Hessian times direction; `dtype` on the features, which are read once."""
        coef, intercept = self.in_feature_space(direction)
        change, total, pull = np.empty(self.num_rows, dtype), np.zeros(len(self.penalty)), 0.0
        coef, intercept = coef.astype(dtype), dtype(intercept)
        for part, rows, block, _, _ in self._row_blocks():
            features = np.asarray(block[part], dtype=dtype)
            change[rows] = features @ coef + intercept
            weighted = curvature[rows] * change[rows]
            total += weighted @ features
            pull += float(weighted.sum())
        return change, self._in_unknowns(total, pull, direction)

    def hessian(self, curvature: np.ndarray, dtype: type) -> np.ndarray:
        """Hessian (D + 1, D + 1) without the penalty."""
        size, start = len(self.penalty) + 1, 0
        total = np.zeros((size, size), dtype)
        for block in self.blocks:
            add_hessian(total, block, curvature[start : start + len(block)], self.scaling)
            start += len(block)
        return total

    def _row_blocks(self) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray, np.ndarray | None]]:
        start = 0
        for block, sign, weight in zip(self.blocks, self.signs, self.weights, strict=True):
            for part in row_blocks(len(block)):
                yield part, slice(start + part.start, start + part.stop), block, sign, weight
            start += len(block)


def add_hessian(total: np.ndarray, block: np.ndarray, curvature: np.ndarray, scaling: Scaling) -> None:
    """Adds the Hessian of the rows of one array (N, D) with curvatures (N,) to `total` (D + 1, D + 1), in the number type of `total`."""
    mean, inverse = scaling.mean.astype(total.dtype), (scaling.varies / scaling.scale).astype(total.dtype)
    for rows in row_blocks(len(block), 4 * BLOCK_ROWS):
        root = np.sqrt(curvature[rows]).astype(total.dtype)
        part = np.empty((len(root), len(total)), total.dtype)
        np.subtract(block[rows], mean, out=part[:, :-1])
        part[:, :-1] *= inverse
        part[:, -1] = 1
        part *= root[:, None]
        total += part.T @ part


class Preconditioner:
    """A Cholesky factor of a Hessian (D + 1, D + 1) with its penalty; `hessian` is overwritten."""

    def __init__(self, hessian: np.ndarray, penalty: np.ndarray) -> None:
        self.dtype = hessian.dtype
        diagonal = np.arange(len(hessian))
        hessian[diagonal[:-1], diagonal[:-1]] += penalty.astype(self.dtype)
        # What rounding may have taken from the smallest eigenvalues; the gradient is exact, so this costs steps and no accuracy.
        ridge = 20 * np.finfo(self.dtype).eps * float(hessian[diagonal, diagonal].astype(np.float64).mean())
        for _ in range(_MOST_RIDGES):
            hessian[diagonal, diagonal] += self.dtype.type(ridge)
            try:
                self.factor = scipy.linalg.cho_factor(hessian, lower=True, check_finite=False)
                return
            except scipy.linalg.LinAlgError:
                ridge *= 10
        raise UserError("logistic regression: the features are no finite numbers, or too large to be squared")

    def solve(self, vector: np.ndarray) -> np.ndarray:
        """Inverse times vector (D + 1,)."""
        return scipy.linalg.cho_solve(self.factor, vector.astype(self.dtype), check_finite=False).astype(np.float64)


@dataclass
class Solution:
    """unknowns (D + 1,), and the Newton steps to them."""

    unknowns: np.ndarray
    steps: int


def minimize(
    problem: Problem, unknowns: np.ndarray, *, tolerance: float, max_steps: int, preconditioner: Preconditioner | None = None
) -> Solution:
    """The optimum of a problem from a starting point (D + 1,); a preconditioner of a problem like this one saves a Hessian.

    Ends with the step that would lower the loss by less than `tolerance` times the loss. Raises `UserError` where that takes too long, and
    where the gradient stays large.
    """
    patience = max(8, len(problem.penalty) // _WIDTH_PER_PASS)  # passes that cost as much as a Hessian
    dtype = np.float64 if problem.num_rows < 4 * len(problem.penalty) else np.float32
    of_products = np.float32
    for step in range(1, max_steps + 1):
        loss, gradient, margins = problem.gradient(unknowns)
        curvature = problem.curvature(margins)
        is_fresh = preconditioner is None
        if is_fresh:
            preconditioner = Preconditioner(problem.hessian(curvature, dtype), problem.penalty)
        direction, change, has_converged = _newton_direction(problem, curvature, gradient, loss, preconditioner, patience, of_products)
        gain = -float(gradient @ direction) / 2
        is_last_resort = is_fresh and dtype is np.float64
        is_near = gain <= tolerance * loss and (has_converged or is_last_resort)
        length = 1.0 if is_near else _step_length(problem, unknowns, direction, margins, change, loss, gain)
        unknowns = unknowns + length * direction
        if is_near or (length == 0 and is_last_resort):  # float64 knows no lower loss
            largest = _largest_gradient(problem, unknowns)
            if largest <= (_MOST_GRADIENT if of_products is np.float64 else _GOOD_GRADIENT):
                return Solution(unknowns, step)
            if of_products is np.float64:
                raise UserError(
                    f"logistic regression: no optimum on {problem.num_rows} rows: where float64 gets no further, its gradient is still "
                    f"{largest:.0e} a row. Features of very different sizes need scaling, or a lower logreg.c"
                )
            dtype, of_products, preconditioner = np.float64, np.float64, None
        elif length == 0 or not has_converged:
            dtype = np.float64 if is_fresh else dtype
            preconditioner = None
    raise UserError(
        f"logistic regression: no optimum after {max_steps} steps on {problem.num_rows} rows. "
        "Raise logreg.max_iterations or logreg.tolerance."
    )


def _largest_gradient(problem: Problem, unknowns: np.ndarray) -> float:
    """The largest entry of the gradient, divided by the rows."""
    return float(np.abs(problem.gradient(unknowns)[1]).max() / problem.num_rows)


def _newton_direction(
    problem: Problem,
    curvature: np.ndarray,
    gradient: np.ndarray,
    loss: float,
    preconditioner: Preconditioner,
    max_passes: int,
    dtype: type,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Solves Hessian * direction = -gradient by preconditioned conjugate gradients, the more exactly the nearer the optimum.

    Also gives the change of x.w + b along it (N,), and whether it got there within `max_passes`.
    """
    direction, change = np.zeros_like(gradient), np.zeros(problem.num_rows)
    residual, search = -gradient, preconditioner.solve(-gradient)
    size = first = float(residual @ search)
    if first <= 0:
        return direction, change, True  # the gradient is zero
    wanted = first * np.clip(first / loss, 1e-6, 1e-2)  # of the squared norm
    for _ in range(max_passes):
        step_change, product = problem.product(search, curvature, dtype)
        bend = float(search @ product)
        if bend <= 0:  # rounding; what was found so far is a descent direction
            return direction, change, False
        length = size / bend
        direction += length * search
        change += length * step_change
        residual -= length * product
        solved = preconditioner.solve(residual)
        size, before = float(residual @ solved), size
        if size <= wanted:
            return direction, change, True
        search = solved + size / before * search
    return direction, change, False


def _step_length(
    problem: Problem, unknowns: np.ndarray, direction: np.ndarray, margins: np.ndarray, change: np.ndarray, loss: float, gain: float
) -> float:
    """The first of 1, 1/2, 1/4 ... that lowers the loss by a fair part of what is expected; 0 where none does. Takes no pass.

    Where 1 does, 2, 4 ... are tried as long as the loss falls: towards classes that are separable, the quadratic model sees one e-fold of
    the way only.
    """
    if gain <= 1e-9 * loss:  # too near for float32 changes to tell
        return 1.0
    signed = change * np.concatenate(problem.signs)

    def loss_at(length: float) -> float:
        return problem.loss(margins + length * signed, unknowns + length * direction)

    length, reached = 1.0, loss_at(1.0)
    while reached > loss - 1e-4 * length * 2 * gain:
        length /= 2
        if length < 1e-12:
            return 0.0
        reached = loss_at(length)
    while length >= 1 and (further := loss_at(2 * length)) < reached:
        length, reached = 2 * length, further
    return length


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-values)), without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1, small) / (1 + small)


def row_blocks(num_rows: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Slices that cover the rows in order."""
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def _share(weight: np.ndarray | None, rows: slice) -> np.ndarray | float:
    return 1.0 if weight is None else weight[rows]
