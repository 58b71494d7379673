"""Histories in, items out: exact search over the catalogue of a trained method."""

from recloom.recommend.histories import Histories
from recloom.recommend.recommendations import Counts, Recommendations
from recloom.recommend.recommender import Recommender
from recloom.recommend.to_parquet import Written

__all__ = ["Counts", "Histories", "Recommendations", "Recommender", "Written"]
