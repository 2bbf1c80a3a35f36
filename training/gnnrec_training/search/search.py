"""The search: graph, kinds of models, their settings, and what to join, one after the other.

1. Graph: what disliked items, weights and age count, probed with a closed form.
2. Models: Optuna proposes settings of each kind of model, the defaults first (tree-structured
   Parzen estimators; Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"). Models
   that are trained in epochs get a quarter of them, and end early where they fall below the median
   of those before.
3. The best of those is trained in full.
4. Fusion: models that fold newcomers in are added to the best one as long as that gains more than
   its noise.
5. Of all that came of it, the simplest within one standard error of the best is taken.

Everything is measured on the validation part by one judge; the test part is never looked at. The
plan and all random numbers follow from the configuration, so a search is repeatable. What was tried
is kept: a resumed search asks for the same proposals again and takes their results from the file.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec_registry import VariantExport
from gnnrec_registry.files.json import Json
from gnnrec_training import seeds
from gnnrec_training.config import Config, Family, GraphConfig
from gnnrec_training.config.defaults import Values, with_defaults
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.evaluation.intervals import PerUser, first_as_good, mean_of
from gnnrec_training.evaluation.judge import Judge
from gnnrec_training.export.arrays import tensors
from gnnrec_training.export.fused import build_fused
from gnnrec_training.export.graph_models import LightGCNTrial, build_lightgcn
from gnnrec_training.export.variants import Built
from gnnrec_training.fitting.checkpoint import Checkpoint, Checkpoints
from gnnrec_training.models.fusion import Part, spreads
from gnnrec_training.reporter import Reporter
from gnnrec_training.search.fusion import Weights, fusions
from gnnrec_training.search.graphs import alternatives, joined
from gnnrec_training.search.models import Models, short
from gnnrec_training.search.plan import ORDER, Plan, plan
from gnnrec_training.search.proposals import Proposals
from gnnrec_training.search.record import Diary, Trial
from gnnrec_training.search.tries import Tried, Tries, Turns

_CLOSED = ("ease", "spectral", "als", "cooccurrence")
_MOST_FUSED = 4


@dataclass(frozen=True)
class Found:
    """What a search chose: a configuration with these models, and the models."""

    config: Config
    built: Built
    plan: Plan
    trials: tuple[Trial, ...]
    why: str
    """What was chosen and why, in a sentence."""
    out_of_time: bool
    """Whether the clock ended the search before its plan did."""

    def record(self) -> Json:
        """Return what was tried as JSON values."""
        return {
            "minutes": self.plan.minutes,
            "out_of_time": self.out_of_time,
            "why": self.why,
            "trials": [trial.record() for trial in self.trials],
        }


def search(
    config: Config,
    dataset: Dataset,
    beside: Path,
    reporter: Reporter,
    checkpoints: Checkpoints,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Choose the models of a configuration with [search], and fit them on the training part.

    `beside`: the folder that the configuration's relative paths start from; `clock`: in seconds.
    Raises InvalidConfig where nothing could be tried, or nobody could be asked.
    """
    diary = Diary(checkpoints.of("search"), clock)
    return _Search(config, dataset, beside, reporter, checkpoints, diary).run()


class _Search:
    """A search under way."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        beside: Path,
        reporter: Reporter,
        checkpoints: Checkpoints,
        diary: Diary,
    ) -> None:
        assert config.search is not None
        self._config, self._dataset, self._beside = config, dataset, beside
        self._reporter, self._checkpoints = reporter, checkpoints
        self._families = [
            family
            for family in ORDER
            if family in config.search.models
            and (family != "hybrid" or (dataset.features is not None and _has_lightgcn(config)))
        ]
        self._plan = plan(config, dataset.figures, self._families)
        self._judge = Judge(config, dataset)
        if len(self._judge.users) == 0:
            raise InvalidConfig(
                "[search] has nobody to ask: training knows no user of the validation part; take "
                'another split.method, such as "random", or name a model, such as [ease]'
            )
        self._diary = diary
        self._models = Models(config, dataset)
        self._built = Built()
        self._settings: dict[str, Values] = {}
        """The chosen settings of each kind of model."""

    def run(self) -> Found:
        """Go through all steps."""
        planned = sum(self._plan.trials.values())
        self._reporter.tell(f"search: {self._plan}")
        self._reporter.start("search", planned)
        self._choose_graph()
        for family in self._families:
            if family in _CLOSED:
                self._try(family)
        if "lightgcn" in self._families:
            self._try_lightgcn()
        if "hybrid" in self._families and "lightgcn" in self._built.variants:
            self._try_hybrid()
        if not self._built.variants:
            raise InvalidConfig(f"[search] found no model: {self._diary.failures()}")
        return self._found()

    def _choose_graph(self) -> None:
        """Choose what counts how much in the graph, one respect after the other."""
        base = chosen = self._config.graph
        probe: Family = next(
            (family for family in ("ease", "spectral", "als") if family in self._families), "ease"
        )
        if not self._plan.has_time_for_graphs(probe):
            return
        best = self._probed(chosen, probe)
        if best is None:
            return
        for group in alternatives(self._config, self._dataset):
            options = [(chosen, best)]
            for graph in (joined(chosen, varied, base) for varied in group):
                if (per_user := self._probed(graph, probe)) is not None:
                    options.append((graph, per_user))
            chosen, best = options[first_as_good(np.array([found for _, found in options]))]
        self._config = self._config.model_copy(update={"graph": chosen})
        self._models = Models(self._config, self._dataset)

    def _probed(self, graph: GraphConfig, probe: Family) -> PerUser | None:
        """Return the score of each user by one kind of model over a graph; None if it fails."""
        config = self._config.model_copy(update={"graph": graph})
        settings = graph.model_dump(exclude_defaults=True)

        def run() -> tuple[PerUser, None]:
            models = Models(config, self._dataset)
            return self._judge.per_user(models.closed(probe, {}), models.graph), None

        return self._diary.do("graph", probe, settings, run)[0]

    def _try(self, family: Family) -> None:
        """Try settings of a model in closed form, and keep the best."""
        proposals, tries = self._proposals(family), Tries()
        for _ in self._turns(family):
            settings = proposals.ask()

            def run(settings: Values = settings) -> tuple[PerUser, VariantExport]:
                model = self._models.closed(family, settings)
                return self._judge.per_user(model, self._models.graph), model

            per_user, model = self._diary.do("models", family, settings, run)
            proposals.tell(None if per_user is None else float(per_user.mean()))
            if per_user is not None:
                tries.add(Tried(settings, per_user, model))
        if chosen := tries.chosen:
            settings = chosen.settings
            self._keep(family, settings, chosen.model or self._models.closed(family, settings))

    def _try_lightgcn(self) -> None:
        """Try settings of LightGCN for a quarter of its epochs each, and train the best in full."""
        proposals, tries = self._proposals("lightgcn"), Tries()
        settings: Values = {}
        for _ in self._turns("lightgcn"):
            settings = proposals.ask()
            if self._plan.trials["lightgcn"] == 1:
                break
            score, per_user = self._lightgcn_trial(proposals, settings)
            proposals.tell(score)
            if per_user is not None:
                tries.add(Tried(settings, per_user))
        if tries.chosen is not None:
            settings = tries.chosen.settings
        if not settings:
            return

        def run() -> tuple[PerUser, VariantExport]:
            config = self._models.config("lightgcn", settings)
            model, fitted = build_lightgcn(
                config, self._dataset, self._beside, self._models.edges,
                self._checkpoints.of("lightgcn"), self._reporter,
            )  # fmt: skip
            self._built.add_history("lightgcn", fitted)
            return self._judge.per_user(model, self._models.graph), model

        per_user, model = self._diary.do("full", "lightgcn", settings, run, again=True)
        if per_user is not None and model is not None:
            self._keep("lightgcn", settings, model)

    def _lightgcn_trial(
        self, proposals: Proposals, settings: Values
    ) -> tuple[float | None, PerUser | None]:
        """Train a LightGCN for a quarter of its epochs, or less where it does not promise.

        Returns its last score, and that of each user if it came to the end.
        """
        config = short(self._models.config("lightgcn", settings))
        assert config.lightgcn is not None
        fit = config.lightgcn.training

        def run() -> tuple[PerUser | None, list[tuple[int, float]]]:
            trial = LightGCNTrial(config, self._dataset, self._models.edges)
            for epoch in range(fit.validate_every, fit.epochs + 1, fit.validate_every):
                trial.run.advance(epoch)
                if not proposals.promises(epoch, trial.run.history.validations[-1][1]):
                    return None, trial.run.history.validations
            return (
                self._judge.per_user(trial.variant(), self._models.graph),
                trial.run.history.validations,
            )

        return self._diary.do_epochs("models", "lightgcn", settings, run, proposals.promises)

    def _try_hybrid(self) -> None:
        """Try the hybrid over the LightGCN that was chosen."""
        from gnnrec_training.export.node_models import build_hybrid

        proposals = self._proposals("hybrid")
        best = -1.0
        for _ in self._turns("hybrid"):
            settings = proposals.ask()
            # each trial its own: a resumed one must not go on from another's settings
            checkpoint = self._checkpoints.of(f"hybrid-trial-{len(self._diary.trials)}")

            def run(
                settings: Values = settings, checkpoint: Checkpoint = checkpoint
            ) -> tuple[PerUser, Any]:
                config = self._models.config("hybrid", settings, self._settings["lightgcn"])
                fitted = build_hybrid(
                    config, self._dataset, self._models.edges, self._built.variants["lightgcn"],
                    lambda epochs, note: None, checkpoint,
                )  # fmt: skip
                return self._judge.per_user(fitted.variant, self._models.graph), fitted

            per_user, fitted = self._diary.do("models", "hybrid", settings, run, again=True)
            proposals.tell(None if per_user is None else float(per_user.mean()))
            if per_user is None or fitted is None:
                continue
            if per_user.mean() > best:
                best = float(per_user.mean())
                self._built.add_fitted("hybrid", fitted)
                self._keep("hybrid", settings, fitted.variant)

    def _found(self) -> Found:
        """Join what gains by it, and take the simplest that is as good as the best."""
        self._reporter.start("fusion", 1)
        models = self._built.variants
        pools = self._judge.pools(models, self._models.graph, self._plan.fused_users)
        parts = [Part(tensors(model), model.lists) for model in models.values()]
        spread = dict(zip(models, spreads(parts, self._models.edges), strict=True))
        options: list[tuple[Weights, PerUser]] = [
            ({name: 1.0}, pools.per_user(found)) for name, found in pools.scores.items()
        ]
        # one of a fusion that folds nobody in would cost the others their newcomers
        joinable = {name: spread[name] for name in models if models[name].fold is not None}
        joint = fusions(pools, joinable, _MOST_FUSED)[1:] if joinable else []
        for weights, per_user in joint:
            self._diary.note("fusion", "fused", dict(weights), per_user)
        options += joint
        weights, per_user = options[first_as_good(np.array([found for _, found in options]))]
        return self._configured(weights, per_user, len(options))

    def _configured(self, weights: Weights, per_user: PerUser, options: int) -> Found:
        """Return the configuration of the chosen models, and these models."""
        served = "fused" if len(weights) > 1 else next(iter(weights))
        needed = {*weights, *(["lightgcn"] if "hybrid" in weights else [])}
        values = self._config.model_dump(exclude_unset=True)
        values.pop("search")
        sections: Values = {name: self._settings[name] for name in needed}
        if served == "fused":
            sections["fusion"] = {"weights": weights}
        values |= sections | {"graph": self._config.graph.model_dump(), "serve": served}
        config = with_defaults(Config.model_validate(values), self._dataset.figures)
        built = replace(
            self._built,
            variants={
                name: self._built.variants[name] for name in config.variants if name in needed
            },
        )
        for kept in (built.losses, built.validations, built.epochs):
            for name in set(kept) - needed:
                del kept[name]
        if served == "fused":
            built.variants["fused"] = build_fused(config, self._models.edges, built.variants)
        mean = mean_of(per_user)
        parts = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
        what = f"{served} ({parts})" if served == "fused" else served
        why = (
            f"{what}: the simplest of {options} candidates within a standard error of the best on "
            f"validation, NDCG@{self._judge.k} {mean.value:.4f} (error {mean.standard_error:.4f}), "
            f"after {len(self._diary.trials)} trials"
        )
        self._reporter.tell(f"search: {why}")
        return Found(
            config, built, self._plan, tuple(self._diary.trials), why, self._diary.out_of_time
        )

    def _proposals(self, family: Family) -> Proposals:
        seed = np.random.default_rng([self._config.seed, seeds.SEARCH, ORDER.index(family)])
        return Proposals(family, self._dataset.figures, int(seed.integers(2**31)))

    def _turns(self, family: Family) -> "Turns":
        count = self._plan.trials[family]
        if count == 0:
            self._diary.leave_out(family, self._plan.costs[family], self._plan.seconds)
        return Turns(self._diary, self._reporter, count, self._plan.until[family])

    def _keep(self, family: Family, settings: Values, model: VariantExport) -> None:
        self._settings[family] = settings
        self._built.variants[family] = model


def _has_lightgcn(config: Config) -> bool:
    return config.search is not None and "lightgcn" in config.search.models
