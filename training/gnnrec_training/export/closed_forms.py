"""Models that are computed and not trained in epochs: spectral, EASE, ALS and co-occurrence."""

import torch
from torch import Tensor

from gnnrec_registry import VariantExport
from gnnrec_training.config import AlsConfig, CooccurrenceConfig, EaseConfig, SpectralConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.export.arrays import one_segment, variant_export
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.als import FOLD_EXPONENT, als
from gnnrec_training.models.cooccurrence import cooccurrence
from gnnrec_training.models.ease import ease, ease_exponents, ease_lists, ease_width
from gnnrec_training.models.item_lists import ListModel
from gnnrec_training.models.spectral import Spectrum, from_spectrum, spectrum
from gnnrec_training.models.unseen import place_unseen
from gnnrec_training.reporter import ShareDone

_KEPT = 3


def _unseen(share: float) -> None:
    """Show nothing."""


class ClosedForms:
    """Computes such models over the edges of one graph.

    The spectra computed last are kept, for models that differ in what is made of one.
    """

    def __init__(
        self,
        edges: Interactions,
        users: int,
        items: int,
        seed: int,
        *,
        weighted: bool,
        share_done: ShareDone = _unseen,
    ) -> None:
        """Compute over `edges`; weighted: whether a new user's interactions count by weight."""
        self._edges, self._users, self._items = edges, users, items
        self._seed, self._weighted, self._share_done = seed, weighted, share_done
        self._spectra: dict[tuple[float, float], Spectrum] = {}

    def spectral(self, config: SpectralConfig) -> VariantExport:
        """Compute the spectral model of [spectral]."""
        exponents = config.user_exponent, config.item_exponent
        found = self._spectrum(exponents, config.embedding_dim)
        return self._variant(*from_spectrum(found, config), 0)

    def ease(self, config: EaseConfig) -> VariantExport:
        """Compute the item-item regression of [ease], as embeddings or as lists."""
        found = self._spectrum(ease_exponents(config), ease_width(config, self._users, self._items))
        if config.neighbours:
            return self._of_lists(ease_lists(found, config))
        return self._variant(*ease(found, config), 0)

    def als(self, config: AlsConfig) -> VariantExport:
        """Compute the factorization of [als]."""
        embeddings, fold = als(
            self._edges, self._users, self._items, config, self._generator(), self._share_done
        )
        return self._variant(embeddings, fold, FOLD_EXPONENT)

    def cooccurrence(self, config: CooccurrenceConfig) -> VariantExport:
        """Compute the lists of [cooccurrence]."""
        return self._of_lists(cooccurrence(self._edges, self._users, self._items, config))

    def _spectrum(self, exponents: tuple[float, float], width: int) -> Spectrum:
        kept = self._spectra.pop(exponents, None)
        if kept is None or kept.vectors.shape[1] < min(width, self._items):
            size = self._users, self._items
            generator = self._generator()
            kept = spectrum(self._edges, *size, exponents, width, generator, self._share_done)
        self._spectra[exponents] = kept
        while len(self._spectra) > _KEPT:
            self._spectra.pop(next(iter(self._spectra)))
        return kept

    def _variant(
        self, embeddings: EmbeddingPair, fold: Tensor, degree_exponent: float
    ) -> VariantExport:
        segment = one_segment(fold, degree_exponent, weighted=self._weighted)
        return variant_export(place_unseen(embeddings, self._edges), fold=fold, fold_in=segment)

    def _of_lists(self, made: ListModel) -> VariantExport:
        embeddings, fold, lists = made
        segment = one_segment(fold, 1, weighted=False)
        return variant_export(embeddings, fold=fold, fold_in=segment, lists=lists)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed)
