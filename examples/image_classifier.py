"""A job that knows nothing of memfs: classify images in a directory, write the results beside them.

    memfs put -r data /classify
    memfs fuse mount /classify /mnt/classify
    python examples/image_classifier.py /mnt/classify

Reads ``images/CLASS/*.pgm`` (grey images of one size) and ``model.npz``, which it makes from half
of the images when it is not there yet; writes ``results/CLASS.csv``. ``--generate`` makes the data.
Works in any directory; needs numpy.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 32
CLASSES = ("disc", "ring", "square", "stripes")


def read_image(path: Path) -> NDArray[np.float64]:
    """Brightness of all pixels, 0 to 1. The format: netpbm's PGM, binary."""
    with path.open("rb") as file:
        if file.readline() != b"P5\n":
            raise ValueError(f"{path} is no binary PGM image")
        width, height = map(int, file.readline().split())
        brightest = int(file.readline())
        pixels = np.fromfile(file, np.uint8, width * height)
    return pixels.astype(np.float64) / brightest


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """As PGM."""
    height, width = pixels.shape
    with path.open("wb") as file:
        file.write(b"P5\n%d %d\n255\n" % (width, height))
        file.write(pixels.tobytes())


def generate(top: Path, count: int) -> None:
    """So many noisy images of each class."""
    random = np.random.default_rng(7)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    for name in CLASSES:
        (top / "images" / name).mkdir(parents=True)
        for number in range(count):
            centre, size = random.integers(12, 20, 2), random.integers(6, 10)
            far = np.hypot(across - centre[0], down - centre[1])
            shape = {
                "disc": far < size,
                "ring": (far < size) & (far > size - 3),
                "square": np.maximum(abs(across - centre[0]), abs(down - centre[1])) < size,
                "stripes": (across + centre[0]) // 4 % 2 == 0,
            }[name]
            noisy = 200 * shape + random.integers(0, 55, (SIDE, SIDE))
            write_image(top / "images" / name / f"{number:04}.pgm", noisy.astype(np.uint8))


def train(top: Path) -> None:
    """The mean image of each class, of every second image."""
    means = {
        folder.name: np.mean([read_image(path) for path in sorted(folder.iterdir())[::2]], axis=0)
        for folder in sorted((top / "images").iterdir())
    }
    partial = top / "model.npz.partial"
    with partial.open("wb") as file:
        np.savez(file, **means)
    partial.replace(top / "model.npz")


def classify(top: Path) -> float:
    """Write what each image is taken for; returns the share that is right."""
    model = np.load(top / "model.npz")
    names = list(model)
    centres = np.stack([model[name] for name in names])
    (top / "results").mkdir(exist_ok=True)
    right = total = 0
    for folder in sorted((top / "images").iterdir()):
        paths = sorted(folder.iterdir())
        images = np.stack([read_image(path) for path in paths])
        distances = np.linalg.norm(images[:, None] - centres[None], axis=2)
        found = [names[index] for index in distances.argmin(axis=1)]
        with (top / "results" / f"{folder.name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(zip((path.name for path in paths), found, strict=True))
        right += found.count(folder.name)
        total += len(found)
    return right / total


def main() -> int:
    """0: done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--generate", type=int, metavar="COUNT", help="make images, and no more")
    given = parser.parse_args()
    if given.generate:
        generate(given.directory, given.generate)
        return 0
    if not (given.directory / "model.npz").exists():
        train(given.directory)
    print(f"{classify(given.directory):.0%} of the images are what their folder says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
