"""ATRC: adaptive task-relational context (Bruggemann et al., ICCV 2021).

Each task pools context from every task, itself included. The genotype says which kind of context each ordered pair of
tasks uses. It is a published one, a given one, or one that a search finds (SNAS).
"""

# B batch, C channels of a task's features, H W rows and columns, K classes of a label

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Method, Outputs, Target
from mtlbench.methods.parts.context import KINDS, FixedContext, SearchedContext, class_tokens
from mtlbench.methods.parts.heads import concatenate, linear_classifier
from mtlbench.methods.parts.layers import conv_bn, conv_bn_relu, size_of, upsample
from mtlbench.methods.parts.order import ATRC_ORDER, in_order

Genotype = dict[str, dict[str, str]]  # target -> source -> kind of context


def _rows(sources: str, **targets: str) -> Genotype:
    return {target: dict(zip(sources.split(), kinds.split(), strict=True)) for target, kinds in targets.items()}


# What the authors' search found for HRNet-18, by data set.
PUBLISHED: dict[str, Genotype] = {
    "published_nyud": _rows(
        "semseg depth normals edge",
        semseg="tlabel tlabel slabel slabel",
        depth="slabel tlabel slabel slabel",
        normals="slabel tlabel tlabel slabel",
        edge="tlabel tlabel global tlabel",
    ),
    "published_pascal": _rows(
        "semseg human_parts saliency normals edge",
        semseg="tlabel tlabel slabel none slabel",
        human_parts="tlabel tlabel slabel tlabel slabel",
        saliency="tlabel tlabel tlabel slabel tlabel",
        normals="tlabel tlabel tlabel tlabel slabel",
        edge="tlabel tlabel tlabel global tlabel",
    ),
}  # fmt: skip


def choose_genotype(option: str | Mapping[str, Mapping[str, str]], tasks: Sequence[str]) -> tuple[str, Genotype]:
    """The name of the genotype that `option` stands for, and its kind of context for every ordered pair of `tasks`.

    "published" stands for "published_nyud" where depth is among the tasks, and for "published_pascal" elsewhere. Where
    a genotype has more tasks, only its entries for `tasks` are used. Raises ValueError that names the pair or the
    choices.
    """
    if option == "published":
        option = "published_nyud" if "depth" in tasks else "published_pascal"
    if isinstance(option, str) and option in KINDS[1:]:
        return option, {target: dict.fromkeys(tasks, option) for target in tasks}
    if isinstance(option, str) and option not in PUBLISHED:
        raise ValueError(
            f"atrc: genotype {option!r} is not known; it is published, {', '.join(PUBLISHED)}, {', '.join(KINDS[1:])}, "
            "search, or a mapping target -> source -> kind"
        )
    name, table = (option, PUBLISHED[option]) if isinstance(option, str) else ("given", option)
    chosen: Genotype = {}
    for target in tasks:
        for source in tasks:
            kind = table.get(target, {}).get(source)
            if kind is None:
                raise ValueError(
                    f"atrc: genotype {name} has no context for target {target}, source {source}; "
                    f"choose {', '.join(KINDS[1:])} for all pairs, search, or give a mapping with every pair of tasks"
                )
            if kind not in KINDS:
                raise ValueError(f"atrc: genotype[{target}][{source}] is {kind!r}; kinds are {', '.join(KINDS)}")
            chosen.setdefault(target, {})[source] = kind
    return name, chosen


class ATRC(Method):
    """The features of each task pool context from all tasks before the prediction.

    There are five kinds of context:
      "global": linear attention over all pixels;
      "local": attention over the 9 x 9 pixels around each pixel;
      "tlabel", "slabel": attention over the average features of each class of a label, where the label is the target's
        or the source's. The averages come from auxiliary `label_logits`, which have one logit for each class of the
        discretised label;
      "none": no context.
    A search trains all kinds of all pairs and reports the table in `findings`. A training from scratch with this table
    follows, and this second training is the one to score.

    Saliency and edge have one final channel, as everywhere here. The authors' code gives saliency two channels.

    Options:
        genotype: which kind of context each ordered pair of tasks uses: one kind for all pairs, a mapping target ->
            source -> kind, "search", or a published table: "published_nyud", "published_pascal", or "published", which
            is the first table where depth is among the tasks, and the second elsewhere.
    """

    entropy_weight: Tensor

    def __init__(
        self,
        backbone: Backbone,
        targets: Mapping[str, Target],
        *,
        genotype: str | Mapping[str, Mapping[str, str]] = "published",
    ) -> None:
        super().__init__()
        targets = in_order(targets, ATRC_ORDER)
        tasks = list(targets)
        fused = sum(backbone.channels)
        channels, width = fused // 4, fused // 4 // 2
        self.searches = genotype == "search"
        self.genotype_name, self.genotype = ("search", {}) if self.searches else choose_genotype(genotype, tasks)
        if self.searches:
            # A task has no S-label context from itself, since this would equal its T-label context.
            self.context = _pairs(tasks, lambda t, s: SearchedContext(KINDS[: 4 if t == s else 5], channels, width))
            labelled = tasks
            self.register_buffer("entropy_weight", torch.tensor(-0.02))
        else:
            table = self.genotype
            self.context = _pairs(
                tasks, lambda t, s: FixedContext(table[t][s], channels, width) if table[t][s] != "none" else None
            )
            labelled = [task for task in tasks if _reads_labels_of(table, task)]
        self.backbone = backbone
        self.trunk = nn.ModuleDict({task: conv_bn_relu(fused, channels, 3) for task in tasks})
        self.label_branch = nn.ModuleDict(
            {
                task: nn.Sequential(*conv_bn_relu(fused, fused, 1), linear_classifier(fused, targets[task].classes))
                for task in labelled
            }
        )
        num_sources = {target: len(_modules(sources)) for target, sources in self.context.items()}
        self.project = nn.ModuleDict({task: _zero_conv_bn(width * n, channels) for task, n in num_sources.items() if n})
        self.bottleneck = nn.ModuleDict(
            {task: conv_bn_relu(2 * channels if n else channels, channels, 1) for task, n in num_sources.items()}
        )
        self.dropout = nn.Identity() if self.searches else nn.Dropout2d(0.05)
        self.predict = nn.ModuleDict({task: linear_classifier(channels, t.channels) for task, t in targets.items()})

    def forward(self, image: Tensor) -> Outputs:
        fused = concatenate(self.backbone(image))  # [B, 270, H/4, W/4]
        features = {task: extract(fused) for task, extract in self.trunk.items()}
        # The gradients of the label logits' losses stop here: the backbone learns from the final losses alone.
        label_logits = {task: branch(fused.detach()) for task, branch in self.label_branch.items()}
        probability = {task: logits.flatten(2).softmax(2) for task, logits in label_logits.items()}  # over pixels
        final = {}
        for target, sources in self.context.items():
            x = features[target]
            pooled = [
                context(x, partial(_seen, target, source, features, probability))
                for source, context in _modules(sources).items()
            ]
            if pooled:
                x = torch.cat([x, self.project[target](torch.cat(pooled, dim=1))], dim=1)
            x = self.dropout(self.bottleneck[target](x))
            final[target] = upsample(self.predict[target](x), size_of(image))
        return Outputs(final, auxiliary=[], label_logits=label_logits, penalty=self._penalty())

    def _searched(self) -> list[SearchedContext]:
        return [module for module in self.context.modules() if isinstance(module, SearchedContext)]

    def _penalty(self) -> Tensor | None:
        if not (self.searches and self.training):
            return None
        return self.entropy_weight * torch.stack([pair.entropy() for pair in self._searched()]).mean()

    def at(self, progress: float) -> None:
        """In a search, advance the choice of every pair, and raise the weight of the entropy from -0.02 to 0.06.

        So the objective rewards undecided pairs in the first quarter of training, and punishes them after it.
        """
        if self.searches:
            self.entropy_weight.fill_(-0.02 + 0.08 * progress)
            for pair in self._searched():
                pair.at(progress)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The weights. In a search, the architecture's parameters too: Adam trains them, on the same batches."""
        if not self.searches:
            return super().parameter_groups()
        alphas = [pair.alpha for pair in self._searched()]
        own = {id(alpha) for alpha in alphas}
        return [
            {"params": [p for p in self.parameters() if p.requires_grad and id(p) not in own]},
            {"params": alphas, "optimizer": "adam", "lr": 5e-4, "weight_decay": 0.0, "schedule": "constant"},
        ]

    def findings(self) -> dict[str, Any]:
        """The genotype (target -> source -> kind) and its source. In a search, the kinds are the best ones so far."""
        genotype = dict(self.genotype)
        for target, sources in self.context.items() if self.searches else ():
            pairs = _modules(sources).items()
            genotype[target] = {source: pair.found() for source, pair in pairs if isinstance(pair, SearchedContext)}
        return {"genotype": genotype, "genotype_from": self.genotype_name}

    @classmethod
    def preliminary(cls, options: Mapping[str, Any]) -> bool:
        return options.get("genotype") == "search"

    @classmethod
    def follow_up(cls, options: Mapping[str, Any], findings: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a training with the genotype that the search found."""
        return {**options, "genotype": findings["genotype"]}


def _pairs(tasks: Sequence[str], make: Callable[[str, str], nn.Module | None]) -> nn.ModuleDict:
    """target -> source -> make(target, source), without the pairs for which `make` returns None."""
    made = {target: {source: make(target, source) for source in tasks} for target in tasks}
    return nn.ModuleDict(
        {
            target: nn.ModuleDict({source: module for source, module in row.items() if module is not None})
            for target, row in made.items()
        }
    )


def _modules(module: nn.Module) -> nn.ModuleDict:
    assert isinstance(module, nn.ModuleDict)
    return module


def _reads_labels_of(genotype: Genotype, task: str) -> bool:
    as_target = "tlabel" in genotype[task].values()
    return as_target or any(row[task] == "slabel" for row in genotype.values())


def _seen(
    target: str, source: str, features: Mapping[str, Tensor], probability: Mapping[str, Tensor], kind: str
) -> Tensor:
    """What a context of `kind` for `target` sees of `source`: a map [B, C, H, W], or class tokens [B, C, K, 1]."""
    if kind in ("global", "local"):
        return features[source]
    return class_tokens(features[source], probability[target if kind == "tlabel" else source])


def _zero_conv_bn(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution and a batch norm that starts at zero, so that at first only a task's own features pass."""
    block = conv_bn(in_channels, out_channels, 1)
    norm = block[1]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    return block
