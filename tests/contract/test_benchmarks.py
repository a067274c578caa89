"""The benches run: the cheap ones once, in small; what they measure is for `make bench` to say."""

import asyncio
import sys
from pathlib import Path

import msgspec

from benchmarks.harness import Row, Scale, compare

ROOT = Path(__file__).parents[2]


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_the_cheap_benches_report_their_ratios() -> None:
    code, out, error = await run("inbound", "message", "planner", "poll", "relay", "--quick", "--json")
    assert code == 0, error
    rows = [msgspec.json.decode(line, type=Row) for line in out.splitlines()]
    assert [row.bench for row in rows] == ["relay"] * 2 + ["planner"] * 3 + ["inbound"] + ["poll"] * 2 + ["message"] * 5
    assert all(row.ratio > 0 and row.ours > 0 and row.bare > 0 for row in rows)


async def test_an_unknown_bench_is_named() -> None:
    code, _, error = await run("relya")
    assert code == 2
    assert "no such bench: relya" in error


async def test_a_ratio_is_the_median_of_rounds_that_take_turns_after_the_warm_up() -> None:
    order: list[str] = []
    ours = iter([1.0, 30.0, 10.0, 20.0])

    async def our_round() -> float:
        order.append("ours")
        return next(ours)

    async def bare_round() -> float:
        order.append("bare")
        return 10.0

    pair = await compare(our_round, bare_round, Scale(rounds=3, warm_ups=1, quick=False))
    assert pair.ratio == 2.0
    assert order == ["ours", "bare", "bare", "ours"] * 2
