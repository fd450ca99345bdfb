"""`python -m benchmarks.score_quality`: given predictions, peers on odd shops, and what is written."""

import datetime as dt
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

np = pytest.importorskip("numpy", reason="needs the group benchmark")
for library in ("implicit", "lightgbm", "matplotlib"):
    pytest.importorskip(library, reason="needs the group benchmark")

from benchmarks.score_quality import __main__ as command  # noqa: E402
from benchmarks.score_quality import peers, predictions, shop, windows  # noqa: E402
from tests.benchmarks.conftest import START, Files  # noqa: E402

CUTOFF = START + dt.timedelta(days=40)
PEERS_WITHOUT_PAST = ("popularity", "knn_all", "knn_50", "als", "ease")


def at(number: int) -> dt.date:
    return START + dt.timedelta(days=number)


@pytest.fixture
def judge(small_shop: Files, tmp_path: Path) -> Callable[..., int]:
    """The command on the small shop."""

    def run(*arguments: object) -> int:
        where = ["--shop", small_shop.folder, "--level", "category", "--active-days", 30, "--out", tmp_path / "out"]
        return command.main([str(argument) for argument in (*where, *arguments)])

    return run


@pytest.fixture
def written(tmp_path: Path) -> Callable[[], Any]:
    """What the command wrote."""
    return lambda: json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def results(written: Callable[[], Any]) -> Callable[[], Any]:
    """What the command wrote about the small shop."""
    return lambda: written()["shops"]["shop"]


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
    methods = results()["methods"]
    mine = methods["mine"]["cutoffs"][str(CUTOFF)]
    assert (mine["pairs"], mine["customers"], mine["auc"], mine["hit_at_5"]) == (3, 2, 1.0, 1.0)
    assert mine["predicted_over_observed"] == pytest.approx(0.5)
    assert set(methods) == {"mine", *command.QUICK}
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


def test_given_predictions_are_judged_by_their_intervals_and_compared_with_popularity(
    judge: Callable[..., int], written: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Predicted 1.0, between .6 and 1.8; two adoptions came.
    file = scores(
        tmp_path / "mine.parquet",
        [(1, "wine", 0.5, 0.5, 0.3, 0.9), (2, "milk", 0.4, 0.4, 0.2, 0.6), (2, "wine", 0.1, 0.1, 0.1, 0.3)],
        "customer_id, category, score, probability, probability_low, probability_high",
    )
    assert judge("--predictions-in", file, "--cutoff", CUTOFF) == 0
    mine = written()["shops"]["shop"]["methods"]["mine"]["cutoffs"][str(CUTOFF)]
    assert (mine["predicted_low"], mine["predicted_high"], mine["covered"]) == (0.6, 1.8, False)
    assert written()["level"]["mine"] == {
        "cutoffs": 1,
        "median_abs_log": pytest.approx(math.log(2), abs=1e-6),
        "share_within": 0.0,
        "cutoffs_with_interval": 1,
        "coverage": 0.0,
    }
    # By the rates, and by popularity, milk is above wine, which is adopted once and once not.
    (row,) = written()["over_shops"]["mine"]["guard"]
    assert (row["auc"]["simple_method"], row["auc"]["reached"], row["auc"]["simple"]) == (
        "adoption_rate",
        1.0,
        0.75,
    )
    assert "0.50!" in capsys.readouterr().out


def test_expected_spend_is_judged_by_what_adopters_spent(
    small_shop: Files, judge: Callable[..., int], results: Callable[[], Any], written: Callable[[], Any], tmp_path: Path
) -> None:
    # As of day 40, customer 1 spends 4 + 6 on wine, customer 2 3 on milk; the 9 of day 69 are too late. In the window
    # before, days 13 to 40, customer 1 began milk with 5.
    small_shop.purchases(
        [
            (1, 10, 0), (1, 11, 30, 1, 5.0), (1, 12, 50, 1, 4.0), (1, 12, 68, 2, 6.0),
            (2, 10, 20), (2, 11, 68, 1, 3.0), (2, 12, 69, 1, 9.0),
            (3, 11, 10), (4, 10, 41), (4, 10, 90),
        ]
    )  # fmt: skip
    file = scores(
        tmp_path / "mine.parquet",
        [(1, "wine", 0.5, 0.5, 8.0), (2, "milk", 0.4, 0.4, 4.0), (2, "wine", 0.1, 0.1, 20.0)],
        "customer_id, category, score, probability, expected_spend",
    )
    assert judge("--predictions-in", file, "--cutoff", CUTOFF) == 0
    mine = results()["methods"]["mine"]["cutoffs"][str(CUTOFF)]
    assert (mine["adopted_pairs"], mine["spent"]) == (2, 6.5)
    assert mine["spend_mae"] == pytest.approx((2 + 1) / 2)
    # One adopter with 5: the mean of each category is 5.
    assert mine["spend_mae_of_mean"] == pytest.approx((5 + 2) / 2)
    assert mine["expected_spend_over_spent"] == pytest.approx((8 + 4) / (10 + 3), abs=1e-6)
    assert mine["expected_over_came"] == pytest.approx((4 + 1.6 + 2) / 13, abs=1e-6)
    over_shops = written()["over_shops"]["mine"]["spend_lead"]
    assert over_shops["value"] == pytest.approx(1 - 1.5 / 3.5, abs=1e-6)
    # Two adopters are too few for an interval.
    assert (over_shops["low"], over_shops["verdict"]) == (None, "same")


@pytest.fixture
def two_shops(small_shop: Files, tmp_path: Path) -> Path:
    """A folder with two shops, and a folder that is no shop."""
    folder = tmp_path / "shops"
    folder.mkdir()
    (folder / "notes").mkdir()
    small_shop.folder.rename(folder / "b")
    shutil.copytree(folder / "b", folder / "a")
    return folder


def test_several_shops_are_judged_each_by_its_settings_and_then_together(
    two_shops: Path, tmp_path: Path, written: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (two_shops / "a" / "truth.json").write_text('{"horizon_days": 10, "active_days": 30, "planted": []}')
    (two_shops / "b" / "settings.json").write_text('{"active_days": 30}')
    (two_shops / "b" / "truth.json").write_text('{"active_days": 31}')
    asked = ["--shop", two_shops, "--cutoffs", 2, "--methods", "popularity,adoption_rate", "--out", tmp_path / "out"]
    assert command.main(list(map(str, asked))) == 0
    shops = written()["shops"]
    assert [(name, about["horizon_days"], about["active_days"]) for name, about in shops.items()] == [
        ("a", 10, 30),
        ("b", 28, 30),
    ]
    # The newest day is 90; three horizons of ten days are the least that make 28. On day 80 there is only customer 2,
    # who has bought everything.
    assert list(shops["a"]["methods"]["popularity"]["cutoffs"]) == [str(at(50))]
    assert list(shops["b"]["methods"]["popularity"]["cutoffs"]) == [str(at(34)), str(at(62))]
    assert written()["level"]["adoption_rate"]["cutoffs"] == 3
    printed = capsys.readouterr()
    assert (
        "a has no candidate pairs at 2024-03-21: no customer is active, or all own all; it is left out" in printed.err
    )
    assert "Level" in printed.out


def test_a_shop_that_cannot_be_judged_does_not_stop_the_others_and_is_named(
    two_shops: Path, tmp_path: Path, written: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (two_shops / "a" / "products.parquet").unlink()
    asked = ["--shop", two_shops, "--methods", "popularity", "--active-days", 30, "--out", tmp_path / "out"]
    assert command.main(list(map(str, asked))) == 2
    assert list(written()["shops"]) == ["b"]
    assert "products.parquet is missing" in written()["failed"]["a"]
    assert "Not judged: a: " in capsys.readouterr().out


def test_two_shops_of_one_name_and_predictions_of_several_shops_are_refused(
    two_shops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = str(two_shops / "a")
    asked = ["--methods", "popularity", "--out", str(tmp_path / "out")]
    assert command.main(["--shop", one, "--shop", one, *asked]) == 2
    assert "Two of the shops are called a" in capsys.readouterr().err
    file = scores(tmp_path / "mine.csv", [("2024-02-10", 2, "wine", 1.0)])
    assert command.main(["--shop", str(two_shops), "--predictions-in", str(file)]) == 2
    assert "--predictions-in is of one shop, and 2 are named" in capsys.readouterr().err


def test_a_resample_draws_the_shops_customers_at_each_cutoff(small_shop: Files) -> None:
    window = windows.purchases(shop.read(small_shop.folder, active_days=30)).window(windows.number_of(at(49)))
    # Customers 1, 2 and 4 are active. 1 adopts wine, 2 milk and wine, 4 nothing: without 4 all pairs are adopted.
    assert list(window.customers) == [0, 1, 3]
    counts = np.array([[1, 1, 1, 1], [1, 1, 5, 0]], dtype=np.int16)
    prediction = predictions.Prediction(np.full((3, 3), 0.5))
    seen = history(small_shop.folder, at(49), active_days=30)
    _, resampled = command._figures(prediction, seen, window, counts)
    assert resampled["auc"] == pytest.approx([0.5, np.nan], nan_ok=True)


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
    # One window, day 12 and 28 more: active are 1 (bread) and 3 (milk); of the four pairs 1's milk was bought.
    seen = history(small_shop.folder, CUTOFF, active_days=30)
    assert len(seen.past) == 1
    mean = 1 / 4
    expected = [50 * mean / 51, (1 + 50 * mean) / 51, 50 * mean / 52]
    assert seen.rate == pytest.approx(expected)


def test_the_mean_spend_of_adopters_is_shrunk_towards_all(files: Files) -> None:
    # In the window before, 28 days from day 12: customer 1 begins milk with 9, customers 2 and 3 wine with 3 and 6.
    files.products([(10, "bread"), (11, "milk"), (12, "wine")])
    lines = [(1, 10, 0), (1, 11, 30, 1, 9.0), (2, 10, 5), (2, 12, 20, 1, 3.0), (3, 10, 9), (3, 12, 39, 1, 6.0)]
    files.purchases([*lines, (4, 10, 90)])
    seen = history(files.folder, CUTOFF, active_days=30)
    assert len(seen.past) == 1
    assert seen.mean_spend == pytest.approx([6, (9 + 5 * 6) / 6, (3 + 6 + 5 * 6) / 7])


def test_what_owners_of_one_category_begin_next() -> None:
    # Category 1 has 1,000 candidates and 49 adopters; 500 own category 0, of whom 40 adopted. The rate is 50 of 1,050.
    candidates, adopters = np.array([0.0, 1000.0]), np.array([0.0, 49.0])
    owner_candidates, owner_adopters = np.array([[0.0, 500.0], [0, 0]]), np.array([[0.0, 40.0], [0, 0]])
    log_odds = peers.directed_log_odds(candidates, adopters, owner_candidates, owner_adopters)
    prior = 500 * 50 / 1050
    owners, others = (40 + prior) / 1000, (9 + prior) / 1000
    expected = math.log(owners / (1 - owners)) - math.log(others / (1 - others))
    assert log_odds == pytest.approx(np.array([[0, expected], [0, 0]]))
    # With 4 adopters of 1,000 the weight is that of five adopters: 5 / (5 / 1,050).
    rare = peers.directed_log_odds(candidates, adopters * 4 / 49, owner_candidates, owner_adopters / 10)
    owners, others = (4 + 5) / 1550, (0 + 5) / 1550
    assert rare[0, 1] == pytest.approx(math.log(owners / (1 - owners)) - math.log(others / (1 - others)))


@pytest.fixture
def chain_shop(files: Files) -> Files:
    """Each third customer begins with saw, the others with paint; 20 to 60 days later saw's owners buy wood, and no one
    else: 90 customers, one on each day. All buy paint again and again."""
    files.products([(1, "paint"), (2, "saw"), (3, "wood")])
    lines = []
    for customer in range(90):
        lines += [(customer, 1, day) for day in range(customer, 200, 15)]
        if customer % 3 == 0:
            lines += [(customer, 2, customer + 40), (customer, 3, customer + 60 + customer % 40)]
    files.purchases(lines)
    return files


def test_owners_of_what_comes_first_have_evidence_of_what_comes_next(chain_shop: Files) -> None:
    seen = history(chain_shop.folder, START + dt.timedelta(days=120))
    owned, lately = seen.evidence
    saw = seen.now.owned_by_active[:, 1]
    can_begin_wood = seen.now.candidates[:, 2]
    assert (saw & can_begin_wood).any()
    assert owned[saw & can_begin_wood, 2].min() > 5 * abs(owned[~saw & can_begin_wood, 2]).max()
    # All of saw's owners who have no wood yet began it in the last three horizons; who began nothing lately has none.
    assert lately[saw & can_begin_wood, 2].min() > 0
    nothing_lately = ~seen.owned_since(3 * 28).toarray().any(axis=1)
    assert nothing_lately.any()
    assert (lately[nothing_lately] == 0).all()


def test_the_newest_adoption_and_how_many_there_were_lately(small_shop: Files) -> None:
    # On day 40: customer 1 has bread (day 0) and milk (30), customer 2 bread (20); one basket each of these days.
    seen = history(small_shop.folder, CUTOFF, active_days=30)
    names = list(peers.FEATURES[-8:])
    first, second = seen.customer_features
    newest, last = (
        names.index("days since the newest of them"),
        names.index("categories first bought in the last horizon"),
    )
    assert (first[0], first[last], first[last + 1], first[newest]) == (2, 1, 2, 10)
    assert (second[0], second[last], second[last + 1], second[newest]) == (1, 1, 1, 20)


def test_season_is_that_of_the_same_days_of_last_year(files: Files) -> None:
    # 41 customers buy bread each ten days. One has wine from the beginning; 20 others begin it in the 28 days after day
    # 100, four before. Beer comes in on day 80, and three begin it: it was not sold in the windows before.
    files.products([(1, "bread"), (2, "wine"), (3, "beer")])
    lines = [(customer, 1, day) for customer in range(41) for day in range(0, 600, 10)] + [(40, 2, 0)]
    lines += [(customer, 2, 110) for customer in range(20)] + [(customer, 2, 90) for customer in range(20, 24)]
    lines += [(customer, 3, 80) for customer in range(3)]
    files.purchases(lines)
    seen = history(files.folder, START + dt.timedelta(days=100 + 364))
    # All own bread, so the mean of all rates is wine's. Before are the windows of days 16, 44 and 72, of 40 each.
    before, then = 4 / 120, 20 / 36
    expected = math.log(then / (1 - then)) - math.log(before / (1 - before))
    assert seen.season == pytest.approx(np.full(3, expected))
    assert np.isnan(history(files.folder, START + dt.timedelta(days=300)).season).all()


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
