"""Exact search by a scan of 8-bit codes, as one model that ONNX Runtime runs.

Items are rounded to codes, with a unit u_d for each dimension, and a query to whole steps s:

    x / u     = c + e      item x, its code c = round(x / u), and what rounding lost
    q * u / s = r + d      query q, rounded r, the rest d; s = max |q * u| / 127

The products <r, c> are those of small whole numbers: several times faster than those of the
embeddings, and from a quarter of the bytes. They are near the scores, by the Cauchy-Schwarz
inequality no further than

    <q, x> = s (<r, c> + <d, c> + <r + d, e>)
    |<q, x> / s - <r, c>|  <=  |d| max|c| + |r + d| max|e|  =  w       both maxima over all items

So the C items with the largest products are candidates, and are scored again from the embeddings in
double precision. Let p be the C-th largest product: no item that is left has a score above
s (p + w). Where the k-th best score of the candidates is above that, they hold the answer for
certain; elsewhere the caller searches in another way. `_rounding` bounds what 32-bit arithmetic
adds.

B queries, I items, D dimensions, C candidates, R results, L pairs of a query and an item that is
left out of its answer.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, parser

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Rows, Scores

_ROWS_AT_A_TIME = 65_536
_LOWEST = np.iinfo(np.int32).min
_ERRORS_ONLY = 3

# The C best items are in the C blocks of 32 whose best items are the best: only these are sorted.
BLOCK = 32

# In the notation above: units u, step s, exact q * u / s, rounded r, rest d, longest max|c|, off
# max|e|, least p, others s (p + w), answer the k-th best score.
# TopK puts the lower place first among equals, so rows are put in order before they are ranked.
# Where too few items are permitted, the numbers that fill the last block are among the candidates
# and are read as the last item; such an answer is never certain.
_SCAN = """
scan (float[B,D] queries, float[I,D] items, int64[L,2] left_out, int32[L] lowest,
      int64[1] candidates, int64[1] k)
  => (float[B,R] scores, int64[B,R] ranked, bool[B] certain)
<uint8 zero = {128}, float shift = {128.0}, float share = {0.007874016}, float tiny = {1e-30},
 int64[1] second = {1}, int64[1] third = {2}, int64[1] last = {-1}, int64 block = {32},
 int64[3] in_blocks = {0, -1, 32}>
{
  inside = Mul(queries, units)
  sizes = Abs(inside)
  largest = ReduceMax<keepdims = 1>(sizes, second)
  some = Mul(largest, share)
  step = Max(some, tiny)
  exact = Div(inside, step)
  rounded = Round(exact)
  shifted = Add(rounded, shift)
  codes_of_queries = Cast<to = 2>(shifted)

  products = MatMulInteger(codes_of_queries, codes, zero)
  permitted = ScatterND(products, left_out, lowest)
  blocks = Reshape(permitted, in_blocks)
  tops = ReduceMax<keepdims = 0>(blocks, third)
  best_tops, chosen = TopK<sorted = 0>(tops, candidates)
  numbers = Unsqueeze(chosen, third)
  members = GatherND<batch_dims = 1>(blocks, numbers)
  line = Flatten(members)
  best, at = TopK(line, candidates)
  place = Div(at, block)
  rest_of_place = Mod(at, block)
  number = GatherElements<axis = 1>(chosen, place)
  first = Mul(number, block)
  found_or_filling = Add(first, rest_of_place)
  found = Min(found_or_filling, last_item)

  rows, places = TopK<largest = 0>(found, candidates)
  near = Gather(items, rows)
  near_double = Cast<to = 11>(near)
  queries_double = Cast<to = 11>(queries)
  columns = Unsqueeze(queries_double, third)
  scores_double = MatMul(near_double, columns)
  scores_of_columns = Squeeze(scores_double, third)
  scores_of_rows = Cast<to = 1>(scores_of_columns)
  scores, ranks = TopK(scores_of_rows, k)
  ranked = GatherElements<axis = 1>(rows, ranks)

  rest = Sub(exact, rounded)
  rest_length = ReduceL2<keepdims = 0>(rest, second)
  length = ReduceL2<keepdims = 0>(exact, second)
  steps = Squeeze(step, second)
  rest_score = Mul(rest_length, longest)
  off_score = Mul(length, off)
  least = Gather<axis = 1>(best, last)
  least_product = Cast<to = 1>(least)
  least_line = Squeeze(least_product, second)
  least_and_rest = Add(least_line, rest_score)
  in_steps = Add(least_and_rest, off_score)
  others = Mul(in_steps, steps)
  lowest_of_answer = Gather<axis = 1>(scores, last)
  answer = Squeeze(lowest_of_answer, second)
  is_above = Less(others, answer)
  floor = Cast<to = 1>(none)
  has_all = Greater(least_line, floor)
  is_exact = And(is_above, has_all)
  is_long_step = Less(tiny, step)
  is_long = Squeeze(is_long_step, second)
  certain = And(is_exact, is_long)
}
"""

_PRODUCT = """
product (uint8[B,64] queries) => (int32[B,64] products) <uint8 zero = {128}>
{ products = MatMulInteger(queries, codes, zero) }
"""


class Best(NamedTuple):
    """Scores and rows (B, k), best first, and for which queries (B,) they are surely the best."""

    scores: Scores
    rows: Rows
    certain: NDArray[np.bool_]


class Scan:
    """Embeddings (I, D), which are not copied, and their codes."""

    def __init__(self, items: Embeddings) -> None:
        """Round embeddings (I, D), which may be mapped from a file.

        Each dimension has a unit of its own, so that its largest number becomes the largest code.
        """
        count, width = items.shape
        largest = np.maximum(items.max(axis=0), -items.min(axis=0))
        units = np.maximum(largest / np.float32(_top()), np.finfo(np.float32).tiny)
        blocks = -(-count // BLOCK)
        codes = np.zeros((width, blocks * BLOCK), np.int8)
        self._filling = np.arange(count, blocks * BLOCK)
        longest = off = 0.0
        for first in range(0, count, _ROWS_AT_A_TIME):
            some = items[first : first + _ROWS_AT_A_TIME]
            exact = np.divide(some, units, dtype=np.float32)
            rounded = np.rint(exact)
            codes[:, first : first + len(rounded)] = rounded.T
            longest = max(longest, _longest(rounded))
            exact -= rounded
            off = max(off, _longest(exact))
        # an input of each run, since a session copies what it is made with
        self._items = onnxruntime.OrtValue.ortvalue_from_numpy(items)
        self._session = _session(
            _SCAN,
            codes=codes,
            last_item=np.int64(count - 1),
            units=units,
            longest=_above(longest),
            off=_above(off + _rounding(width) * (longest + off)),
            none=np.float32(_LOWEST),
        )

    def best(self, queries: Embeddings, k: int, candidates: int, excluded: Sequence[Rows]) -> Best:
        """Return the k best items of each query that are not excluded, from so many candidates.

        queries (B, D), excluded: rows for each query; at most one candidate for each block

        Where fewer items than candidates are permitted, nothing is certain.
        """
        left_out = _pairs([*excluded, *[self._filling] * len(excluded)], len(excluded))
        found = self._session.run(
            None,
            {
                "queries": queries,
                "items": self._items,
                "left_out": left_out,
                "lowest": np.full(len(left_out), _LOWEST, np.int32),
                "candidates": np.array([candidates]),
                "k": np.array([k]),
            },
        )
        return Best(*found)


def _pairs(excluded: Sequence[Rows], queries: int) -> Rows:
    """Return the pairs (L, 2) of a query and a row; the queries' numbers begin again at the end."""
    rows = np.concatenate(excluded)
    made = np.empty((len(rows), 2), np.int64)
    lengths = [len(rows) for rows in excluded]
    made[:, 0] = np.repeat(np.arange(len(excluded)) % queries, lengths)
    made[:, 1] = rows
    return made


def _rounding(width: int) -> float:
    """Bound what 32-bit arithmetic changes in `others`, as a share of the lengths' product.

    That is the length of a query in steps, times the longest code and what it has lost: no score is
    larger. Each sum of `width` squares is off by at most (width + 2) / 2 roundings of 2^-24, of the
    length; the twenty or so other operations, the answer's rounding and that of the scores it is
    compared with by one each, of the same. Twice that is allowed. A step longer than `tiny` keeps
    all this far from where float32 counts in fixed steps.
    """
    return (width + 32) * 2.0**-23


def _above(number: float) -> np.float32:
    """Return a float32 above a number."""
    above: np.float32 = np.nextafter(np.float32(number), np.float32(np.inf))
    return above


def _longest(rows: Embeddings) -> float:
    return float(np.sqrt(np.einsum("id,id->i", rows, rows, dtype=np.float64).max()))


@cache
def _top() -> int:
    """Return the largest code with which this processor multiplies exactly.

    Some add two products in 16 bits, where 2 x 255 x 63 fits and 2 x 255 x 127 does not.
    """
    queries = np.full((2, 64), 255, np.uint8)
    queries[1] = 1
    codes = np.full((64, 64), 127, np.int8)
    codes[:, ::2] = -127
    (products,) = _session(_PRODUCT, codes=codes).run(None, {"queries": queries})
    return 127 if (products == (queries.astype(np.int64) - 128) @ codes).all() else 63


def _session(text: str, **given: Any) -> Any:
    """Return what runs a graph in one thread, with the arrays that it names."""
    graph = parser.parse_graph(text)
    for name, array in given.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        outside = onnx.TensorProto(
            name=name, data_type=kind, dims=array.shape, data_location=onnx.TensorProto.EXTERNAL
        )
        outside.external_data.add(key="location", value="given with the session")
        graph.initializer.append(outside)
    # Old, because every release of ONNX Runtime reads what came before it.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would keep one for each number of queries
    values = [
        onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(value)) for value in given.values()
    ]
    options.add_external_initializers(list(given), values)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
