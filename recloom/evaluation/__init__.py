"""Ranks, metrics, protocols, intervals and tests; sees vectors and scores, never methods or losses."""

from recloom.evaluation.candidates import check_candidates, given_candidates, sampled_candidates
from recloom.evaluation.intervals import bootstrap
from recloom.evaluation.metrics import coverage, cut_offs, hit_rate, mean_popularity, mrr, ndcg, novelty, recall
from recloom.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from recloom.evaluation.ranks import Evaluator
from recloom.evaluation.report import Evaluation
from recloom.evaluation.tests import compare_paired, holm, paired_difference
from recloom.evaluation.top import top_items

__all__ = [
    "PROTOCOLS",
    "Evaluation",
    "Evaluator",
    "Protocol",
    "bootstrap",
    "check_candidates",
    "compare_paired",
    "coverage",
    "cut_offs",
    "get_protocol",
    "given_candidates",
    "hit_rate",
    "holm",
    "mean_popularity",
    "mrr",
    "ndcg",
    "novelty",
    "paired_difference",
    "recall",
    "sampled_candidates",
    "top_items",
]
