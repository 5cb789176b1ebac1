"""The words of printed tables: metrics and their directions, tasks, baselines, and columns that are no metric."""

from __future__ import annotations

import re

from mtlbench.results.papers.reading.numbers import clean

UP, DOWN = "\u2191\u21d1\u25b2\u2b06\u2197", "\u2193\u21d3\u25bc\u2b07\u2198"


def _any(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


_HIGHER = _any(r"higher\s*(is\s*)?(the\s*)?better", r"\bhib\b", r"(?<!\w)max(?!\w)", r"\blarger\s*(is\s*)?better")
_LOWER = _any(r"lower\s*(is\s*)?(the\s*)?better", r"\blib\b", r"(?<!\w)min(?!\w)", r"\bsmaller\s*(is\s*)?better")
# Metrics. The first list that knows a word decides.
_ERRORS = _any(
    r"\b(abs|rel|sq|l1|l2|acc|mean|avg|angle|angular|depth|normal|pred)\w*\.?\s*[-_]?\s*(err(or)?|dist(ance)?)s?\b",
    *(r"rmse", r"\b(i|log|si|m)?rms", r"\bmn?se\b", r"\bmae\b", r"\berr(or)?s?\b", r"\bm?err\b", r"\bloss\b", r"\babs\b"),
    *(r"\brel\b", r"absrel", r"sqrel", r"\bepe\b", r"lpips", r"\bfid\b", r"silog", r"log_?\s?10", r"\bmde\b", r"\bwer\b"),
    *(r"perplexity", r"\bppl\b", r"\baepe\b", r"\bmad\b", r"\bnll\b", r"\bbrier\b", r"\becei?\b", r"\bmpjpe\b"),
)  # fmt: skip
_SCORES = _any(
    *(r"iou\b", r"\biou", r"jaccard", r"pix(el)?[-_.\s]*acc", r"acc(uracy)?\b", r"\bp\.?\s?acc", r"\bm?acc", r"\bf[-_]?1\b"),
    *(r"f[-_\s]?(score|measure|beta)", r"max[-_\s]?f", r"\bods", r"\bois\b", r"\bm?ap(\d\d)?\b", r"\bar\b", r"\bau(c|roc|prc)", r"dice"),
    *(r"precision", r"recall", r"psnr", r"ssim", r"\bpq\b", r"\u03b4", r"\bdelta\s*[_<\s]*\d", r"\bd[123]\b", r"\bwithin\b"),
    *(r"11[.,]25", r"22[.,]50?\b", r"\b30\b", r"30\u00b0", r"\br[2\u00b2]", r"bleu", r"rouge", r"top[-_\s]?[15]", r"\bcorr", r"spearman"),
    *(r"pearson", r"kappa", r"\bmcc\b", r"ndcg", r"\bhr@", r"hit", r"\bmota\b", r"\bnds\b", r"success", r"\bscore\b", r"\bem\b", r"s[-_]?measure"),
)  # fmt: skip
_MEANS = _any(r"\bmean\b", r"\bmed(ian)?\b", r"\bangle\b", r"\bl[12]\b", r"\bdist(ance)?\b", r"\brmse\b")
# Tasks by their names, and whether higher is better in the metric that they usually have.
TASKS = {
    "parts": (_any(r"parts?\b", r"parsing"), True),
    "saliency": (_any(r"\bsal"), True),
    "edges": (_any(r"edge", r"bound", r"contour"), True),
    "normals": (_any(r"norm"), False),
    "disparity": (_any(r"dispar"), False),
    "depth": (_any(r"dep(th)?\b", r"depth"), False),
    "instances": (_any(r"\binst"), None),
    "detection": (_any(r"detect", r"\bdet\b"), True),
    "classification": (_any(r"classif", r"recogn", r"\bcls\b", r"scene"), True),
    "flow": (_any(r"\bflow\b", r"epe"), False),
    "segmentation": (_any(r"seg", r"\bss\b"), True),
}
# The task that a metric is usually of, where its column names none.
_USUALLY = {
    "segmentation": _any(r"iou\b", r"pix(el)?[-_.\s]*acc", r"\bp\.?\s?acc"),
    "normals": _any(r"\bmean\b", r"\bmed(ian)?\b", r"11[.,]25", r"22[.,]50?\b", r"\b30\b", r"angle", r"within"),
    "depth": _any(r"\babs", r"\brel", r"rmse"),
    "edges": _any(r"\bods"),
    "saliency": _any(r"max[-_\s]?f"),
}
DELTA = _any(
    *("\u0394", r"\bdelta(?!\s*[_<\s]*\d)", r"\bdelta_?m", r"\u03b4[_\s]*m", r"\bmtl\s*(gain|perf)", r"relative\s+\w*\s*(gain|improv|drop|change|perf)"),
    *(r"\b(avg|average|mean|overall|total|multi[-\s]?task)\.?\s+\w*[-\s]*(gain|improv|drop|degrad|perf)", r"performance (gain|drop|change)"),
    *(r"^\W*(rel\.?\s*)?(gain|improv(ement)?|impr|drop|rel\.?\s*gain)s?\.?\W*$", r"avg\.?\s*rel\.?\s*(impr|gain)"),
)  # fmt: skip
OTHER = _any(
    *(r"^\W*mr\b", r"mean\s*rank", r"avg\.?\s*rank", r"average\s*rank", r"\brank(ing)?\b", r"par(am(eter)?s?|ams)\b", r"^#", r"#\s*p\b"),
    *(r"flops?\b", r"\bmacs?\b", r"gmac", r"gflop", r"epoch", r"\btime\b", r"speed", r"\bfps\b", r"latency", r"memory", r"\bmem\b", r"\bgpu\b"),
    *(r"iter(ation)?s?\b", r"\bsteps?\b", r"\blr\b", r"learning rate", r"batch", r"\byear\b", r"venue", r"\bpub", r"backbone", r"encoder"),
    *(r"\bsize\b", r"\bseeds?\b", r"\bruns?\b", r"weights?\b(?!ed)", r"\bratio\b", r"\bcost\b", r"throughput", r"\bhours?\b", r"\bms\b"),
    *(r"storage", r"trainable", r"tunable", r"inference", r"\bmb\b", r"\bgb\b", r"resolution", r"\bdim\b", r"overhead", r"sparsity", r"relative size"),
    *(r"^\W*(avg|average|overall|sum|total)\.?\s*[\u2191\u2193()]*\W*$", r"p[-\s]?value", r"num\.?\s", r"number of", r"\bno\.\s", r"\bref"),
)  # fmt: skip
METHOD = _any(
    r"\b(method|model|approach|algorithm|strategy|architecture|network|configuration|setting|variant|baseline)s?\b"
)
SINGLE = _any(
    *(r"single[-\s_]*(task|net|model)?", r"\bstl?\b", r"\bstl", r"independent", r"individual", r"dedicated", r"specialist", r"task[-\s]specific"),
    *(r"separate", r"per[-\s]task (model|network|train)",),
)  # fmt: skip
MULTI = _any(r"multi[-\s]*task", r"\bmtl\b", r"\bmt\b", r"uniform", r"joint", r"shared")
BY_TASK = _any(r"task[-\s]*(weighted|wise|avg|average|level)", r"per[-\s]?task", r"by task", r"\btasks?\b.*\bweight")
BY_METRIC = _any(r"metric[-\s]*(weighted|wise|avg|average|level)", r"per[-\s]?metric", r"by metric")


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
