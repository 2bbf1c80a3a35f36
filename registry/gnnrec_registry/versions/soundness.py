"""Checks that a version keeps the format of docs/registry-format.md, as far as its files can show.

U users, I items, D an embedding's width. The manifest alone is checked by `manifest.decode`, and
sizes and sha256 by the caller.
"""

import json
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gnnrec_registry.errors import VersionCorrupt
from gnnrec_registry.features import attributes
from gnnrec_registry.files import layout
from gnnrec_registry.files.arrays import csr_problem, has_controls, is_finite
from gnnrec_registry.files.json import first_problem
from gnnrec_registry.scoring import lists
from gnnrec_registry.scoring.metrics import Hits
from gnnrec_registry.versions.contents import VersionContents
from gnnrec_registry.versions.manifest import NodeModel

_SAFE = {".npy", ".json", ".ids", ".titles", ".texts", ".onnx", ".html", ".png", ".svg"}
_TEXTS = {".html", ".svg"}
_PNG = b"\x89PNG\r\n\x1a\n"
_HELD_OUT = ".held_out.npy"


class _GoldenQuery(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    variant: str
    user_id: str
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]


class _Golden(BaseModel):
    k: Annotated[int, Field(ge=1)]
    queries: tuple[_GoldenQuery, ...]


def check(version: VersionContents, *, finite: bool = True) -> None:
    """Raise VersionCorrupt, which names the problem, if a version breaks the format.

    Without `finite`, embeddings are not searched for NaN: a publish did that when it wrote them.
    """
    for part in (
        _check_kinds, _check_ids, _check_seen, _check_variants, _check_features,
        _check_attributes, _check_golden, _check_report,
    ):  # fmt: skip
        part(version)
    if finite:
        _check_finite(version)


def _broken(version: VersionContents, problem: str) -> VersionCorrupt:
    return VersionCorrupt(f"version {version.name!r}: {problem}")


def _require(version: VersionContents, condition: bool | np.bool_, problem: str) -> None:
    if not condition:
        raise _broken(version, problem)


def _check_kinds(version: VersionContents) -> None:
    """Require file formats that cannot execute code, and arrays that can be memory-mapped."""
    for name, entry in version.manifest.files.items():
        _require(
            version,
            PurePosixPath(name).suffix in _SAFE,
            f"{name} is of no kind that stands in a version: {', '.join(sorted(_SAFE))}",
        )
        if name.endswith(".npy"):
            array = version.array(name)
            _require(version, array.dtype.str[0] in "<|", f"{name} is not little-endian")
            _require(version, array.dtype.kind in "fiu", f"{name} holds {array.dtype}")
            _require(version, array.flags.c_contiguous, f"{name} is not in C order")
            begins = getattr(array, "offset", 0)
            _require(
                version,
                begins + array.nbytes == entry.size,
                f"{name} has {entry.size} bytes, of which its array takes {begins + array.nbytes}",
            )


def _check_ids(version: VersionContents) -> None:
    data = version.manifest.data
    for name, ids, count in (
        (layout.USER_IDS, version.user_ids, data.users),
        (layout.ITEM_IDS, version.item_ids, data.items),
    ):
        _require(
            version, len(ids) == count, f"{name} has {len(ids)} ids, the manifest says {count}"
        )
        distinct = set(ids)
        _require(version, len(distinct) == count, f"{name} has an id twice")
        _require(version, "" not in distinct, f"{name} has an empty id")
        content = np.frombuffer(version.read(name), np.uint8)
        _require(version, not has_controls(content), f"{name} has a control character in an id")
    titles = version.item_titles
    _require(
        version,
        titles is None or len(titles) == data.items,
        f"{layout.ITEM_TITLES} has {len(titles or [])} titles for {data.items} items",
    )


def _check_seen(version: VersionContents) -> None:
    data = version.manifest.data
    problem = csr_problem(*version.seen, data.users, data.items)
    _require(
        version,
        problem is None,
        f"the seen arrays are not a CSR matrix of its users and items: {problem}",
    )
    if layout.SEEN_LIKED in version.manifest.files:
        liked, seen = version.array(layout.SEEN_LIKED), version.seen[1]
        _require(
            version,
            liked.dtype == np.uint8 and liked.shape == seen.shape and bool((liked <= 1).all()),
            f"{layout.SEEN_LIKED} is not a 0 or 1 of uint8 for each of the {len(seen)} seen",
        )


def _check_variants(version: VersionContents) -> None:
    data = version.manifest.data
    for variant, entry in version.manifest.variants.items():
        width = entry.embedding_dim
        _check_matrix(version, layout.users_array(variant), (data.users, width))
        _check_matrix(version, layout.items_array(variant), (data.items, width))
        if entry.fold_in is not None:
            _check_matrix(version, layout.fold_array(variant), (data.items, width))
            folded = sum(segment.width for segment in entry.fold_in.segments)
            _require(
                version,
                folded == width,
                f"variant {variant!r}: the segments of its fold_in are {folded} wide, not {width}",
            )
        if entry.model is not None:
            _check_model(version, variant, entry.model)
        _check_lists(version, variant)


def _check_lists(version: VersionContents, variant: str) -> None:
    found = version.lists(variant)
    if found is None:
        return
    items = version.manifest.data.items
    problem = csr_problem(found.indptr, found.items, items, items)
    _require(
        version,
        problem is None,
        f"variant {variant!r}: its item lists are not a CSR matrix of its items: {problem}",
    )
    problem = lists.problem(found)
    _require(version, problem is None, f"variant {variant!r}: its item lists {problem}")


def _check_model(version: VersionContents, variant: str, model: NodeModel) -> None:
    expected = layout.model_file(variant, model.kind)
    _require(
        version,
        model.file == expected,
        f"variant {variant!r}: its model is {model.file}, not {expected}",
    )
    version.file(model.file)
    _require(
        version,
        version.manifest.features is not None,
        f"variant {variant!r} has a model, and the version no features",
    )
    # whether a hybrid names a graph variant at all is checked by the server, which runs the model
    known = version.manifest.variants.keys()
    _require(
        version,
        model.graph is None or model.graph in known,
        f"variant {variant!r}: its graph variant {model.graph!r} is not one of {sorted(known)}",
    )


def _check_features(version: VersionContents) -> None:
    encoding, data = version.manifest.features, version.manifest.data
    if encoding is None:
        return
    for name, count, encoder in (
        (layout.USER_FEATURES, data.users, encoding.users),
        (layout.ITEM_FEATURES, data.items, encoding.items),
    ):
        _check_matrix(version, name, (count, encoder.width))
        columns = [column.name for column in encoder.columns]
        _require(
            version,
            all(columns) and len(set(columns)) == len(columns),
            f"features: the columns of {name} need distinct names that are not empty",
        )


def _check_attributes(version: VersionContents) -> None:
    entries = version.manifest.attributes
    _require(
        version, len({entry.name for entry in entries}) == len(entries), "an attribute stands twice"
    )
    for entry, attribute in zip(entries, version.attributes().values(), strict=True):
        problem = attributes.problem(entry, attribute, version.manifest.data.items)
        _require(version, problem is None, f"attribute {entry.name!a:.60} {problem}")


def _check_finite(version: VersionContents) -> None:
    """Require that embeddings and encoded features hold neither NaN nor infinity."""
    names = [layout.USER_FEATURES, layout.ITEM_FEATURES] if version.manifest.features else []
    for variant, entry in version.manifest.variants.items():
        names += [layout.users_array(variant), layout.items_array(variant)]
        names += [layout.fold_array(variant)] if entry.fold_in is not None else []
    for name in names:
        _require(version, is_finite(version.array(name)), f"{name} holds NaN or infinity")


def _check_golden(version: VersionContents) -> None:
    """Require answers of known users and items in the right order; scores are not recomputed."""
    try:
        golden = _Golden.model_validate_json(version.read(layout.GOLDEN), strict=True)
    except ValidationError as error:
        raise _broken(version, f"{layout.GOLDEN}: {first_problem(error)}") from None
    users = _rows(version.user_ids, {query.user_id for query in golden.queries})
    items = _rows(version.item_ids, {item for query in golden.queries for item in query.item_ids})
    indptr, seen = version.seen
    for number, query in enumerate(golden.queries):
        where = f"{layout.GOLDEN}: query {number}"
        known = version.manifest.variants
        _require(version, query.variant in known, f"{where} is of another variant than {[*known]}")
        _require(version, query.user_id in users, f"{where} is of a user who is not there")
        _require(
            version, items.keys() >= {*query.item_ids}, f"{where} has an item that is not there"
        )
        row = users[query.user_id]
        had = seen[indptr[row] : indptr[row + 1]]
        answer = np.array([items[item] for item in query.item_ids], np.int64)
        _require(version, not np.isin(answer, had).any(), f"{where} has an item that was seen")
        expected = min(golden.k, version.manifest.data.items - len(had))
        _require(
            version,
            len(answer) == len(query.scores) == expected,
            f"{where} has {len(answer)} items and {len(query.scores)} scores, not {expected}",
        )
        scores = np.array(query.scores)
        ordered = (scores[1:] < scores[:-1]) | (
            (scores[1:] == scores[:-1]) & (answer[1:] > answer[:-1])
        )
        _require(
            version, ordered.all(), f"{where} is not by score descending, then by ascending row"
        )


def _rows(ids: list[str], wanted: set[str]) -> dict[str, int]:
    """Return the row of each wanted id that exists."""
    if not wanted:
        return {}
    return {text: row for row, text in enumerate(ids) if text in wanted}


def _check_report(version: VersionContents) -> None:
    try:
        report = json.loads(version.read(layout.REPORT))
    except (ValueError, RecursionError) as error:
        raise _broken(version, f"{layout.REPORT} is not JSON: {error}") from None
    _require(version, isinstance(report, dict), f"{layout.REPORT} is no JSON object")
    # the counts of held-out items first: the checks of ranks read them
    for name in sorted(version.manifest.files, key=lambda name: not name.endswith(_HELD_OUT)):
        suffix = PurePosixPath(name).suffix
        if suffix in _TEXTS:
            _require(version, _is_text(version.read(name)), f"{name} is not UTF-8")
        elif suffix == ".png":
            _require(version, version.read(name).startswith(_PNG), f"{name} is no PNG picture")
        elif suffix == ".npy" and name.startswith("report/"):
            _check_report_array(version, name)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_report_array(version: VersionContents, name: str) -> None:
    array = version.array(name)
    if name.endswith(_HELD_OUT):
        users = version.manifest.data.users
        _require(
            version,
            array.dtype.kind == "u" and array.shape == (users,),
            f"{name} is {array.dtype} {array.shape}, not unsigned ({users},)",
        )
    elif array.dtype == np.float32 and array.ndim == 2:
        _require(version, is_finite(array), f"{name} holds NaN or infinity")
    else:
        problem = _ranks_problem(version, name, array)
        _require(version, problem is None, f"{name} {problem}")


def _ranks_problem(version: VersionContents, name: str, packed: NDArray[Any]) -> str | None:
    """Return what is wrong with packed ranks (H + V,) of the hits of V users, or None."""
    if packed.dtype.kind != "u" or packed.ndim != 1:
        return f"is {packed.dtype} {packed.shape}, not unsigned (H + V,)"
    split = name.removesuffix(".npy").rpartition(".")[2]
    held_out = version.array(f"report/{split}{_HELD_OUT}")
    sizes = held_out[held_out > 0]
    if len(packed) and packed[-1] != 0:
        return "does not end with a 0"
    try:
        hits = Hits.unpacked(packed, sizes)
    except ValueError as error:
        return f"has {error}"
    same = hits.places[1:] == hits.places[:-1]
    if (same & (hits.ranks[1:] <= hits.ranks[:-1])).any():
        return "has ranks that do not ascend within a user"
    if (np.bincount(hits.places, minlength=len(sizes)) > sizes).any():
        return "has a user with more hits than held-out items"
    return None


def _check_matrix(version: VersionContents, name: str, shape: tuple[int, int]) -> None:
    array = version.array(name)
    _require(
        version,
        array.dtype == np.float32 and array.shape == shape,
        f"{name} is {array.dtype} {array.shape}, not float32 {shape}",
    )
