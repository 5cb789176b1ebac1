"""Where the ImageNet weights of a backbone come from, and whether a file holds the weights of a given network."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from mtlbench.methods.outside import is_outside

# The network that the MTL-PyTorch, ATRC and SCA-MTL papers call "HRNet-18" is hrnet_w18_small_v2 with these weights.
# The ResNets of MTL-PyTorch start from the first weights of torchvision, which timm calls tv_in1k.
# Where no tag is given, timm takes a tag that names other weights.
WEIGHTS_TAG = {
    "hrnet_w18_small_v2": "ms_in1k",
    "hrnet_w18": "ms_in1k",
    "resnet18": "tv_in1k",
    "resnet50": "tv_in1k",
}

PICKLED = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")  # how files of torch.save begin, now and before version 1.6

MARK = 1000  # larger than every initial value of a network


def pinned_tag(name: str) -> str:
    import timm

    if name not in WEIGHTS_TAG:
        tagged = timm.list_pretrained(f"{name}.*")
        raise ValueError(
            f"backbone {name!r} has no pinned weights; name them in full: "
            f"{', '.join(tagged) or 'timm has none, set pretrained to false'}"
        )
    return WEIGHTS_TAG[name]


def pretrained_source(name: str) -> tuple[str, str | None, str]:
    """The full name of a network's ImageNet weights, their repository on the Hub, and the name of their file there.

    The repository is None where the weights are not on the Hub. Raises ValueError for a network whose weights are not
    pinned, for a network from outside, and for an unknown tag.
    """
    import timm

    if is_outside(name):
        raise no_imagenet_weights(name)
    tagged = name if "." in name else f"{name}.{pinned_tag(name)}"
    try:
        config = timm.get_pretrained_cfg(tagged)
    except RuntimeError as error:
        raise ValueError(f"backbone {name!r}: {error}") from error
    if config is None:
        return tagged, None, ""
    return tagged, config.hf_hub_id or None, config.hf_hub_filename or "model.safetensors"


def no_imagenet_weights(name: str) -> ValueError:
    """The error for a network from outside, for which timm has no weights."""
    return ValueError(
        f"backbone {name!r} is from outside of the package, and timm has no ImageNet weights for it; set weights to "
        "none, or to a safetensors file of its own state_dict"
    )


def load_own(network: nn.Module, name: str, weights: str) -> None:
    """Load a safetensors file that holds the whole state_dict of a network.

    Raises FileNotFoundError where there is no such file, and ValueError where the file is damaged or belongs to another
    network.
    """
    fetch = "Write one with safetensors.torch.save_file(network.state_dict(), PATH)"
    if not Path(weights).is_file():
        raise FileNotFoundError(f"{name}: no weights at {weights!r}. {fetch}")
    _require_safetensors(weights, fetch)
    try:
        network.load_state_dict(load_file(weights))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ValueError(f"{weights} is a file of another network than {name} ({' '.join(lines[1:3])})") from error


def require_pretrained(name: str) -> None:
    """Raise FileNotFoundError unless the ImageNet weights of `name` are on this machine or can be downloaded now.

    Downloads nothing. Where the internet cannot be reached, the error comes at once, while a download would try for a
    minute. Raises ValueError for a network whose weights are not pinned, and for an unknown tag.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    tagged, repository, file = pretrained_source(name)
    if repository is None:
        return  # not from the Hub
    if isinstance(try_to_load_from_cache(repository, file, cache_dir=constants.HF_HUB_CACHE), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, file), timeout=10)
    except Exception as error:  # its class depends on the HTTP library that the hub uses
        raise FileNotFoundError(
            f"{tagged}: its ImageNet weights are not on this machine, and the Hugging Face Hub cannot be reached "
            f"({type(error).__name__}). Where there is a network: `hf download {repository} {file}`; then copy "
            f"~/.cache/huggingface/hub/models--{repository.replace('/', '--')} from there into {constants.HF_HUB_CACHE}"
        ) from error


def how_to_fetch(name: str) -> str:
    return (
        f"Where there is a network: `hf download timm/{name} model.safetensors --local-dir weights/{name}`; copy that "
        f"folder here and set the backbone's weights to weights/{name}/model.safetensors"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence timm's warning that names each tensor of the head. A backbone does not need the head."""
    logger = logging.getLogger("timm.models._builder")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_file(name: str, base: str, weights: str, options: Mapping[str, Any]) -> None:
    """Refuse a file of another network.

    Without this check, timm would leave tensors that the file lacks at random values, and ignore tensors of the file
    that the network lacks. timm renames the tensors of some networks while it loads them. So each tensor of the file
    is filled with its own number, and these tensors are loaded instead of the file's. The numbers show where each
    tensor arrives. A tensor that arrives nowhere is allowed where it belongs to the head.
    """
    import timm
    from timm.models import load_state_dict

    fetch = how_to_fetch(name if "." in name or base not in WEIGHTS_TAG else f"{name}.{WEIGHTS_TAG[base]}")
    if not Path(weights).is_file():
        raise FileNotFoundError(f"{name}: no weights at {weights!r}. {fetch}")
    _require_safetensors(weights, fetch)
    held = load_state_dict(weights)

    def marked(**options: Any) -> nn.Module:
        numbered = {key: torch.full(held[key].shape, MARK + number + 0.5) for number, key in enumerate(held)}
        with quiet():
            made: nn.Module = timm.create_model(
                name, **{**options, "pretrained": True, "pretrained_cfg_overlay": {"state_dict": numbered}}
            )
        return made

    try:
        # With num_classes=1, timm loads nothing of the file's classifier, which may have any number of classes.
        features, whole = marked(**options).state_dict(), marked(num_classes=1)
    except Exception as error:  # the renaming fails for names of another network; a RuntimeError means other shapes
        first = [line.strip() for line in str(error).splitlines() if line.strip()][:2]
        why = f"{type(error).__name__}: {first[-1]}" if first else type(error).__name__
        raise ValueError(f"{weights} is a file of another network than {base} ({why})") from error
    missing = [key for key, value in features.items() if value.numel() and value.min() < MARK]
    if missing:
        raise ValueError(
            f"{weights}: {len(missing)} of {len(features)} tensors of {base} are missing, such as {missing[0]!r}; "
            "this is a file of another network"
        )
    arrived = {
        int(mark) - MARK
        for state in (features, whole.state_dict())
        for value in state.values()
        for mark in value[value >= MARK].unique_consecutive()
    }
    config: Any = whole.pretrained_cfg
    classifier = config.get("classifier") or ()
    head = {part.split(".")[0] for part in ([classifier] if isinstance(classifier, str) else classifier)}
    # Buffers depend on the version of timm, so only weights are judged: a network with other layers has other weights.
    left = [
        key
        for number, key in enumerate(held)
        if number not in arrived and key.endswith(".weight") and key.split(".")[0] not in head
    ]
    if left:
        raise ValueError(
            f"{weights}: {len(left)} of its {len(held)} tensors are none of {base}, such as {left[0]!r}; "
            "this is a file of another network"
        )


def _require_safetensors(weights: str, fetch: str) -> None:
    """Refuse a file that is not in this format, since reading a pickle can run code that lies in the pickle.

    fetch: a sentence for the error that says how to get the file.
    """
    suffix = Path(weights).suffix
    try:
        with safe_open(weights, framework="pt") as file:
            file.keys()
    except SafetensorError as error:
        with Path(weights).open("rb") as file:
            pickled = file.read(4) in PICKLED
        if suffix == ".safetensors" and not pickled:
            raise ValueError(f"{weights} is damaged or was not copied whole ({error}). {fetch}") from error
        converted = str(Path(weights).with_suffix(".safetensors" if suffix != ".safetensors" else ".new.safetensors"))
        raise ValueError(
            f"{weights} is no safetensors file ({error}). If you trust it, convert it: python -c "
            '"import torch; from safetensors.torch import save_file; '
            f"save_file(torch.load('{weights}', weights_only=True), '{converted}')\""
        ) from error
    if suffix != ".safetensors":
        raise ValueError(f"{weights} holds safetensors under another name; call it {Path(weights).stem}.safetensors")
