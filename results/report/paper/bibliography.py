"""BibTeX of the methods that a table compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Work(NamedTuple):
    """A paper of a conference."""

    key: str
    author: str
    title: str
    booktitle: str
    year: int


CVPR = "Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"
CVF = "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)"
ECCV = "Proceedings of the European Conference on Computer Vision (ECCV)"

WORKS = {
    "cross_stitch": Work(
        "misra2016crossstitch",
        "Misra, Ishan and Shrivastava, Abhinav and Gupta, Abhinav and Hebert, Martial",
        "Cross-Stitch Networks for Multi-Task Learning",
        CVPR,
        2016,
    ),
    "pad_net": Work(
        "xu2018padnet",
        "Xu, Dan and Ouyang, Wanli and Wang, Xiaogang and Sebe, Nicu",
        "{PAD-Net}: Multi-Tasks Guided Prediction-and-Distillation Network for Simultaneous Depth Estimation and "
        "Scene Parsing",
        CVPR,
        2018,
    ),
    "jtrl": Work(
        "zhang2018jtrl",
        "Zhang, Zhenyu and Cui, Zhen and Xu, Chunyan and Jie, Zequn and Li, Xiang and Yang, Jian",
        "Joint Task-Recursive Learning for Semantic Segmentation and Depth Estimation",
        ECCV,
        2018,
    ),
    "nddr_cnn": Work(
        "gao2019nddrcnn",
        "Gao, Yuan and Ma, Jiayi and Zhao, Mingbo and Liu, Wei and Yuille, Alan L.",
        "{NDDR-CNN}: Layerwise Feature Fusing in Multi-Task {CNNs} by Neural Discriminative Dimensionality Reduction",
        CVF,
        2019,
    ),
    "mtan": Work(
        "liu2019mtan",
        "Liu, Shikun and Johns, Edward and Davison, Andrew J.",
        "End-to-End Multi-Task Learning with Attention",
        CVF,
        2019,
    ),
    "mti_net": Work(
        "vandenhende2020mtinet",
        "Vandenhende, Simon and Georgoulis, Stamatios and Van Gool, Luc",
        "{MTI-Net}: Multi-Scale Task Interaction Networks for Multi-Task Learning",
        ECCV,
        2020,
    ),
    "atrc": Work(
        "bruggemann2021atrc",
        'Br{\\"u}ggemann, David and Kanakis, Menelaos and Obukhov, Anton and Georgoulis, Stamatios and Van Gool, Luc',
        "Exploring Relational Context for Multi-Task Dense Prediction",
        "Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
        2021,
    ),
    "sca_mtl": Work(
        "kim2022scamtl",
        "Kim, Sunkyung and Choi, Hyesong and Min, Dongbo",
        "Sequential Cross Attention Based Multi-Task Learning",
        "Proceedings of the IEEE International Conference on Image Processing (ICIP)",
        2022,
    ),
}
WITHOUT = ("single_task", "multi_task")  # baselines of no single paper


def bibtex(methods: Mapping[str, str]) -> str:
    """The works of the rows. methods: label -> name of the method. What has no entry is named in a comment.

    BibTeX takes whatever stands outside of an entry for a comment, so a name in such a text must hold no "@".
    """
    parts = []
    rows: dict[str, list[str]] = {}
    for label, method in methods.items():
        rows.setdefault(method, []).append(label)
    for method, labels in rows.items():
        named = " ".join(f"{', '.join(labels)} ({method})".replace("@", "(at)").split())
        if method in WORKS:
            parts.append(f"{named}\n{_entry(WORKS[method])}")
        elif method in WITHOUT:
            parts.append(f"{named}: no entry, since it is the baseline of no single paper.\n")
        else:
            parts.append(f"{named}: no entry, since the method is from outside of mtlbench. Please add its paper.\n")
    return "\n".join(parts)


def _entry(work: Work) -> str:
    key, *values = work
    names = work._fields[1:]
    fields = [f"  {name:9} = {{{value}}}," for name, value in zip(names, values, strict=True)]
    return "\n".join([f"@inproceedings{{{key},", *fields, "}"]) + "\n"
