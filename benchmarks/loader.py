"""Speed of the training pictures: mosaic, mixup, affine and HSV at full size, from a cache of decoded images.

    python benchmarks/loader.py --data DIR [--image-size 640] [--batch 16] [--workers 1 --workers 2] [--train] [--json]

Prints images/s per number of loading threads, the share of cache hits after the first epoch, and with --train how
fast YOLOv6-N trains at that size. Bars: one process loads at least 4 times what N trains, at least 95 % hits.
"""

import sys
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, run


@click.command(help=__doc__)
@click.option("--data", required=True)
@click.option("--image-size", type=int, default=640, show_default=True)
@click.option("--batch", type=int, default=16, show_default=True)
@click.option("--batches", type=int, default=12, show_default=True, help="Timed, after one epoch.")
@click.option("--workers", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--cache-mib", type=int, help="Memory for decoded images. [default: a quarter of what is free]")
@click.option("--train", is_flag=True, help="Time YOLOv6-N as well, on all cores.")
@json_option
def main(
    data: str,
    image_size: int,
    batch: int,
    batches: int,
    workers: tuple[int, ...],
    cache_mib: int | None,
    train: bool,
    as_json: bool,
) -> None:
    from evaluators.data import load_data
    from search.training import TrainingOptions, estimate_seconds_per_image
    from search.training.attempts import process_settings
    from search.training.data.augment import LARGE, SMALL
    from search.training.data.cache import ImageCache
    from search.training.data.loader import Loader
    from search.training.data.sampler import Sampler
    from yolov6space.variants import get

    detection_data = load_data(data)
    split = detection_data.split("train")
    options = TrainingOptions(epochs=1, image_size=image_size, batch=batch)
    speed, cpu = {}, {}
    cache = ImageCache(split, image_size, cache_mib)
    epoch = -(-len(split) // batch)
    with process_settings(options):
        for index in range(len(split)):
            cache[index]
        cache.hits = cache.misses = 0
        for name, settings in (("N, T, S", SMALL), ("M, L", LARGE)):
            loader = Loader(
                cache,
                Sampler(len(split), 0),
                batch=batch,
                image_size=image_size,
                augmentation=lambda step, settings=settings: settings,
            )
            for threads in workers:
                started, computed = time.perf_counter(), time.process_time()
                with loader.batches(epoch, epoch + batches, threads) as made:
                    for _ in made:
                        pass
                key = f"{name}, {threads} threads"
                speed[key] = batches * batch / (time.perf_counter() - started)
                cpu[key] = batches * batch / (time.process_time() - computed)
        hits = cache.hits / max(1, cache.hits + cache.misses)
        trained = None
        if train:
            trained = 1 / estimate_seconds_per_image(
                get("YOLOv6-N"), len(detection_data.class_names), options
            )
    result = {
        "image_size": image_size,
        "batch": batch,
        "images_per_second": speed,
        "images_per_cpu_second": cpu,
        "cache_hits": hits,
        "trains_images_per_second": trained,
    }
    if as_json:
        print_json(result)
        return
    for key, value in speed.items():
        click.echo(f"{key}: {value:.1f} images/s, {cpu[key]:.1f} per second of CPU")
    click.echo(f"cache hits after the first epoch {hits:.1%}")
    if trained is not None:
        ratio = min(cpu.values()) / trained
        click.echo(f"YOLOv6-N trains {trained:.1f} images/s: one core loads {ratio:.1f} times that")


if __name__ == "__main__":
    run(main, "python benchmarks/loader.py")
