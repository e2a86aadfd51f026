"""Who graded: severity of kinds of graders and of single ones on one scale (many-facet Rasch, Linacre 1989).

    fit = fit_facets(learner, hand_in, item, kind, share, period=half_year)
    fit.severities, fit.conf_int(), fit.adjusted(), print(fit.summary())
    agreement(hand_in, item, learner, kind, share)

A mark is a category k of the item's scale; log P(k) / P(k − 1) = quality of the hand-in − difficulty of the item −
severity of the kind in the period − severity of the grader − threshold k. Items of one scale share their thresholds
(rating scale); a scale is the number of steps of a mark, so that partial credit of 3 points has thresholds of its own.

The quality of a hand-in is the learner's ability and something of its own, both normal: two marks of one hand-in agree
better than marks of two. With it in the model, second marks may be asked for by the look of the first one (of poor
work, say): the mean difference of two marks is then biased, what is estimated here is not.

Estimated by marginal maximum likelihood: expectation propagation over learners with Gauss-Hermite quadrature over the
quality of each hand-in (Minka 2001), Newton steps for the effects by conjugate gradients with the information of the
working linear mixed model (Breslow and Clayton 1993). Difficulties are normal around a free mean of each kind of
grader and period (`group`): of items that one kind alone marks, nothing is learned about severity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.item_response.facet_model import GRID, TOLERANCE_OF_ERRORS, Marks, Model, estimate

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10  # marks that link a kind, and of a grader
FEWEST_PERIODS = 3  # for a drift
COLUMNS_AT_ONCE = 24


@dataclass(frozen=True)
class Facets:
    """Severities of graders, and what turns marks into grades of the reference kind.

    Attributes:
        reference: the kind that the others are compared with; severity 0
        severities (frame): kind, grader, period, severity, std_error, points, points_error, n, linked_count, drift,
            drift_error, reason. One row per kind (period and grader missing), kind × period, and kind × grader.
            ``severity`` in logits: positive = more severe than the reference kind in the same period; of a grader, than
            the others of the kind, shrunken. ``points``: points of 100 that the same hand-ins get fewer. ``n`` marks,
            ``linked_count`` those of them of items that the compared kind marked too. ``drift``: change of ``points`` a
            year. Where nothing tells severity and difficulty apart, figures are missing and ``reason`` says so.
        thresholds (frame): steps, category, lowest_share, mean_share, threshold, n
        learner_sd, hand_in_sd, item_sd, grader_sd: in logits
        iterations, converged: of the estimation
    """

    reference: str
    severities: pd.DataFrame
    thresholds: pd.DataFrame
    learner_sd: float
    hand_in_sd: float
    item_sd: float
    grader_sd: float
    iterations: int
    converged: bool
    _adjust: Callable[[], pd.DataFrame] = field(repr=False)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Intervals: kind, grader, period, low, high (logits), points_low, points_high."""
        from scipy.stats import norm

        z = float(norm.ppf((1 + level) / 2))
        rows = self.severities
        found = rows[["kind", "grader", "period"]].copy()
        for prefix, value, error in (("", "severity", "std_error"), ("points_", "points", "points_error")):
            found[f"{prefix}low"] = rows[value] - z * rows[error]
            found[f"{prefix}high"] = rows[value] + z * rows[error]
        return found

    def adjusted(self) -> pd.DataFrame:
        """What the reference kind would have given: hand_in, marked, adjusted, std_error, mark_count.

        In points of 100; ``marked`` is the mean of the marks. A mark is moved by the difference of expected scores at
        the level at which its own kind (and grader) is expected to give it (the fair average of Linacre 1989): equal
        marks of one kind, grader and period on one scale get one adjusted grade, whoever handed in. ``std_error`` has
        the chance of so many marks at that level and the error of the severity in it. Hand-ins with a mark of a
        severity that is withheld are left out, and those that only the reference kind marked, once: theirs is the mark
        as it is.
        """
        return self._adjust()

    def summary(self) -> str:
        """The severities as text."""
        rows = self.severities.merge(self.conf_int(), on=["kind", "grader", "period"])
        lines = [
            f"Many-facet Rasch, against {self.reference}; sds in logits: learners {self.learner_sd:.2f}, hand-ins "
            f"{self.hand_in_sd:.2f}, items {self.item_sd:.2f}, graders {self.grader_sd:.2f}; {self.iterations} "
            f"iterations, {'converged' if self.converged else 'NOT converged'}",
            f"{'kind':<12}{'period':>8}{'grader':>14}{'marks':>9}{'logits':>9}{'error':>8}{'points':>9}{'95 %':>18}",
        ]
        for row in rows.to_dict("records"):
            period = "all" if np.isnan(row["period"]) else f"{row['period']:.1f}"
            head = f"{row['kind']:<12}{period:>8}{row['grader'] or '':>14}{row['n']:>9,}"
            if row["reason"]:
                lines.append(f"{head}  {row['reason']}")
                continue
            interval = f"{row['points_low']:.2f} to {row['points_high']:.2f}"
            figures = f"{row['severity']:>9.3f}{row['std_error']:>8.3f}{row['points']:>9.2f}"
            lines.append(f"{head}{figures}{interval:>18}")
        return "\n".join(lines)


def fit_facets(
    learner,
    hand_in,
    item,
    kind,
    share,
    *,
    grader=None,
    period=None,
    steps=None,
    group=None,
    reference=None,
    fewest: int = FEWEST,
) -> Facets:
    """Severity of kinds of graders, and of single graders, by marginal maximum likelihood.

    Args:
        learner, hand_in, item, kind (arrays of shape (marks,)): one element per mark, in any order; any labels. A
            hand-in is one piece of work of one learner at one item, with one or more marks.
        share (array of shape (marks,)): mark as a share of the best one, 0 to 1.
        grader (array of shape (marks,), optional): who gave the mark; missing (None, NaN) where unknown.
        period (array of shape (marks,), optional): when, as a number of years, such as 2024.5 for its second half.
        steps (array of shape (marks,), constant within an item, optional): steps of the item's scale, 1 to 10: of an
            item of 4 points that gives whole points, 4. 10 if not given: tenths.
        group (array of shape (marks,), constant within an item, optional): items whose difficulties are normal around
            one mean; give the kind that grades the item by rule, and the period, where second marks are asked for by
            the look of the first. If not given, the kind and period of most marks of the item.
        reference: kind that the others are compared with; the most frequent if not given or absent.
        fewest: marks of linked items without which a severity is withheld.

    Raises:
        ValueError: arrays of different lengths, shares out of bounds, a hand-in of two learners or items.

    Notes:
        Severity and difficulty are told apart by items with marks of both kinds, of the same hand-in or of others;
        marks of learners with no other mark are no link, since nothing else tells how able they are. An item whose
        difficulty may change is an item of its own in each period. Cells (kind ×
        period) are compared where such items connect them, directly or over others. Memory is proportional to the
        marks; single thread.
    """
    data = Marks(learner, hand_in, item, kind, share, grader, period, steps, group)
    kinds = list(data.kinds)
    if reference not in kinds:
        reference = kinds[int(np.bincount(data.kind, minlength=len(kinds)).argmax())]
    report = _Report(data, kinds.index(reference), fewest)
    return report.facets(*(estimate(data) if report.can_tell else (Model(data), 0, True)))


def agreement(hand_in, item, learner, kind, share, *, fewest: int = FEWEST) -> pd.DataFrame:
    """How kinds of graders agree on hand-ins that both marked, nothing modelled.

    Args:
        hand_in, item, learner, kind, share: as for `fit_facets`.
        fewest: learners with such hand-ins below whom figures are withheld.

    Returns:
        frame, one row per pair of kinds: kind, other_kind, hand_in_count, learner_count, item_count, mean_difference
        (points of 100, kind less other kind), std_error (clustered by learner), correlation, weighted_kappa, reason.
        The kappa of Cohen (1968) has quadratic weights on tenths of the best mark. Of several marks of a kind the mean
        is taken.
    """
    import pandas as pd

    marks = pd.DataFrame({"hand_in": hand_in, "item": item, "learner": learner, "kind": kind, "share": share})
    kinds = sorted(marks["kind"].unique())
    counted = marks.groupby("hand_in")["kind"].transform("nunique")
    both = marks[counted > 1].pivot_table(index=["learner", "item", "hand_in"], columns="kind", values="share")
    rows = []
    for i, one in enumerate(kinds):
        for other in kinds[i + 1 :]:
            pair = both.reindex(columns=[one, other]).dropna().reset_index()
            row = {"kind": one, "other_kind": other, "hand_in_count": len(pair), "item_count": pair["item"].nunique()}
            row["learner_count"] = pair["learner"].nunique()
            if row["learner_count"] < fewest:
                row["reason"] = (
                    f"{row['learner_count']} learners have a hand-in that both {one} and {other} graded, of whom "
                    f"{fewest} are needed."
                )
            else:
                row |= _agreement_of(pair[one].to_numpy(), pair[other].to_numpy(), pair["learner"])
            rows.append(row)
    columns = ["kind", "other_kind", "hand_in_count", "learner_count", "item_count", "mean_difference", "std_error"]
    return pd.DataFrame(rows).reindex(columns=[*columns, "correlation", "weighted_kappa", "reason"])


def _agreement_of(one: np.ndarray, other: np.ndarray, learner: pd.Series) -> dict[str, float]:
    difference = 100 * (one - other)
    deviation = (difference - difference.mean()).tolist()
    sums = learner.to_frame().assign(deviation=deviation).groupby("learner")["deviation"].sum().to_numpy()
    clusters = len(sums)
    a, b = np.rint(10 * one), np.rint(10 * other)
    chance = np.mean(a**2) + np.mean(b**2) - 2 * a.mean() * b.mean()
    spread = one.std() * other.std()
    return {
        "mean_difference": float(difference.mean()),
        "std_error": float(np.sqrt((sums**2).sum() * clusters / (clusters - 1)) / len(one)),
        "correlation": float(np.cov(one, other, bias=True)[0, 1] / spread) if spread > 0 else np.nan,
        "weighted_kappa": float(1 - np.mean((a - b) ** 2) / chance) if chance > 0 else np.nan,
    }


class _Report:
    """Severities with errors and reasons, and adjusted grades."""

    model: Model

    def __init__(self, data: Marks, reference: int, fewest: int) -> None:
        self.data, self.reference, self.fewest = data, reference, fewest
        self.periods, self.kinds = len(data.periods), list(data.kinds)
        self._link()
        self._compared = self._find_compared()
        self._shown_graders, self._linked = self._find_graders()

    @property
    def can_tell(self) -> bool:
        """Whether there is anything that a model could tell apart from difficulty."""
        return bool(self._compared or len(self._shown_graders))

    def _points_table(self, scale: int) -> np.ndarray:
        """Expected points of 100 by point of the grid."""
        return 100 * self._mean_share(scale) @ self.model.probabilities(scale)[1]

    def _mean_share(self, scale: int) -> np.ndarray:
        data = self.data
        inside = data.scale == scale
        count = np.bincount(data.category[inside], minlength=data.most[scale] + 1)
        return np.bincount(data.category[inside], data.share[inside], len(count)) / np.maximum(count, 1)

    def _link(self) -> None:
        """Which cells are connected by items, and which marks connect them."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        data = self.data
        marks_of_learner = np.bincount(data.learner)
        counts = marks_of_learner[data.learner] > 1
        cells = data.cell_count
        table = coo_array((counts.astype(float), (data.item, data.cell)), shape=(len(data.items), cells)).toarray()
        linked = np.zeros((cells, cells))
        used = np.flatnonzero(table.sum(axis=0) > 0)
        for position, a in enumerate(used):
            rows = table[:, a] > 0
            for b in used[position + 1 :]:
                linked[a, b] = linked[b, a] = np.minimum(table[rows, a], table[rows, b]).sum()
        self.piece = connected_components(linked >= self.fewest, directed=False)[1]
        of_kind = [
            (table[:, k * self.periods : (k + 1) * self.periods] > 0).any(axis=1) for k in range(len(self.kinds))
        ]
        self.item_kinds = np.column_stack(of_kind)  # (items, kinds)

    def facets(self, model: Model, iterations: int, converged: bool) -> Facets:
        import pandas as pd

        self.model = model
        self._points = [self._points_table(s) for s in range(len(self.data.scales))]
        self.contrasts, self.covariance = self._compared, self._covariance()
        rows = [*self._kind_rows(), *self._grader_rows()]
        columns = ["kind", "grader", "period", "severity", "std_error", "points", "points_error", "n", "linked_count"]
        frame = pd.DataFrame(rows).reindex(columns=[*columns, "drift", "drift_error", "reason"])
        frame[["grader", "reason"]] = frame[["grader", "reason"]].astype(object)
        for name in ("grader", "reason"):
            frame[name] = frame[name].where(frame[name].notna(), None)
        numbers = ["severity", "std_error", "points", "points_error", "drift", "drift_error", "period"]
        frame[numbers] = frame[numbers].astype(float)
        return Facets(
            reference=self.kinds[self.reference],
            severities=frame,
            thresholds=self._thresholds(),
            learner_sd=float(np.sqrt(model.learner_variance)),
            hand_in_sd=float(np.sqrt(model.hand_in_variance)),
            item_sd=float(np.sqrt(model.item_variance)),
            grader_sd=float(np.sqrt(model.grader_variance)) if len(model.grader) else 0.0,
            iterations=iterations,
            converged=converged,
            _adjust=self.adjusted,
        )

    def _thresholds(self) -> pd.DataFrame:
        import pandas as pd

        data = self.data
        frames = []
        for s, most in enumerate(data.most):
            count = np.bincount(data.category[data.scale == s], minlength=most + 1)
            frames.append(
                pd.DataFrame(
                    {
                        "steps": data.scales[s],
                        "category": np.arange(most + 1),
                        "lowest_share": data.lowest[s] / data.scales[s],
                        "mean_share": self._mean_share(s),
                        "threshold": np.r_[np.nan, self.model.threshold[s]],
                        "n": count,
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def _find_compared(self) -> list[tuple[int, int]]:
        """Kinds and periods that can be compared with the reference in the period."""
        data = self.data
        seen = np.bincount(data.cell, minlength=data.cell_count) > 0
        found = []
        for k in range(len(self.kinds)):
            for t in range(self.periods):
                own, other = k * self.periods + t, self.reference * self.periods + t
                if k != self.reference and seen[own] and seen[other] and self.piece[own] == self.piece[other]:
                    found.append((k, t))
        return found

    def _covariance(self) -> np.ndarray:
        """Of the contrasts with the reference."""
        data, model, found = self.data, self.model, self._compared
        items, effects = len(model.item), len(model.item) + data.cell_count + len(model.grader)
        right = np.zeros((effects, len(found)))
        for c, (k, t) in enumerate(found):
            right[items + k * self.periods + t, c] = 1
            right[items + self.reference * self.periods + t, c] = -1
        solved = [
            model.solve(right[:, c : c + COLUMNS_AT_ONCE], TOLERANCE_OF_ERRORS)
            for c in range(0, len(found), COLUMNS_AT_ONCE)
        ]
        covariance = right.T @ np.concatenate(solved, axis=1) if solved else np.zeros((0, 0))
        return (covariance + covariance.T) / 2

    def _find_graders(self) -> tuple[np.ndarray, np.ndarray]:
        """Graders who are compared with others, and how many marks of each are of items that others marked too."""
        data = self.data
        known = np.flatnonzero(data.grader >= 0)
        marks_of_item = np.bincount(data.item, minlength=len(data.items))
        pair, size = np.unique(data.grader[known] * len(data.items) + data.item[known], return_counts=True)
        others = marks_of_item[pair % len(data.items)] - size
        linked = np.bincount(pair // len(data.items), np.where(others > 0, size, 0), len(data.graders)).astype(int)
        return np.flatnonzero(linked[: len(data.graders)] >= self.fewest), linked

    def _kind_rows(self) -> list[dict]:
        data, model = self.data, self.model
        rows = []
        for k, kind in enumerate(self.kinds):
            inside = data.kind == k
            row = {"kind": kind, "n": int(inside.sum())}
            if k == self.reference:
                others = np.delete(self.item_kinds, k, axis=1).sum(axis=1)[data.item] > 0
                linked = np.count_nonzero(inside & others)
                rows.append(row | {"severity": 0.0, "points": 0.0, "linked_count": linked})
                continue
            shared = self.item_kinds[:, self.reference] & self.item_kinds[:, k]
            row["linked_count"] = int((inside & shared[data.item]).sum())
            which = [c for c, (of, _) in enumerate(self.contrasts) if of == k]
            if not which:
                rows.append(row | {"reason": self._reason(k, row["linked_count"])})
            single = []
            for t in range(self.periods):
                of_cell = inside & (data.period == t)
                if not of_cell.any():
                    continue
                cell = {"kind": kind, "period": data.periods[t], "n": int(of_cell.sum())}
                cell["linked_count"] = int((of_cell & shared[data.item]).sum())
                c = next((c for c in which if self.contrasts[c][1] == t), None)
                if c is None:
                    cell["reason"] = self._reason(k, cell["linked_count"], in_period=True)
                else:
                    own, other = k * self.periods + t, self.reference * self.periods + t
                    severity = float(model.cell[own] - model.cell[other])
                    points, slope = self._in_points(k, t, severity, shared)
                    error = float(np.sqrt(self.covariance[c, c]))
                    cell |= {"severity": severity, "std_error": self._with_unit(error, severity)}
                    cell |= {"points": points, "points_error": slope * error}
                    single.append((c, cell, slope))
                if self.periods > 1:
                    rows.append(cell)
            if single:
                rows.append(row | self._over_periods(single))
        return sorted(rows, key=lambda row: (row["kind"], row.get("period", -np.inf)))

    def _over_periods(self, single: list[tuple[int, dict, float]]) -> dict:
        """Mean over the periods, by marks, and the change a year."""
        which = [c for c, _, _ in single]
        weight = np.array([max(cell["linked_count"], 1) for _, cell, _ in single], float)
        weight /= weight.sum()
        slope = np.array([s for _, _, s in single])
        covariance = self.covariance[np.ix_(which, which)]
        in_points = covariance * np.outer(slope, slope)
        severity = np.array([cell["severity"] for _, cell, _ in single])
        points = np.array([cell["points"] for _, cell, _ in single])
        found = {
            "severity": float(weight @ severity),
            "std_error": self._with_unit(float(np.sqrt(weight @ covariance @ weight)), float(weight @ severity)),
            "points": float(weight @ points),
            "points_error": float(np.sqrt(weight @ in_points @ weight)),
        }
        if len(single) >= FEWEST_PERIODS:
            year = np.array([cell["period"] for _, cell, _ in single])
            design = np.column_stack([np.ones(len(year)), year - year.mean()])
            information = design.T @ np.linalg.solve(in_points, design)
            estimate = np.linalg.solve(information, design.T @ np.linalg.solve(in_points, points))
            found |= {"drift": float(estimate[1]), "drift_error": float(np.sqrt(np.linalg.inv(information)[1, 1]))}
        return found

    def _with_unit(self, error: float, severity: float) -> float:
        """Standard error in logits, which have one of their own; points do not depend on the unit."""
        return float(np.sqrt(error**2 + severity**2 * self.model.unit_variance))

    def _reason(self, kind: int, linked: int, *, in_period: bool = False) -> str:
        own, other = self.kinds[kind], self.kinds[self.reference]
        when = " in this period" if in_period else ""
        if not linked:
            return (
                f"No item has grades by both {own} and {other}{when}, of learners with other grades: severity and "
                "difficulty cannot be told apart."
            )
        return (
            f"Items with grades by both {own} and {other}{when} have too few of them ({linked} by {own}): "
            f"{self.fewest} are needed to tell severity and difficulty apart."
        )

    def _in_points(self, kind: int, period: int, severity: float, shared: np.ndarray) -> tuple[float, float]:
        """Points fewer than by the reference for the same hand-ins, and the change of that a logit."""
        data = self.data
        use = shared[data.item] & (data.period == period) & np.isin(data.kind, (kind, self.reference))
        if not use.any():
            use = (data.period == period) & np.isin(data.kind, (kind, self.reference))
        marks = np.flatnonzero(use)
        cell = self.model.cell[self.reference * self.periods + period]
        level = self.model.item[data.item[marks]] + cell
        given = self._expected_points(marks, level)
        less = self._expected_points(marks, level + severity)
        slope = (
            self._expected_points(marks, level + severity) - self._expected_points(marks, level + severity + 0.05)
        ) / 0.05
        return float((given - less).mean()), float(slope.mean())

    def _expected_points(self, marks: np.ndarray, effect: np.ndarray) -> np.ndarray:
        """Expected points of the marks' hand-ins at an effect, over what is not known of their quality."""
        data, model = self.data, self.model
        node, weight = np.polynomial.hermite_e.hermegauss(5)
        weight /= weight.sum()
        centre, width = model.centre[data.hand_in[marks]] - effect, model.width[data.hand_in[marks]]
        total = np.zeros(len(marks))
        for s, table in enumerate(self._points):
            inside = data.scale[marks] == s
            for x, w in zip(node, weight, strict=True):
                total[inside] += w * np.interp(centre[inside] + x * width[inside], GRID, table)
        return total

    def _grader_rows(self) -> list[dict]:
        """Single graders against the others of their kind."""
        data, model = self.data, self.model
        if not len(data.graders):
            return []
        known = np.flatnonzero(data.grader >= 0)
        n = np.bincount(data.grader[known], minlength=len(data.graders))
        kind = np.zeros(len(data.graders), np.int64)
        kind[data.grader[known]] = data.kind[known]
        shown, linked = self._shown_graders, self._linked
        error = np.full(len(data.graders), np.nan)
        base = len(model.item) + data.cell_count
        for begin in range(0, len(shown), COLUMNS_AT_ONCE):
            which = shown[begin : begin + COLUMNS_AT_ONCE]
            right = np.zeros((base + len(model.grader), len(which)))
            right[base + which, np.arange(len(which))] = 1
            error[which] = np.sqrt((right * model.solve(right, TOLERANCE_OF_ERRORS)).sum(axis=0))
        self.grader_error = error
        slope = self._slope_of_marks(known)
        slope = np.bincount(data.grader[known], slope, len(data.graders)) / np.maximum(n, 1)
        rows = []
        for g, label in enumerate(data.graders):
            row = {"kind": self.kinds[kind[g]], "grader": label, "n": int(n[g]), "linked_count": int(linked[g])}
            if np.isnan(error[g]):
                row["reason"] = (
                    f"This grader gave {linked[g]} grades of items that others graded too, of which {self.fewest} are "
                    "needed."
                )
            else:
                row |= {"severity": float(model.grader[g]), "std_error": float(error[g])}
                row |= {"points": float(slope[g] * model.grader[g]), "points_error": float(slope[g] * error[g])}
            rows.append(row)
        return rows

    def _slope_of_marks(self, marks: np.ndarray) -> np.ndarray:
        """Points a logit of severity, at each mark's hand-in and item."""
        data = self.data
        level = self.model.item[data.item[marks]] + self.model.cell[data.cell[marks]]
        return (self._expected_points(marks, level - 0.5) - self._expected_points(marks, level + 0.5)) / 1.0

    def adjusted(self) -> pd.DataFrame:
        """See `Facets.adjusted`."""
        import pandas as pd

        data, model = self.data, self.model
        shift, variance = np.full(data.cell_count, np.nan), np.zeros(data.cell_count)
        for t in range(self.periods):
            shift[self.reference * self.periods + t] = 0.0
        for c, (k, t) in enumerate(self.contrasts):
            own = k * self.periods + t
            shift[own] = model.cell[own] - model.cell[self.reference * self.periods + t]
            variance[own] = self.covariance[c, c]
        severity, of_severity = shift[data.cell], variance[data.cell]
        if len(data.graders):
            told = (data.grader >= 0) & np.isfinite(self.grader_error[data.grader])
            severity = severity + np.where(told, model.grader[data.grader], 0.0)
            of_severity = of_severity + np.where(told, self.grader_error[data.grader] ** 2, 0.0)
        points, chance, slope = np.zeros(len(data.share)), np.zeros(len(data.share)), np.zeros(len(data.share))
        for s, table in enumerate(self._points):
            inside = np.flatnonzero((data.scale == s) & np.isfinite(severity))
            share, p = self._mean_share(s), model.probabilities(s)[1]
            spread = np.sqrt(np.maximum((100 * share) ** 2 @ p - table**2, 0))
            # At the best and the worst mark the level is that of half a step within.
            k = np.arange(data.most[s] + 1)
            low, high = (np.interp(x, k @ p, table) for x in (min(0.25, data.most[s] / 2), max(data.most[s] - 0.25, 0)))
            level = np.interp(np.clip(100 * data.share[inside], low, high), table, GRID)
            same, other = level, level + severity[inside]
            points[inside] = np.interp(other, GRID, table) - np.interp(same, GRID, table)
            chance[inside] = np.interp(other, GRID, spread) ** 2
            slope[inside] = (np.interp(other + 0.05, GRID, table) - np.interp(other - 0.05, GRID, table)) / 0.1
        moved = np.clip(100 * data.share + points, 0, 100)
        count = np.diff(data.hand_in_start)
        lacking = np.bincount(data.hand_in, ~np.isfinite(severity), len(count)) > 0
        changed = np.bincount(data.hand_in, np.nan_to_num(severity) != 0, len(count)) > 0
        by_hand_in = {
            "marked": np.bincount(data.hand_in, 100 * data.share, len(count)) / count,
            "adjusted": np.bincount(data.hand_in, moved, len(count)) / count,
            "std_error": np.sqrt(
                np.bincount(data.hand_in, chance, len(count)) / count**2
                + np.bincount(data.hand_in, slope**2 * of_severity, len(count)) / count
            ),
        }
        frame = pd.DataFrame({"hand_in": self.data.hand_ins[data.label], **by_hand_in, "mark_count": count})
        return frame[~lacking & (changed | (count > 1))].reset_index(drop=True)
