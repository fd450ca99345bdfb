"""`python -m benchmarks.score_quality`: given predictions, peers on odd shops, and what is written."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

np = pytest.importorskip("numpy", reason="needs the group benchmark")
for library in ("implicit", "lightgbm", "matplotlib"):
    pytest.importorskip(library, reason="needs the group benchmark")

from benchmarks.score_quality import __main__ as command  # noqa: E402
from benchmarks.score_quality import peers, shop, windows  # noqa: E402
from tests.benchmarks.conftest import START, Files  # noqa: E402

CUTOFF = START + dt.timedelta(days=40)
PEERS_WITHOUT_PAST = ("popularity", "knn_all", "knn_50", "als", "ease")


@pytest.fixture
def judge(small_shop: Files, tmp_path: Path) -> Callable[..., int]:
    """The command on the small shop."""

    def run(*arguments: object) -> int:
        where = ["--shop", small_shop.folder, "--level", "category", "--active-days", 30, "--out", tmp_path / "out"]
        return command.main([str(argument) for argument in (*where, *arguments)])

    return run


@pytest.fixture
def results(tmp_path: Path) -> Callable[[], Any]:
    """What the command wrote."""
    return lambda: json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))


def scores(path: Path, rows: list[tuple[Any, ...]], names: str = "cutoff, customer_id, category, score") -> Path:
    values = ", ".join(str(row).replace("None", "null") if len(row) > 1 else f"({row[0]!r})" for row in rows)
    with duckdb.connect() as connection:
        connection.execute(f"copy (select * from (values {values}) as t({names})) to '{path}'")
    return path


def test_given_predictions_are_judged_at_their_own_cutoffs(
    judge: Callable[..., int], results: Callable[[], Any], tmp_path: Path
) -> None:
    # Customer 1 buys wine, customer 2 milk; bread is owned already, customer 3 is not active.
    rows = [
        (1, "wine", 0.5, 0.5),
        (2, "milk", 0.4, 0.4),
        (2, "wine", 0.1, 0.1),
        (1, "bread", 9, 0.9),
        (3, "wine", 8, 0),
    ]
    file = scores(
        tmp_path / "mine.parquet",
        [(str(CUTOFF), *row) for row in rows],
        "cutoff, customer_id, category, score, probability",
    )
    assert judge("--predictions-in", file) == 0
    written = results()
    mine = written["methods"]["mine"]["cutoffs"][str(CUTOFF)]
    assert (mine["pairs"], mine["customers"], mine["auc"], mine["hit_at_5"]) == (3, 2, 1.0, 1.0)
    assert mine["predicted_over_observed"] == pytest.approx(0.5)
    assert set(written["methods"]) == {"mine", *command.QUICK}
    assert (tmp_path / "out" / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_a_pair_without_a_score_ranks_last_and_is_reported(
    judge: Callable[..., int], results: Callable[[], Any], tmp_path: Path
) -> None:
    file = scores(tmp_path / "mine.csv", [("2024-02-10", 2, "wine", 1.0)])
    assert judge("--predictions-in", file, "--methods", "popularity") == 0
    mine = results()["methods"]["mine"]["cutoffs"]["2024-02-10"]
    assert mine["note"] == "2 pairs without a score"
    assert mine["auc"] == 0.0
    assert "logloss" not in mine


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([(1, "wine")], "customer_id, category", "has no column score"),
        ([("2024-02-10", 1, "wine", None)], "cutoff, customer_id, category, score", "1 scores are no numbers"),
        ([("2024-02-10", 1, "wine", 1)] * 2, "cutoff, customer_id, category, score", "more than once"),
        ([("2024-02-10", 1, "beer", 1)], "cutoff, customer_id, category, score", "none of its customers"),
        ([(1, "wine", 2, 1.5)], "customer_id, category, score, probability", r"not in [0, 1]"),
    ],
)
def test_predictions_that_cannot_be_judged_are_refused_in_a_line(
    judge: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[tuple[Any, ...]],
    names: str,
    message: str,
) -> None:
    assert judge("--predictions-in", scores(tmp_path / "mine.parquet", rows, names), "--cutoff", CUTOFF) == 2
    assert message in capsys.readouterr().err


def test_a_cutoff_that_a_file_does_not_have_is_refused(
    judge: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = scores(tmp_path / "mine.parquet", [("2024-02-10", 1, "wine", 1.0)])
    assert judge("--predictions-in", file, "--cutoff", "2024-02-11") == 2
    assert "no predictions for 2024-02-11; there are 2024-02-10" in capsys.readouterr().err


def history(folder: Path, cutoff: dt.date, level: str = "category", **days: int) -> peers.History:
    everything = windows.purchases(shop.read(folder, level, **days))
    number = windows.number_of(cutoff)
    return peers.History(everything.until(number), number)


@pytest.fixture
def busy_shop(files: Files) -> Files:
    """120 customers, six categories, 250 days: who buys in an even category tends to even ones."""
    generator = np.random.default_rng(1)
    files.products([(number, f"category {number}") for number in range(6)])
    lines = []
    for customer in range(120):
        for day in np.sort(generator.choice(250, 12, replace=False)):
            product = int(generator.integers(3)) * 2 + (customer + (generator.random() < 0.2)) % 2
            lines.append((customer, int(product), int(day)))
    files.purchases(lines)
    return files


@pytest.mark.parametrize("name", list(peers.PEERS))
def test_every_peer_scores_a_shop_with_six_categories_the_same_each_time(busy_shop: Files, name: str) -> None:
    cutoff = START + dt.timedelta(days=215)
    first, second = (peers.PEERS[name](history(busy_shop.folder, cutoff)) for _ in range(2))
    assert first.score.shape == history(busy_shop.folder, cutoff).now.candidates.shape
    assert np.isfinite(first.score).all()
    assert np.array_equal(first.score, second.score)
    if first.probability is not None:
        assert (first.probability >= 0).all()
        assert (first.probability <= 1).all()


@pytest.mark.parametrize("name", list(peers.PEERS))
def test_a_week_of_history_is_enough_for_peers_that_need_no_past_and_the_others_say_so(
    busy_shop: Files, name: str
) -> None:
    week = history(busy_shop.folder, START + dt.timedelta(days=7))
    if name in PEERS_WITHOUT_PAST:
        assert np.isfinite(peers.PEERS[name](week).score).all()
    else:
        with pytest.raises(peers.CannotSayError, match="no history"):
            peers.PEERS[name](week)


def test_a_peer_that_has_nothing_to_say_does_not_stop_the_others(
    judge: Callable[..., int], results: Callable[[], Any]
) -> None:
    assert judge("--cutoff", "2024-01-10", "--methods", "adoption_rate,popularity") == 0
    methods = results()["methods"]
    assert methods["adoption_rate"]["cutoffs"]["2024-01-10"]["note"].startswith("nothing to say: no history")
    assert methods["popularity"]["cutoffs"]["2024-01-10"]["pairs"] > 0


def test_ease_says_when_there_are_too_many_categories(busy_shop: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "EASE_MOST_CATEGORIES", 5)
    with pytest.raises(peers.CannotSayError, match="6 categories; the dense inverse is made for up to 5"):
        peers.ease(history(busy_shop.folder, START + dt.timedelta(days=215)))


def test_peers_see_nothing_after_the_cutoff(busy_shop: Files) -> None:
    seen = history(busy_shop.folder, START + dt.timedelta(days=100))
    assert seen.purchases.day.max() <= seen.day
    assert seen.purchases.basket_day.max() <= seen.day
    assert not seen.now.bought.any()
    assert [earlier.history.day for earlier in seen.past] == [seen.day - 28, seen.day - 56, seen.day - 84]
    assert all(earlier.history.purchases.day.max() <= earlier.history.day for earlier in seen.past)


def test_adoption_rates_are_counted_on_earlier_windows_and_shrunk_towards_all(small_shop: Files) -> None:
    # One window, day 12 and 28 more: active are 1 (bread) and 3 (milk); of the four pairs 1's milk came true.
    seen = history(small_shop.folder, CUTOFF, active_days=30)
    assert len(seen.past) == 1
    mean = 1 / 4
    expected = [50 * mean / 51, (1 + 50 * mean) / 51, 50 * mean / 52]
    assert seen.rate == pytest.approx(expected)


def test_item_knn_adds_up_cosines_of_what_is_owned(small_shop: Files) -> None:
    # Owners by day 40: bread 1, 2; milk 1, 3; wine none. Cosine of bread and milk: 1 / sqrt(2 x 2).
    seen = history(small_shop.folder, CUTOFF, active_days=30)
    assert peers.similarity(seen.now, None)[0] == pytest.approx([0, 0.5, 0])
    assert peers.knn(seen, None).score[1] == pytest.approx([0, 0.5, 0])


def test_popularity_is_the_share_of_active_customers(small_shop: Files) -> None:
    # Days 11 to 40: 1 bought milk, 2 bread.
    seen = history(small_shop.folder, CUTOFF, active_days=30)
    assert peers.popularity(seen).score[0] == pytest.approx([1 / 2, 1 / 2, 0])


def test_without_the_dependency_group_the_error_names_the_command(
    judge: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'implicit'", name="implicit")

    monkeypatch.setattr(windows, "purchases", missing)
    assert judge("--no-ours") == 2
    assert "uv run --group benchmark" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--methods", "magic"], ["--cutoff", "yesterday"], ["--horizon", "0"]])
def test_arguments_that_mean_nothing_are_refused(judge: Callable[..., int], wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        judge(*wrong)
