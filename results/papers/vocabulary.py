"""The words of printed tables: metrics and their directions, tasks, baselines, and columns that are no metric."""

from __future__ import annotations

import re

from mtlbench.results.papers.reading.numbers import clean

UP, DOWN = "\u2191\u21d1\u25b2\u2b06\u2197", "\u2193\u21d3\u25bc\u2b07\u2198"


def _any(words: str) -> re.Pattern[str]:
    """One of several words, which are patterns with spaces between them."""
    return re.compile("|".join(words.split()), re.IGNORECASE)


_HIGHER = _any(
    r"""
    higher\s*(is\s*)?(the\s*)?better \bhib\b (?<!\w)max(?!\w) \blarger\s*(is\s*)?better
    """
)
_LOWER = _any(
    r"""
    lower\s*(is\s*)?(the\s*)?better \blib\b (?<!\w)min(?!\w) \bsmaller\s*(is\s*)?better
    """
)
# Metrics. The first list that knows a word decides.
_ERRORS = _any(
    r"""
    \b(abs|rel|sq|l1|l2|acc|mean|avg|angle|angular|depth|normal|pred)\w*\.?\s*[-_]?\s*(err(or)?|dist(ance)?)s?\b
    rmse \b(i|log|si|m)?rms \bmn?se\b \bmae\b \berr(or)?s?\b \bm?err\b \bloss\b \babs\b \brel\b absrel sqrel
    \bepe\b lpips \bfid\b silog log_?\s?10 \bmde\b \bwer\b perplexity \bppl\b \baepe\b \bmad\b \bnll\b
    \bbrier\b \becei?\b \bmpjpe\b
    """
)
_SCORES = _any(
    r"""
    iou\b \biou jaccard pix(el)?[-_.\s]*acc acc(uracy)?\b \bp\.?\s?acc \bm?acc \bf[-_]?1\b
    f[-_\s]?(score|measure|beta) max[-_\s]?f \bods \bois\b \bm?ap(\d\d)?\b \bar\b \bau(c|roc|prc) \bdice
    precision recall psnr ssim \bpq\b \u03b4 \bdelta\s*[_<\s]*\d \bd[123]\b \bwithin\b 11[.,]25 22[.,]50?\b
    \b30\b 30\u00b0 \br[2\u00b2] bleu rouge top[-_\s]?[15] \bcorr spearman pearson kappa \bmcc\b ndcg \bhr@
    \bhit \bmota\b \bnds\b success \bscore\b \bem\b s[-_]?measure
    """
)
_MEANS = _any(r"\bmean\b \bmed(ian)?\b \bangle\b \bl[12]\b \bdist(ance)?\b \brmse\b")
# Tasks by their names, and whether higher is better in the metric that they usually have.
TASKS = {
    "parts": (_any(r"parts?\b parsing"), True),
    "saliency": (_any(r"\bsal"), True),
    "edges": (_any(r"edge bound contour"), True),
    "normals": (_any(r"norm"), False),
    "disparity": (_any(r"dispar"), False),
    "depth": (_any(r"dep(th)?\b depth"), False),
    "instances": (_any(r"\binst"), None),
    "detection": (_any(r"detect \bdet\b"), True),
    "classification": (_any(r"classif recogn \bcls\b scene"), True),
    "flow": (_any(r"\bflow\b \bepe"), False),
    "segmentation": (_any(r"seg \bss\b"), True),
}
# The task that a metric is usually of, where its column names none.
_USUALLY = {
    "segmentation": _any(r"iou\b pix(el)?[-_.\s]*acc \bp\.?\s?acc"),
    "normals": _any(r"\bmean\b \bmed(ian)?\b 11[.,]25 22[.,]50?\b \b30\b angle within"),
    "depth": _any(r"\babs \brel rmse"),
    "edges": _any(r"\bods"),
    "saliency": _any(r"max[-_\s]?f"),
}
DELTA = _any(
    r"""
    (?-i:Δ) \bdelta(?!\s*[_<\s]*\d) \bdelta_?m \u03b4[_\s]*m \bmtl\s*(gain|perf)
    relative\s+\w*\s*(gain|improv|drop|change|perf)
    \b(avg|average|mean|overall|total|multi[-\s]?task)\.?\s+\w*[-\s]*(gain|improv|drop|degrad|perf)
    performance\s(gain|drop|change) ^\W*(rel\.?\s*)?(gain|improv(ement)?|impr|drop|rel\.?\s*gain)s?\.?\W*$
    avg\.?\s*rel\.?\s*(impr|gain)
    """
)
OTHER = _any(
    r"""
    ^\W*mr\b mean\s*rank avg\.?\s*rank average\s*rank \brank(ing)?\b par(am(eter)?s?|ams)\b ^# #\s*p\b
    flops?\b \bmacs?\b gmac gflop epoch \btime\b speed \bfps\b latency memory \bmem\b \bgpu\b
    iter(ation)?s?\b \bsteps?\b \blr\b learning\srate batch \byear\b venue \bpub backbone encoder \bsize\b
    \bseeds?\b \bruns?\b weights?\b(?!ed) \bratio\b \bcost\b throughput \bhours?\b \bms\b storage trainable
    tunable inference \bmb\b \bgb\b resolution \bdim\b overhead sparsity relative\ssize
    ^\W*(avg|average|overall|sum|total)\.?\s*[\u2191\u2193()]*\W*$ p[-\s]?value num\.?\s number\sof \bno\.\s
    \bref
    """
)
METHOD = _any(
    r"""
    \b(method|model|approach|algorithm|strategy|architecture|network|configuration|setting|variant|baseline)s?\b
    """
)
SINGLE = _any(
    r"""
    single[-\s_]*(task|net|model)? \bstl?\b \bstl independent individual dedicated specialist
    task[-\s]specific separate per[-\s]task\s(model|network|train)
    """
)
MULTI = _any(r"multi[-\s]*task \bmtl\b \bmt\b uniform joint shared")
BY_TASK = _any(
    r"""
    task[-\s]*(weighted|wise|avg|average|level) per[-\s]?task by\stask \btasks?\b.*\bweight
    """
)
BY_METRIC = _any(r"metric[-\s]*(weighted|wise|avg|average|level) per[-\s]?metric by\smetric")


def arrow(text: str) -> bool | None:
    """Whether higher is better, as an arrow or words like "lower is better" say; None where a text says neither."""
    marks = [mark in UP for mark in text if mark in UP + DOWN]
    if marks:
        return marks[-1]
    if _LOWER.search(text):
        return False
    return True if _HIGHER.search(text) else None


def direction(parts: list[str]) -> bool | None:
    """Whether higher is better in a column with these headers, from the upper to the lower; None: nobody knows."""
    for part in reversed(parts):
        said = arrow(part)
        if said is not None:
            return said
    for part in reversed(parts):
        for words, higher in ((_ERRORS, False), (_SCORES, True), (_MEANS, False)):
            if words.search(part):
                return higher
    for part in reversed(parts):
        for words, towards in TASKS.values():
            if words.search(part):
                return towards
    return None


def metric(parts: list[str]) -> bool:
    """Whether the headers of a column name a metric or a task."""
    said = " ".join(parts)
    return any(words.search(said) for words in (_ERRORS, _SCORES, _MEANS, *(words for words, _ in TASKS.values())))


def task(parts: list[str]) -> str | None:
    """The task that a column belongs to, as its upper header says it, or else its metric."""
    known = [*((name, words) for name, (words, _) in TASKS.items()), *_USUALLY.items()]
    return next((name for name, words in known for part in parts if words.search(part)), None)


def delta(parts: list[str]) -> bool:
    """Whether the headers name a relative gain, and not the change of a count."""
    said = clean(" ".join(parts))
    return bool(DELTA.search(said)) and not other([part for part in parts if DELTA.search(part)] or parts, strict=True)


def other(parts: list[str], *, strict: bool = False) -> bool:
    """Whether the headers name a count, a cost or a rank. strict: leave out words that a gain may go with."""
    said = parts[-1] if parts else ""
    words = re.sub(r"(?i)weights?|average|avg|overall|total|sum|relative", " ", said) if strict else said
    return bool(OTHER.search(words))


def single_task(name: str) -> bool:
    """Whether a row is named as single-task models are."""
    return bool(SINGLE.search(name)) and not re.search(r"(?i)\bw/o?\b|\bvs\b|baseline\s*:\s*uniform", name)
