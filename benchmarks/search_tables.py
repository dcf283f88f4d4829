"""Made-up tables for search.benchmark, so that a sampler is not held to one published table alone.

    python benchmarks/search_tables.py FOLDER

Writes detector.csv (choices of five stages), pairs.csv (six places of one set of choices, neighbours interact) and
numbers.csv (200 rows of numbers). The same files each time. Columns: p_*, accuracy, latency_ms, params_m.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd


def numbers() -> pd.DataFrame:
    """A network's sizes; accuracy saturates in work, and depth and resolution have an optimum."""
    rng, rows = np.random.default_rng(5), 200
    table = pd.DataFrame(
        {
            "p_depth": rng.integers(1, 9, rows),
            "p_width": rng.choice(np.arange(16, 136, 8), rows),
            "p_res": rng.choice([224, 256, 288, 320, 384, 448, 512], rows),
            "p_kernel": rng.choice([3, 5, 7], rows),
            "p_ratio": np.round(rng.uniform(0.25, 1.0, rows), 2),
        }
    ).drop_duplicates()
    depth, width, size, kernel, ratio = (table[name] for name in table)
    work = depth**0.9 * width**1.8 * ratio * (size / 224) ** 2 * (kernel / 3) ** 0.5 / 1e4
    table["latency_ms"] = 0.8 + 0.6 * work**0.8 * np.exp(0.05 * rng.standard_normal(len(table)))
    table["params_m"] = depth * width**2 * ratio * (kernel / 3) ** 2 / 1e5
    liking = (
        -3 * np.log(depth / 4) ** 2
        - 10 * np.log(size / 352) ** 2
        - 0.4 * (kernel == 3)
        - 4 * (ratio - 0.5) ** 2
    )
    table["accuracy"] = 75 - 14 / np.sqrt(work + 0.3) + liking + 0.3 * rng.standard_normal(len(table))
    return table


def detector() -> pd.DataFrame:
    """Block, depth and width of five stages; some blocks follow each other well, widths should not jump."""
    rng, rows = np.random.default_rng(6), 3000
    columns: dict[str, np.ndarray] = {}
    for stage in range(5):
        columns[f"p_block{stage}"] = rng.choice(["rep", "csp", "plain", "mb"], rows)
        columns[f"p_rep{stage}"] = rng.choice([1, 2, 3, 4, 6], rows)
        columns[f"p_ch{stage}"] = rng.choice([0.25, 0.5, 0.75, 1.0], rows)
    columns["p_act"] = rng.choice(["relu", "silu", "hard"], rows)
    columns["p_loss"] = rng.choice(["a", "b", "c"], rows)
    table = pd.DataFrame(columns).drop_duplicates()
    size, quality = (
        {"rep": 1.0, "csp": 0.55, "plain": 0.95, "mb": 0.3},
        {"rep": 0.0, "csp": 0.5, "plain": -0.6, "mb": 0.2},
    )
    slowness = {"rep": 1.0, "csp": 1.05, "plain": 1.0, "mb": 2.0}
    capacity, liking, latency, params = (np.zeros(len(table)) for _ in range(4))
    for stage in range(5):
        block, width = table[f"p_block{stage}"], table[f"p_ch{stage}"]
        work = table[f"p_rep{stage}"] * width**2 * block.map(size)
        capacity += np.log1p(3 * work) * (0.4, 0.7, 1.0, 1.2, 0.8)[stage]
        latency += work * block.map(slowness) * (0.25, 0.2, 0.175, 0.175, 0.15)[stage]
        params += work * 4**stage / 64
        liking += block.map(quality) * (0.3, 0.5, 0.8, 0.6, 0.4)[stage]
        if stage:
            liking -= 0.5 * np.abs(np.log(width / table[f"p_ch{stage - 1}"]))
            liking += 0.5 * ((block == "csp") & (table[f"p_block{stage - 1}"] == "rep"))
    liking += table["p_act"].map({"relu": 0.0, "silu": 1.0, "hard": 0.5})
    liking += table["p_loss"].map({"a": 0.0, "b": 0.3, "c": -2.0})
    noise = 0.2 * np.random.default_rng(7).standard_normal(len(table))
    table["accuracy"] = 25 + 5 * capacity + liking + noise
    table["latency_ms"] = (1 + latency) * table["p_act"].map({"relu": 1.0, "silu": 1.15, "hard": 1.05})
    table["params_m"] = params
    return table


def pairs() -> pd.DataFrame:
    """Three branches of two operations, of which each needs both; every pair of neighbours has its own bonus."""
    rng = np.random.default_rng(8)
    names = ("zero", "id", "c1", "c3", "pool")
    time, weight = (0.0, 0.02, 0.5, 1.0, 0.35), (0.0, 0.0, 0.1, 0.9, 0.0)
    strength = np.array([0.0, 0.3, 0.75, 1.0, 0.4])
    pair, single = rng.normal(0, 0.6, (6, 6, 5, 5)), rng.normal(0, 0.4, (6, 5))
    rows = []
    for cell in itertools.product(range(5), repeat=6):
        branches = [strength[cell[2 * k]] * strength[cell[2 * k + 1]] for k in range(3)]
        shortcut = any(cell[2 * k] == cell[2 * k + 1] == 1 for k in range(3)) and max(branches) > 0.5
        base = 40 + 28 * (1 - np.exp(-2.2 * sum(branches))) - 22 * (max(branches) == 0) + 3 * shortcut
        bonus = sum(single[i, cell[i]] for i in range(6))
        bonus += sum(pair[i, i + 1, cell[i], cell[i + 1]] for i in range(5))
        accuracy = base + 0.8 * bonus + rng.normal(0, 0.25)
        latency = 2 + sum(time[one] for one in cell) * np.exp(0.03 * rng.normal())
        rows.append(
            [*(names[one] for one in cell), accuracy, latency, 0.08 + sum(weight[one] for one in cell)]
        )
    return pd.DataFrame(rows, columns=[*(f"p_e{i}" for i in range(6)), "accuracy", "latency_ms", "params_m"])


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for make in (detector, pairs, numbers):
        table = make()
        table.to_csv(folder / f"{make.__name__}.csv", index=False)
        print(f"{folder / make.__name__}.csv: {len(table)} rows")


if __name__ == "__main__":
    main()
