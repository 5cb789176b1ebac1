"""Small copies of each data set's layout, drawn from a generator: no real picture is needed or shipped."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
from PIL import Image

SIZE = (34, 46)


def ramp(rng, size):
    """A smooth picture, so that JPEG keeps it: uint8 [H, W, 3]."""
    y, x = np.mgrid[: size[0], : size[1]]
    angle = rng.uniform(0, 2 * np.pi, 3)
    wave = np.cos(angle) * x[..., None] / size[1] + np.sin(angle) * y[..., None] / size[0]
    return (128 + 80 * wave).astype(np.uint8)


def blocks(rng, size, ids):
    """A label map of rectangles: uint8 [H, W]."""
    label = np.full(size, ids[0], dtype=np.uint8)
    for value in ids:
        top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
        label[top : top + size[0] // 3, left : left + size[1] // 3] = value
    return label


def normals(rng, size, holes=0.1):
    """Unit vectors towards the viewer with some zero vectors: float32 [H, W, 3]."""
    vectors = rng.normal(size=(*size, 3))
    vectors[..., 2] = np.abs(vectors[..., 2]) + 0.5
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors * (rng.random((*size, 1)) > holes)).astype(np.float32)


def save(path, content):
    """Writes an array or an image by the ending of the name, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, content)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, content)
    elif path.suffix == ".txt":
        path.write_text(content)
    else:
        Image.fromarray(content).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def same(array):
    return array


def eight_bits(vectors):
    return np.round((vectors + 1) * 127.5).astype(np.uint8)


NYUD_FORMATS = {  # layout -> folder -> ending, and what is stored of the truth
    "NYUD_MT": {
        "images": ("jpg", same),
        "segmentation": ("png", same),
        "depth": ("npy", same),
        "normals": ("npy", same),
        "edge": ("npy", same),
    },
    "NYUDv2": {
        "images": ("png", same),
        "segmentation": ("png", same),
        "depth": ("npy", same),
        "normals": ("png", eight_bits),
        "edge": ("png", lambda edge: (edge * 255).astype(np.uint8)),
    },
    "NYUD_MT_mat": {
        "images": ("jpg", same),
        "segmentation": ("mat", lambda segmentation: {"segmentation": segmentation}),
        "depth": ("mat", lambda depth: {"depth": depth}),
        "normals": ("jpg", eight_bits),
        "edge": ("png", lambda edge: (edge * 255).astype(np.uint8)),
    },
}


def nyud(root, layout="NYUD_MT", train=("0001", "0003"), test=("0002",), size=SIZE):
    """NYUD-v2 in one of the layouts in use. Returns {id: {folder: the truth}}."""
    rng = np.random.default_rng(0)
    truth = {}
    for name in (*train, *test):
        depth = rng.uniform(0.8, 9.0, size).astype(np.float32)
        depth[:3, :5] = 0
        truth[name] = {
            "images": ramp(rng, size),
            "segmentation": blocks(rng, size, [0, 1, 17, 40]),
            "depth": depth,
            "normals": normals(rng, size),
            "edge": (rng.random(size) < 0.1).astype(np.float32),
        }
        for folder, (ending, encode) in NYUD_FORMATS[layout].items():
            save(root / folder / f"{name}.{ending}", encode(truth[name][folder]))
    save(root / "gt_sets" / "train.txt", "".join(f"{name}\n" for name in train))
    save(root / "gt_sets" / "val.txt", "".join(f"{name}\n" for name in test))
    return truth


def rooms_as_nyud(root, images=10, size=(96, 128), change=lambda fields: fields):
    """Rooms in the layout NYUD_MT, every fifth for testing. change: of what is stored of an image, to break it."""
    from mtlbench.benchmarks.nyud import CLASSES as NYUD
    from mtlbench.benchmarks.rendering.scenes import render
    from mtlbench.benchmarks.rendering.stage import CLASSES as ROOMS

    number = np.array([NYUD.index(name) + 1 if name in NYUD else 40 for name in ROOMS] + [0] * (256 - len(ROOMS)))
    names = [f"{index:04d}" for index in range(images)]
    for index, name in enumerate(names):
        frame = render((7, 0, index), size, 0.5)
        fields = change(
            {
                "images": np.moveaxis(frame["image"], 0, -1),
                "segmentation": number[frame["semseg"]].astype(np.uint8),
                "depth": frame["depth"][0],
                "normals": np.ascontiguousarray(np.moveaxis(frame["normals"], 0, -1)),
                "edge": frame["edge"].astype(np.float32),
            }
        )
        for folder, array in fields.items():
            save(root / folder / f"{name}.{NYUD_FORMATS['NYUD_MT'][folder][0]}", array)
    test = names[::5]
    save(root / "gt_sets" / "train.txt", "".join(f"{name}\n" for name in names if name not in test))
    save(root / "gt_sets" / "val.txt", "".join(f"{name}\n" for name in test))


CROP = (slice(45, 470), slice(40, 600))  # of 480 x 640


def labelled_mat(root, images=4, train=(1, 4), test=(2,), normals_of=()):
    """The labelled .mat of NYUD-v2's authors with splits and classes. Returns what its images hold, from 0.

    normals_of: numbers of images that have a file of a second source.
    """
    rng = np.random.default_rng(2)
    root.mkdir(parents=True, exist_ok=True)
    truth = []
    mapping = rng.permutation(np.arange(894) % 40 + 1).astype(np.uint8)
    for _ in range(images):
        names = rng.integers(0, 895, (48, 64)).repeat(10, 0).repeat(10, 1).astype(np.uint16)
        depth = rng.uniform(0.8, 9.0, (480, 640)).astype(np.float32)
        truth.append({"image": ramp(rng, (480, 640)), "depth": depth, "names": names})
        truth[-1]["segmentation"] = np.concatenate([[0], mapping])[names]
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        # MATLAB stores columns first, and HDF5 calls the last axis the fastest
        file["images"] = np.stack([entry["image"].transpose(2, 1, 0) for entry in truth])
        file["depths"] = np.stack([entry["depth"].T for entry in truth])
        file["labels"] = np.stack([entry["names"].T for entry in truth])
    numbers = {"trainNdxs": np.uint16(train)[:, None], "testNdxs": np.uint16(test)[:, None]}
    scipy.io.savemat(root / "splits.mat", numbers)
    scipy.io.savemat(root / "classMapping40.mat", {"mapClass": mapping[None].astype(float)})
    for number in normals_of:
        truth[number - 1]["normals"] = normals(rng, (480, 640))
        save(root / "normals" / f"{number:04d}.npy", truth[number - 1]["normals"])
    return truth


def nyuv2_13(root, layout="MTAN_npy", train=3, test=2, size=SIZE):
    """NYUv2 with 13 classes as arrays or parquet files. Returns {(folder, number): {field: the truth}}."""
    rng = np.random.default_rng(3)
    truth = {}
    for split, count in (("train", train), ("val", test)):
        for number in range(count):
            depth = rng.uniform(0.8, 9.0, (*size, 1)).astype(np.float32)
            depth[:3, :5] = 0
            truth[split, number] = {
                "image": (ramp(rng, size) / 255).astype(np.float32),
                "label": blocks(rng, size, [0, 4, 12, 255]).astype(np.int8).astype(np.float32),  # 255 becomes -1
                "depth": depth,
                "normal": normals(rng, size),
            }
    if layout == "MTAN_npy":
        for (split, number), fields in truth.items():
            for field, array in fields.items():
                save(root / split / field / f"{number}.npy", array)
        return truth
    (root / "data").mkdir(parents=True)
    for split, count in (("train", train), ("val", test)):
        files = [list(range(count))[part::2] for part in range(2)]  # two files, and of the first row groups of one
        numbers = iter(range(count))
        for part, rows in enumerate(files):
            held = [truth[split, next(numbers)] for _ in rows]
            table = pa.table(
                {
                    "segmentation": [fields["label"].astype(np.int64).tolist() for fields in held],
                    **{
                        column: [np.moveaxis(fields[field], -1, 0).tolist() for fields in held]
                        for column, field in (("image", "image"), ("depth", "depth"), ("normal", "normal"))
                    },
                }
            )
            types = {name: pa.list_(pa.list_(pa.list_(pa.float32()))) for name in ("image", "depth", "normal")}
            schema = pa.schema({"segmentation": pa.list_(pa.list_(pa.int64())), **types})
            pq.write_table(table.cast(schema), root / "data" / f"{split}-{part:05d}-of-00002.parquet", row_group_size=1)
    return truth


def part_annotation(size, objects):
    """A struct as in PASCAL-Part's files. objects: (class name, class id, mask, [(part name, mask)])."""
    made = np.zeros((1, len(objects)), dtype=[(n, object) for n in ("class", "class_ind", "mask", "parts")])
    for slot, (name, number, mask, parts) in zip(made[0], objects, strict=True):
        slot["class"], slot["class_ind"], slot["mask"] = name, np.uint8(number), mask.astype(np.uint8)
        slot["parts"] = np.zeros((1, len(parts)) if parts else (0, 0), dtype=[("part_name", object), ("mask", object)])
        for entry, (part, part_mask) in zip(slot["parts"].ravel(), parts, strict=True):
            entry["part_name"], entry["mask"] = part, part_mask.astype(np.uint8)
    annotation = np.zeros((1, 1), dtype=[("imname", object), ("objects", object)])
    annotation[0, 0] = ("made", made)
    return {"anno": annotation}


def pascal_mt(root, train=("2008_000002", "2008_000003"), test=("2008_000007",), size=SIZE):
    """PASCAL-Context as the multi-task loaders pass it on. Returns {id: {folder: stored array}}.

    In the first image of either list a person has parts; a dog has in all of them. The first has no VOC mask.
    """
    rng = np.random.default_rng(1)
    palette = [value for i in range(256) for value in (i, (i * 7) % 256, (i * 13) % 256)]
    truth = {}
    for number, name in enumerate((*train, *test)):
        here = size if number != 1 else size[::-1]  # a portrait among them
        chair, person, head, neck = (np.zeros(here, dtype=bool) for _ in range(4))
        chair[20:30, 3:20], person[5:30, 8:30] = True, True
        head[5:14, 12:24], neck[12:16, 14:22] = True, True
        objects = [("chair", 9, chair, []), ("dog", 12, chair, [("head", chair)])]
        if name in (train[0], test[0]):
            objects.append(("person", 15, person, [("head", head), ("neck", neck), ("rfoot", chair)]))
            objects.append(("person", 15, ~person, []))
        voc = blocks(rng, here, [0, 9, 15, 20, 255])
        context = np.digitize(np.add.outer(np.arange(here[0]), np.arange(here[1])), [20, 40]).astype(np.uint16) * 213
        truth[name] = {"JPEGImages": ramp(rng, here), "VOC12": voc, "LabelMap": context, "head": head, "neck": neck}
        truth[name] |= {
            "normals": normals(rng, here, holes=0),
            "chair": chair,
            "sal_distill": rng.integers(0, 256, here).astype(np.uint8),
        }
        save(root / "JPEGImages" / f"{name}.jpg", truth[name]["JPEGImages"])
        save(root / "human_parts" / f"{name}.mat", part_annotation(here, objects))
        save(root / "pascal-context" / "trainval" / f"{name}.mat", {"LabelMap": context})
        save(root / "normals_distill" / f"{name}.png", eight_bits(truth[name]["normals"]))
        save(root / "sal_distill" / f"{name}.png", truth[name]["sal_distill"])
        save(root / "semseg" / "pascal-context" / f"{name}.png", np.full(here, 7, dtype=np.uint8))
        if number:
            picture = Image.frombytes("P", here[::-1], voc.tobytes())
            picture.putpalette(palette)
            (root / "semseg" / "VOC12").mkdir(parents=True, exist_ok=True)
            picture.save(root / "semseg" / "VOC12" / f"{name}.png")
    save(root / "ImageSets" / "Context" / "train.txt", "".join(f"{name}\n" for name in train))
    save(root / "ImageSets" / "Context" / "val.txt", "".join(f"{name}\n" for name in test))
    return truth


def tree(root):
    """Every file below a folder with its bytes, to see that none was added, changed or removed."""
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
