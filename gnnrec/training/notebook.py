"""Training from Python: `gnnrec.train`, and the published version that it returns."""

import html
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from gnnrec.terminal.table import aligned
from gnnrec.training.run import (
    NOT_MEASURED,
    Splits,
    configured,
    metrics_table,
    named,
    store_of,
    unknown_texts,
    with_minutes,
)
from gnnrec.training.run import promote as point

if TYPE_CHECKING:
    from gnnrec_training.config import Config
    from gnnrec_training.data.reading.frames import Frame
    from gnnrec_training.evaluation.verdict import Verdict
    from gnnrec_training.reporter import Reporter
    from gnnrec_training.train import Outcome

Place: TypeAlias = str | os.PathLike[str]
Data: TypeAlias = "Place | Frame | Sequence[Place | Frame] | Mapping[str, Any]"

_NAME = "model"
_VERSION = re.compile(r'(id="version">)[^<]*')
_HEIGHT = 640


@dataclass(frozen=True, repr=False)
class Training:
    """A published version. A notebook shows its report."""

    model: str
    """The model's name in the registry."""
    version: str
    registry: str
    """The registry's folder or URL."""
    variant: str
    """The default variant: the one that `serve` names, or the best one on validation."""
    metrics: Splits
    """The metrics of the default variant, such as metrics["test"]["ndcg@10"]."""
    variants: Mapping[str, Splits]
    """The metrics of every variant, by its name."""
    baselines: Mapping[str, Splits]
    """The metrics of the baselines, by name."""
    verdict: "Verdict | None"
    """How the default variant stands beside the baselines: verdict.sentence,
    verdict.beats_baselines. None if nothing was measured."""
    seconds: float
    """The duration of the training, in seconds."""
    report: Path
    """The version's report page, a local file."""

    def __repr__(self) -> str:
        split = next((part for part in ("test", "validation") if part in self.metrics), "")
        shown = [
            f"{name} {value:.4f}"
            for name, value in self.metrics.get(split, {}).items()
            if name.startswith(("recall", "ndcg"))
        ]
        measured = f"{split}: {', '.join(shown)}" if shown else NOT_MEASURED
        return (
            f"Training({self.model} {self.version} in {self.registry}; {self.variant}, "
            f"{measured}; {self.seconds:.1f} s)"
        )

    def __str__(self) -> str:
        """Return the metrics of every variant and baseline as a table, and the verdict."""
        rows = metrics_table({**self.variants, **self.baselines}, self.variant)
        verdict = self.verdict
        return "\n".join(
            [
                *(aligned(rows) or [NOT_MEASURED]),
                *([] if verdict is None else [*aligned(verdict.table()), verdict.sentence]),
                f"published {self.model} {self.version} in {self.seconds:.1f} s; "
                f"{self.variant} is its default variant",
            ]
        )

    def _repr_html_(self) -> str:
        """Return the report in a sandboxed frame, which cannot reach the notebook's page.

        If a prune has removed the report with its version, return the table of metrics.
        """
        try:
            page = self.report.read_text(encoding="utf-8")
        except OSError:
            return f"<pre>{html.escape(str(self))}</pre>"
        # The page names its version by its folder, which a frame does not know.
        page = _VERSION.sub(lambda found: found[1] + html.escape(self.version), page, count=1)
        return (
            f'<iframe title="Report of {html.escape(self.model)} {html.escape(self.version)}" '
            f'sandbox srcdoc="{html.escape(page)}" width="100%" height="{_HEIGHT}" '
            'style="border: 0"></iframe>'
        )


def train(
    data: "Data",
    *,
    registry: Place = "registry-data",
    name: str = "",
    items: "Place | Frame | None" = None,
    users: "Place | Frame | None" = None,
    minutes: float | None = None,
    promote: str = "",
    resume: bool = False,
    start_from: str = "",
    progress: bool = True,
) -> Training:
    """Train, evaluate and publish a version, as the command `gnnrec train` does.

    `data`: what to train on. A configuration: the path of its file, which ends in .toml, or a dict
    of the same shape, whose relative paths start from the working folder, and which may have a
    frame of polars or pandas wherever a file can be named. Or the data alone: a path or a frame
    with a row for each interaction, or several; the meaning of the columns is detected and printed.
    `items`, `users`: with data alone, a table of their features, one row each.

    `registry`: its folder or URL. `name`: the model's name there, with data alone; by default from
    the files' names, "model" for a frame. `minutes`: how long to search for models; by the size of
    the data if not given, and 0 tries each kind once. `promote`: an alias to point at the version,
    if it is whole and no worse than the version that the alias names. `resume`: continue the same
    training where it was interrupted. `start_from`: a version of the model, or an alias that names
    one, to start from: LightGCN from its embeddings, and with its models where the configuration
    names none. `progress`: whether to print what was detected, and the progress.

    Raises gnnrec_training.errors.TrainingError for a configuration or data that cannot be trained
    on, before anything is published, and gnnrec_registry.errors.RegistryError for a registry that
    cannot be written and, when the version is published, for a refused promotion.
    """
    from gnnrec.terminal.progress import Progress
    from gnnrec_training.addresses import FRAMES
    from gnnrec_training.reporter import Silent

    place = os.fspath(registry)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=FRAMES)))
        reporter: Reporter = stack.enter_context(Progress()) if progress else Silent()
        config, beside = _configured(
            data, reporter, folder, name=name, items=items, users=users, search=not start_from
        )
        config = with_minutes(config, minutes)
        # PyTorch is imported here, after a mistake in the configuration has been reported
        from gnnrec_training.train import train as run

        store = store_of(config, place, promote)
        start = named(store, start_from) if start_from else None
        outcome = run(config, beside, store, reporter, resume=resume, start=start)
        if sentence := unknown_texts(outcome):
            reporter.tell(sentence)
        if promote:
            note = point(store, outcome.version.name, promote)
            reporter.tell(f"{promote} is now {outcome.version.name}")
            reporter.tell(note)
    return _training(outcome, place)


def _configured(
    data: "Data",
    reporter: "Reporter",
    folder: Path,
    *,
    name: str,
    items: "Place | Frame | None",
    users: "Place | Frame | None",
    search: bool,
) -> tuple["Config", Path]:
    """Return the configuration and the folder of its paths; frames become files in `folder`."""
    from gnnrec_training.config import resolve
    from gnnrec_training.data.reading.frames import frames_to_files, is_frame
    from gnnrec_training.errors import InvalidConfig, InvalidData

    known = {"name": name or None, "items": items, "users": users}
    if isinstance(data, Mapping) or _is_configuration(data):
        for key, value in known.items():
            if value is not None:
                raise InvalidConfig(f"{key} goes with data alone; a configuration says it itself")
    if isinstance(data, Mapping):
        return resolve(frames_to_files(data, folder), "the configuration"), Path()
    several = data if isinstance(data, list | tuple) else [data]
    if not several:
        raise InvalidData("data is empty; give a path, or a frame of polars or pandas")
    one = len(several) == 1
    return configured(
        [
            _place(table, "interactions" if one else f"data.{place}", folder)
            for place, table in enumerate(several, 1)
        ],
        reporter.tell,
        name=name or (_NAME if is_frame(several[0]) else ""),
        items="" if items is None else _place(items, "items", folder),
        users="" if users is None else _place(users, "users", folder),
        search=search,
    )


def _is_configuration(data: object) -> bool:
    return isinstance(data, str | os.PathLike) and os.fspath(data).endswith(".toml")


def _place(value: object, what: str, folder: Path) -> str:
    """Return a path as it is; write a frame to a file named after `what`, and return its path."""
    from gnnrec_training.data.reading.frames import is_frame, write
    from gnnrec_training.errors import InvalidData

    if is_frame(value):
        return write(value, folder, what)
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    kind = type(value)
    raise InvalidData(
        f"{what}: a {kind.__module__}.{kind.__qualname__} cannot be trained on; give a path, or a "
        "frame of polars or pandas"
    )


def _training(outcome: "Outcome", registry: str) -> Training:
    """Describe a published version; its report is downloaded if it is at a URL."""
    from gnnrec_registry.files.layout import REPORT_PAGE

    version, manifest = outcome.version, outcome.version.manifest
    variants = {name: variant.metrics for name, variant in manifest.variants.items()}
    return Training(
        model=manifest.model,
        version=manifest.version,
        registry=registry,
        variant=manifest.default_variant,
        metrics=manifest.default_metrics,
        variants=variants,
        baselines=manifest.baselines,
        verdict=outcome.verdict,
        seconds=outcome.seconds,
        report=version.folder_of(REPORT_PAGE) / Path(REPORT_PAGE).name,
    )
