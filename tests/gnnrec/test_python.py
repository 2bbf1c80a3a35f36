"""gnnrec.train: frames, files and dicts, by the same path as the command."""

import html
import importlib
import re
import subprocess
import sys
import uuid
from dataclasses import FrozenInstanceError
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gnnrec import Training, train
from gnnrec_registry import ModelStore, RegistryError, Version
from gnnrec_registry.errors import PromotionRefused
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.data.reading.frames import write
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidConfig, InvalidData
from tests.end_to_end.command import ok

USERS, ITEMS = 24, 16
PAIRS = [(user, item) for user in range(USERS) for item in range(ITEMS) if (user + item) % 2 == 0]
ROWS = [PAIRS[place * 37 % len(PAIRS)] for place in range(len(PAIRS))]
INTERACTIONS: dict[str, list[Any]] = {
    # above 2^53: a float64 would change them
    "user_id": [9_007_199_254_740_993 + user for user, _ in ROWS],
    "item_id": [f"i{item}" for _, item in ROWS],
    "bought_at": [datetime(2024, 1, 1) + timedelta(hours=place) for place in range(len(ROWS))],
}
PRODUCTS: dict[str, list[Any]] = {
    "item_id": [f"i{item}" for item in range(ITEMS)],
    "title": [f"Item {item}" for item in range(ITEMS)],
    "level": [None if item == 3 else item % 4 for item in range(ITEMS)],
    "price": [item * 1.25 for item in range(ITEMS)],
}


def opened(training: Training) -> Version:
    return ModelStore(training.registry, training.model).open(training.version)


def content(version: Version) -> tuple[bytes, bytes, str]:
    data = version.manifest.data
    return version.read("users.ids"), version.read("items.ids"), data.fingerprint


def metrics_of(version: Version) -> dict[str, dict[str, Metrics]]:
    return {name: variant.metrics for name, variant in version.manifest.variants.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    pl.DataFrame(INTERACTIONS).write_csv(folder / "purchases.csv")
    pl.DataFrame(PRODUCTS).write_csv(folder / "products.csv")
    return folder


@pytest.fixture(scope="module")
def commanded(files: Path) -> Version:
    """The version that the command trains from the same data as files."""
    data = (files / "purchases.csv", files / "products.csv")
    ok("train", *data, "--minutes", 0, "--registry", files / "registry")
    [found] = ModelStore(files / "registry", "purchases").versions()
    assert isinstance(found, Version)
    return found


def test_files_make_what_the_command_makes_of_them(
    files: Path, commanded: Version, tmp_path: Path
) -> None:
    paths = [files / "purchases.csv", files / "products.csv"]
    trained = train(paths, registry=tmp_path, minutes=0, progress=False)
    assert trained.model == "purchases"
    assert content(opened(trained)) == content(commanded)
    assert opened(trained).manifest.config == commanded.manifest.config
    assert trained.variant == commanded.manifest.default_variant
    assert trained.variants == metrics_of(commanded)
    assert trained.baselines == commanded.manifest.baselines


def test_frames_of_polars_make_the_version_that_files_make(
    commanded: Version, tmp_path: Path
) -> None:
    interactions, items = pl.DataFrame(INTERACTIONS), pl.LazyFrame(PRODUCTS)
    trained = train(interactions, items=items, registry=tmp_path, minutes=0, progress=False)
    assert trained.model == "model"
    assert content(opened(trained)) == content(commanded)
    assert trained.variant == commanded.manifest.default_variant
    assert trained.variants == metrics_of(commanded)
    assert trained.baselines == commanded.manifest.baselines


@pytest.mark.parametrize("form", ["plain", "categorical", "nullable", "objects", "index"])
def test_frames_of_pandas_make_the_version_that_files_make(
    form: str, commanded: Version, tmp_path: Path
) -> None:
    interactions, items = pd.DataFrame(INTERACTIONS), pd.DataFrame(PRODUCTS)
    assert items["level"].dtype == np.float64  # whole numbers, one of them missing
    if form == "categorical":
        interactions = interactions.astype({"user_id": "category", "item_id": "category"})
    elif form == "nullable":
        interactions, items = interactions.convert_dtypes(), items.convert_dtypes()
    elif form == "objects":
        interactions, items = interactions.astype(object), items.astype(object)
    elif form == "index":
        items = items.set_index("item_id")
    trained = train(interactions, items=items, registry=tmp_path, minutes=0, progress=False)
    assert content(opened(trained)) == content(commanded)


def test_frames_and_files_go_together(files: Path, commanded: Version, tmp_path: Path) -> None:
    mixed = train(
        pd.DataFrame(INTERACTIONS),
        items=files / "products.csv",
        registry=tmp_path,
        name="shop",
        minutes=0,
        progress=False,
    )
    assert mixed.model == "shop"
    assert content(opened(mixed)) == content(commanded)
    turned = train(
        files / "purchases.csv",
        items=pd.DataFrame(PRODUCTS),
        registry=tmp_path,
        minutes=0,
        progress=False,
    )
    assert turned.model == "purchases"
    assert content(opened(turned)) == content(commanded)


def test_nothing_of_a_version_names_the_passing_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({**INTERACTIONS, "user_id": [None, *INTERACTIONS["user_id"][1:]]})
    trained = train(frame, items=pl.DataFrame(PRODUCTS), registry=tmp_path, minutes=0)
    version = opened(trained)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"gnnrec-frames-" not in path.read_bytes(), path
    assert version.manifest.config["data"]["interactions"] == "frame of interactions"
    told = capfd.readouterr().err
    assert "the first: frame of interactions row 1" in told
    assert "gnnrec-frames-" not in told


def test_a_dict_is_a_configuration(files: Path, commanded: Version, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "name": "shop",
        "data": {
            "folder": str(files),
            "interactions": pd.DataFrame(INTERACTIONS),
            "time_column": "bought_at",
            "items": {
                "file": Path("products.csv"),
                "features": [
                    {"name": "level", "kind": "categorical"},
                    {"name": "price", "kind": "numeric"},
                    {"name": "tag", "kind": "tags", "file": pl.DataFrame(
                        {"item_id": ["i0", "i1", "i1"], "tag": ["red", "red", "blue"]}
                    )},
                ],
            },
        },
        "split": {"method": "leave_last_out"},
        "spectral": {"embedding_dim": 4},
        "evaluation": {"k": [5]},
    }  # fmt: skip
    trained = train(settings, registry=tmp_path, progress=False)
    assert trained.model == "shop"
    assert set(trained.metrics) == {"test", "validation"}
    assert "recall@5" in trained.metrics["test"]
    # the caller's configuration is unchanged
    assert isinstance(settings["data"]["interactions"], pd.DataFrame)
    version = opened(trained)
    assert content(version)[:2] == content(commanded)[:2]
    data = version.manifest.config["data"]
    assert data["items"]["file"] == "products.csv"
    assert data["items"]["features"][2]["file"] == "frame of items.features.3"


def test_the_path_of_a_configuration_trains_what_it_says(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        f"""
        name = "shop"
        [data]
        interactions = "{files / "purchases.csv"}"
        [spectral]
        embedding_dim = 4
        [evaluation]
        k = [5]
        """
    )
    registry = str(tmp_path / "registry")
    places: list[Path | str] = [path, str(path)]
    versions = set()
    for place in places:  # whose versions have equal files, and are published in the same second
        trained = train(place, registry=registry, progress=False)
        assert (trained.model, trained.registry) == ("shop", registry)
        versions.add(trained.version)
    assert len(versions) == len(places)


def test_a_dict_that_says_something_impossible_is_told_by_its_keys() -> None:
    frame = pl.DataFrame(INTERACTIONS)
    with pytest.raises(InvalidConfig, match=r"^the configuration: name: Field required"):
        train({"data": {"interactions": frame}}, progress=False)
    with pytest.raises(InvalidConfig, match=r"data\.user_colum is no key; is it data\.user_column"):
        train({"name": "x", "data": {"interactions": frame, "user_colum": "u"}}, progress=False)
    for key in ("name", "items", "users"):
        beside: dict[str, Any] = {key: "x"}
        with pytest.raises(InvalidConfig, match=f"^{key} goes with data alone"):
            train("shop.toml", progress=False, **beside)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (7, r"^interactions: a builtins\.int cannot be trained on; give a path, or a frame"),
        (pd.Series([1]), r"^interactions: a pandas\.Series cannot be trained on"),
        ([], "^data is empty"),
        (pl.DataFrame(), "^frame of interactions has no columns"),
        (pl.DataFrame({"user_id": [], "item_id": []}), "^frame of interactions has no rows"),
        (pl.DataFrame({"a": [1], "b": ["x"]}), r"no table has .*frame of interactions: a, b"),
        (
            pl.DataFrame(INTERACTIONS).lazy().select("nothing"),
            "^frame of interactions cannot be computed: ",
        ),
        (
            pd.DataFrame({"user_id": [1.5, 2], "item_id": [1, 2]}),
            r"^frame of interactions row 1, column 'user_id': 1\.5 is not whole",
        ),
        (
            pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "x": [{"a": 1}, None]}),
            "^frame of interactions row 1, column 'x' holds a dict; make it a list or a text",
        ),
        (
            pd.DataFrame({"user_id": [1], "item_id": [1], "x": [1j]}),
            "^frame of interactions, column 'x': values of complex128 cannot be taken",
        ),
        (
            pl.DataFrame({"user_id": [1], "x": pl.Series([{}], dtype=pl.Struct([]))}),
            "^frame of interactions, column 'x': values of Struct.* cannot be taken",
        ),
        (
            pd.DataFrame([[1, 2, 3]], columns=["user_id", "item_id", "user_id"]),
            "^frame of interactions has two columns 'user_id'",
        ),
        (
            pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
            "^frame of interactions has columns of several levels",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_one_sentence(value: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=told) as refused:
        train(value, registry=tmp_path / "registry", progress=False)
    assert "\n" not in str(refused.value)
    assert "gnnrec-frames-" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_items_and_users_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    """The arguments decide, not the names of the columns or the ids in them."""
    pairs = pl.DataFrame({"user_id": [u for u, _ in ROWS], "item_id": [i for _, i in ROWS]})
    items = pl.DataFrame({"id": range(ITEMS), "kind": [f"k{n % 3}" for n in range(ITEMS)]})
    users = pl.DataFrame({"id": range(USERS), "town": [f"t{n % 3}" for n in range(USERS)]})
    trained = train(pairs, items=items, users=users, registry=tmp_path, minutes=0, progress=False)
    features = opened(trained).manifest.features
    assert features is not None
    assert [column.name for column in features.items.columns] == ["kind"]
    assert [column.name for column in features.users.columns] == ["town"]
    strange = pl.DataFrame({"id": ["a", "b"], "kind": ["x", "y"]})
    with pytest.raises(InvalidData, match=r"^frame of items has no column of the ids of items"):
        train(pairs, items=strange, registry=tmp_path, progress=False)


def read(frame: Any, folder: Path) -> Table:
    rows = pl.read_parquet(write(frame, folder, "x"))
    return Table("x", rows, tuple(rows.columns), (Origin("x", 1),))


NONE: list[Any] = [None, float("nan"), pd.NaT, pd.NA, np.float64("nan"), np.datetime64("NaT")]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (np.array([2**64 - 1, 7], np.uint64), ["18446744073709551615", "7"]),
        (pd.array([2**63 - 1, None], "Int64"), ["9223372036854775807", ""]),
        (pd.array(["a", None], "string"), ["a", ""]),
        (pd.Categorical([2**60 + 1, 2**60, None]), [str(2**60 + 1), str(2**60), ""]),
        ([1.0, None, 3.0], ["1", "", "3"]),
        ([2**70, 5, "x"], ["1180591620717411303424", "5", "x"]),
        ([1, "1", "01", 1.0, np.int64(2), Decimal("3.0")], ["1", "1", "01", "1", "2", "3"]),
        (pd.Series([2**53 + 1, None, 4], dtype=object), ["9007199254740993", "", "4"]),
        ([True, "x", b"y"], ["True", "x", "y"]),
        ([uuid.UUID(int=5), None], ["00000000-0000-0000-0000-000000000005", ""]),
        (pd.Series(["x", *NONE], dtype=object), ["x", *[""] * len(NONE)]),
        (pd.arrays.SparseArray([0, 0, 7]), ["0", "0", "7"]),
        (pd.period_range("2024-01", periods=2, freq="M"), ["2024-01", "2024-02"]),
        ([np.str_("a"), "b"], ["a", "b"]),
    ],
)  # fmt: skip
def test_ids_of_pandas_keep_every_digit(values: Any, ids: list[str], tmp_path: Path) -> None:
    assert read(pd.DataFrame({"id": values}), tmp_path).id_texts("id").to_list() == ids


def test_ids_of_objects_in_polars_keep_every_digit(tmp_path: Path) -> None:
    values = [2**60 + 1, "x", uuid.UUID(int=5)]
    frame = pl.DataFrame({"id": pl.Series(values, dtype=pl.Object), "other": [1, 2, 3]})
    table = read(frame, tmp_path)
    assert table.id_texts("id").to_list() == list(map(str, values))
    assert table.columns == ("id", "other")


HOUR = datetime(2024, 1, 31, 10)
NANOSECONDS = "2024-01-31T10:00:00.123456789"


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([HOUR, None], dtype="datetime64[ns]"),
        pd.Series([HOUR, None], dtype="datetime64[s]"),
        pd.Series([HOUR, None]).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        pd.Series([HOUR, pd.NaT], dtype=object),
        pd.Series([pd.Timestamp(HOUR, tz="UTC"), pd.NaT], dtype=object),
        pd.Series([datetime(2024, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))), None]),
        pd.Categorical([HOUR, None]),
    ],
)
def test_moments_of_pandas_are_those_moments(values: Any, tmp_path: Path) -> None:
    table = read(pd.DataFrame({"at": values}), tmp_path)
    assert table.rows["at"].null_count() == 1
    seconds = table.where(np.array([True, False])).numbers("at").to_list()
    assert seconds == [pd.Timestamp(HOUR, tz="UTC").timestamp()]


def test_nanoseconds_dates_and_numbers_of_pandas_are_kept(tmp_path: Path) -> None:
    table = read(
        pd.DataFrame(
            {
                "ns": pd.Series([pd.Timestamp(NANOSECONDS), None], dtype=object),
                "day": [date(2024, 1, 31), None],
                "half": np.array([0.5, np.nan], np.float16),
                "infinite": [np.inf, 1.0],
                "lists": [[2**60 + 1, 2], None],
                "vectors": [np.array([0.5, 1], np.float32), [1, 2]],
                "tags": [("a", "b"), ["c", None]],
                3: [1, 2],
            }
        ),
        tmp_path,
    )  # fmt: skip
    assert table.rows["ns"].to_list() == [NANOSECONDS, None]
    assert table.rows["day"].to_list() == [datetime(2024, 1, 31), None]
    assert table.rows["half"].to_list() == [0.5, None]
    assert table.rows["infinite"].to_list() == [np.inf, 1.0]
    assert table.text_lists("lists", "|") == [[str(2**60 + 1), "2"], []]
    assert table.text_lists("tags", "|") == [["a", "b"], ["c"]]
    vectors = table.vectors("vectors", None)
    assert [None if row is None else row.tolist() for row in vectors] == [[0.5, 1], [1, 2]]
    assert table.columns[-1] == "3"


def test_a_frame_without_an_index_of_names_has_its_columns_alone(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2]}, index=[7, 8])
    assert read(frame, tmp_path).columns == ("x",)
    assert read(frame.rename_axis("n"), tmp_path).columns == ("n", "x")
    both = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["user", "item"])
    table = read(frame.set_index(both), tmp_path)
    assert table.rows.rows() == [("a", 1, 1), ("b", 2, 2)]
    with pytest.raises(InvalidData, match="two columns 'x'"):
        write(frame.rename_axis("x"), tmp_path, "x")


def test_promote_points_an_alias_at_a_version_that_is_no_worse(tmp_path: Path) -> None:
    frame = pl.DataFrame(INTERACTIONS)
    settings = {"name": "shop", "data": {"interactions": frame}, "evaluation": {"k": [5]}}
    with pytest.raises(RegistryError, match="alias"):
        train(frame, registry=tmp_path, promote="no alias", progress=False)
    assert not list(tmp_path.rglob("manifest.json"))
    good = {**settings, "spectral": {"embedding_dim": 2}}
    first = train(good, registry=tmp_path, promote="production", progress=False)
    aliases = ModelStore(tmp_path, "shop").aliases
    assert aliases.get("production").version == first.version
    # what is wider learns noise here: no worse than the baselines, and worse than the first
    poor = {**settings, "spectral": {"embedding_dim": 4}}
    with pytest.raises(PromotionRefused, match="is worse than"):
        train(poor, registry=tmp_path, promote="production", progress=False)
    worst = {**settings, "spectral": {"embedding_dim": 1}}
    with pytest.raises(PromotionRefused, match="does not beat the simple baseline 'item-knn'"):
        train(worst, registry=tmp_path, promote="production", progress=False)
    assert aliases.get("production").version == first.version
    assert len(ModelStore(tmp_path, "shop").versions()) == 3


def test_a_training_shows_its_metrics_and_its_report(tmp_path: Path) -> None:
    frame = pl.DataFrame(INTERACTIONS)
    trained = train(frame, registry=tmp_path, name="shop", minutes=0, progress=False)
    metrics = trained.metrics
    assert metrics == trained.variants[trained.variant]
    assert set(trained.baselines) == {
        "random", "popularity", "item-knn", "als-64", "ease-default", "spectral-64",
    }  # fmt: skip
    assert trained.seconds > 0
    recall = f"recall@10 {metrics['test']['recall@10']:.4f}"
    assert repr(trained).startswith(
        f"Training(shop {trained.version} in {tmp_path}; {trained.variant}, "
    )
    assert recall in repr(trained)
    assert len(repr(trained).splitlines()) == 1
    assert trained.verdict is not None
    header, *rows, sentence, last = str(trained).splitlines()
    assert header.split()[:2] == ["split", "model"]
    beside = rows.index(next(line for line in rows if line.startswith("on test")))
    assert {line.split()[1] for line in rows[:beside]} == {*trained.variants, *trained.baselines}
    served, *others = [line.split()[0] for line in rows[beside + 1 :]]
    assert served == trained.variant
    assert set(others) == set(trained.baselines) - {"random"}
    assert sentence == trained.verdict.sentence
    kept = opened(trained).manifest.verdict
    assert kept is not None
    assert kept.sentence == sentence
    assert trained.version in last
    with pytest.raises(FrozenInstanceError):
        trained.model = "other"  # type: ignore[misc]
    framed = trained._repr_html_()
    found = re.fullmatch(r'<iframe [^<>]*sandbox srcdoc="([^"]*)"[^<>]*></iframe>', framed)
    assert found is not None
    page = html.unescape(found[1])
    assert f'id="version">{trained.version}<' in page
    assert (
        page.replace(trained.version, "(the folder above this one)") == trained.report.read_text()
    )
    trained.report.unlink()
    assert trained._repr_html_().startswith("<pre>split")


def test_what_is_not_measured_says_so(tmp_path: Path) -> None:
    trained = train(
        {
            "name": "shop",
            "data": {"interactions": pl.DataFrame(INTERACTIONS)},
            "split": {"test": 0.0, "validation": 0.0},
            "spectral": {"embedding_dim": 4},
            "evaluation": {"k": [5]},
        },
        registry=tmp_path,
        progress=False,
    )
    assert trained.metrics == {}
    assert "not measured" in repr(trained)
    assert str(trained).startswith("not measured")


def test_progress_is_told_unless_it_is_not_wanted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame(INTERACTIONS)
    train(frame, registry=tmp_path, minutes=0, progress=False)
    assert capfd.readouterr() == ("", "")
    train(frame, registry=tmp_path, minutes=0, promote="production")
    told = capfd.readouterr()
    assert told.out == ""
    assert "frame of interactions: users in 'user_id', items in 'item_id'" in told.err
    assert "production is now " in told.err
    assert "gnnrec init" not in told.err


def test_nothing_of_training_is_imported_before_it_is_wanted() -> None:
    program = (
        "import sys, gnnrec\n"
        "from gnnrec import Training, train\n"
        "print(sorted({'torch', 'polars', 'pandas', 'grpc', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_training_on_frames_of_polars_does_not_import_pandas(tmp_path: Path) -> None:
    program = (
        "import sys, polars as pl\n"
        "from gnnrec_training.data.reading.frames import is_frame, write\n"
        "from pathlib import Path\n"
        "assert is_frame(pl.DataFrame()) and not is_frame({})\n"
        "write(pl.DataFrame({'x': [1]}), Path(sys.argv[1]), 'x')\n"
        "print('pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "package", ["gnnrec", "gnnrec_protos", "gnnrec_registry", "gnnrec_server", "gnnrec_training"]
)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert (Path(module.__file__).parent / "py.typed").is_file()
