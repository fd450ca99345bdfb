"""Files in object storage, on servers and in folders elsewhere, fetched from real servers."""

import dataclasses
import datetime as dt
import functools
import hashlib
import multiprocessing
import multiprocessing.process
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.database_servers import UnavailableError, free_port
from ingestion.landed_files import LandedFiles, compare_files
from ingestion.load import load
from ingestion.locations import ROUNDS, fetched
from ingestion.raw_tables import LoadError
from ingestion.remote_files import KINDS, ListedFolder, Remote
from ingestion.sources import complete_journey
from tests import here
from tests.conftest import PROJECT_DIR
from tests.fixtures import tiny_shop
from tests.fixtures.file_servers import (
    SECRET,
    AzurePlace,
    AzureServer,
    CutLine,
    FolderPlace,
    GcsPlace,
    GcsServer,
    Place,
    S3Place,
    S3Server,
    SftpPlace,
    SshServer,
)
from tests.ingestion.raw import DATASET, contents, ledger, query, unnamed_loads

DAYS = sorted(tiny_shop.days(tiny_shop.TODAY))
NEW_DAY = dt.date(2026, 10, 1)
NEW_FILE = f"purchases/{NEW_DAY}.parquet"

# Long enough that a file that is written to has another second in its time of change.
SETTLE_SECONDS = 1.1


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are as short as they may be."""
    for name, kind in KINDS.items():
        if kind.settle_seconds:
            monkeypatch.setitem(KINDS, name, dataclasses.replace(kind, settle_seconds=SETTLE_SECONDS))
    monkeypatch.setattr("ingestion.remote_files.PAUSE_SECONDS", 0.01)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gs_server() -> Iterator[GcsServer]:
    server = GcsServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sftp_server() -> Iterator[SshServer]:
    try:
        server = SshServer()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def az_server() -> Iterator[AzureServer]:
    try:
        server = AzureServer()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.fixture
def file(tmp_path: Path) -> FolderPlace:
    return FolderPlace(tmp_path / "elsewhere" / "from shop")


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Place]:
    yield S3Place(s3_server, f"shop-{uuid.uuid4()}")
    s3_server.reset()


@pytest.fixture
def gs(gs_server: GcsServer) -> GcsPlace:
    return GcsPlace(gs_server, f"shop-{uuid.uuid4()}")


@pytest.fixture
def sftp(sftp_server: SshServer) -> SftpPlace:
    return SftpPlace(sftp_server, f"from shop {uuid.uuid4()}")


@pytest.fixture
def az(az_server: AzureServer) -> AzurePlace:
    return AzurePlace(az_server, f"shop-{uuid.uuid4()}")


@pytest.fixture(params=["s3", "sftp", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("file", "gs", "az"))])
def place(request: pytest.FixtureRequest) -> Place:
    """An empty place of each kind."""
    found: Place = request.getfixturevalue(request.param)
    return found


Use = Callable[..., None]


@pytest.fixture
def use(data: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Have the shop's files at a place; other settings than the place's own can be given."""
    declared = complete_journey.SOURCE

    def use(place: Place, **settings: str) -> None:
        monkeypatch.setattr(complete_journey, "SOURCE", dataclasses.replace(declared, location=place.url))
        for name, value in {**place.settings, **settings}.items():
            monkeypatch.setenv(f"SOURCES__COMPLETE_JOURNEY__{name}", value)

    return use


@pytest.fixture
def shop(place: Place, use: Use, tmp_path: Path) -> Place:
    """The tiny shop's files at a place of each kind, not loaded yet."""
    return filled(place, use, tmp_path)


def filled(place: Place, use: Use, tmp_path: Path) -> Place:
    files = tiny_shop.land(tmp_path / "shop")
    for path in sorted(path for path in files.rglob("*") if path.is_file()):
        place.put(path.relative_to(files).as_posix(), path.read_bytes())
    use(place)
    return place


def day_file(*baskets: int, folder: Path, day: dt.date = NEW_DAY) -> bytes:
    lines = [tiny_shop.line(day, basket, 1, 10, 1, 1.5) for basket in baskets]
    return tiny_shop.write_day(folder / "made", day, lines).read_bytes()


def loaded() -> tuple[dict[str, int], list[str]]:
    """Load; how many deliveries were loaded of each table, and how many files were fetched."""
    lines: list[str] = []
    report = load("complete_journey", here.paths(), say=lines.append)
    return {name: table.deliveries_loaded for name, table in report.tables.items() if table.deliveries_loaded}, [
        line.split(" from ")[0].removeprefix("complete_journey: ").partition(" (")[0]
        for line in lines
        if "fetching" in line
    ]


def refused() -> str:
    """Load, and return the text of the error that must come."""
    with pytest.raises(LoadError) as raised:
        load("complete_journey", here.paths(), say=lambda _line: None)
    message = str(raised.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


def fetched_files(data: Path) -> list[str]:
    folder = data / "fetched" / "complete_journey" / "files"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


ALL = {"customers": 1, "products": 1, "purchases": 2}


class TestAnyPlace:
    def test_raw_is_the_same_as_from_a_landing_folder_but_for_its_origin(
        self, shop: Place, loaded_once: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert loaded() == (ALL, ["fetching 4 new of 4 files"])
        assert {origin for (origin,) in query(f"select origin from {DATASET}.deliveries")} == {shop.url}
        fetched = contents(without_load=True)
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("NEXT_AISLE_DATA", str(loaded_once))
            landed = contents(without_load=True)
        fetched["deliveries"] = [
            row.replace(repr(shop.url), "'landing/complete_journey'") for row in fetched["deliveries"]
        ]
        assert fetched == landed

    def test_a_place_without_files_is_an_error(self, place: Place, use: Use) -> None:
        use(place)
        message = refused()
        assert message.startswith(f"{place.url} does not exist, or has no files")
        assert "Check `location` in ingestion/sources/complete_journey.py" in message


@pytest.mark.slow
class TestAnyPlaceInAnyState:
    def test_what_is_loaded_is_not_fetched_again(self, shop: Place, data: Path) -> None:
        loaded()
        assert fetched_files(data) == ["customers.csv", "products.csv", *(f"purchases/{day}.parquet" for day in DAYS)]
        assert loaded() == ({}, [])
        # They were kept for the comparison with the raw tables.
        assert fetched_files(data) == []

    def test_only_what_is_new_or_changed_is_fetched(self, shop: Place, tmp_path: Path, data: Path) -> None:
        loaded()
        shop.put(NEW_FILE, day_file(1, 2, folder=tmp_path))
        shop.put("products.csv", tiny_shop.PRODUCTS.replace("MILK", "DAIRY").encode())
        assert loaded() == ({"products": 1, "purchases": 1}, ["fetching 2 new of 5 files"])
        assert fetched_files(data) == ["products.csv", NEW_FILE]
        assert query(f"select count(*) from {DATASET}.purchases") == [(15,)]
        assert query(
            f"select product_category, count(*) from {DATASET}.products where product_id = 10 group by 1 order by 1"
        ) == [
            ("DAIRY", 1),
            ("MILK", 1),
        ]

    def test_a_file_that_is_sent_again_unchanged_is_no_new_delivery(self, shop: Place) -> None:
        loaded()
        shop.put("products.csv", tiny_shop.PRODUCTS.encode())
        assert loaded()[0] == {}
        assert loaded() == ({}, [])
        assert len(ledger()) == 4

    def test_a_file_that_was_removed_keeps_its_rows(self, shop: Place) -> None:
        loaded()
        before = contents()
        shop.remove(f"purchases/{DAYS[0]}.parquet")
        assert loaded() == ({}, [])
        assert contents() == before
        # It comes back with other rows.
        shop.put(f"purchases/{DAYS[0]}.parquet", b"no parquet")
        assert f"{shop.url}/purchases/{DAYS[0]}.parquet is not a complete Parquet file" in refused()

    def test_uploads_under_way_and_hidden_files_are_passed_over(self, shop: Place) -> None:
        for name in ("purchases/2026-11-19.parquet.part", "purchases/.2026-11-19.parquet", "customers.csv.tmp"):
            shop.put(name, b"half")
        assert loaded() == (ALL, ["fetching 4 new of 4 files"])

    def test_a_bad_file_is_named_by_its_place_and_the_others_are_not_fetched_again(
        self, shop: Place, data: Path
    ) -> None:
        shop.put("products.csv", tiny_shop.PRODUCTS.replace("10,1,", "ten,1,").encode())
        assert refused() == (
            f"{shop.url}/products.csv, line 2, column product_id: 'ten' is not a whole number. "
            "Have it sent again; nothing was loaded."
        )
        assert contents() == {}
        shop.put("products.csv", tiny_shop.PRODUCTS.encode())
        assert loaded() == (ALL, ["fetching 1 new of 4 files"])

    def test_a_missing_file_and_one_that_would_never_be_loaded_are_named_by_their_place(self, shop: Place) -> None:
        shop.remove("customers.csv")
        assert refused() == (f"there is no file {shop.url}/customers.csv, from which the table customers is loaded.")
        shop.put("customers.csv", tiny_shop.CUSTOMERS.encode())
        shop.put("purchases/2026-11-19.csv", b"a,b\n")
        assert refused().startswith(f"{shop.url}/purchases/2026-11-19.csv does not match purchases/{{date}}.parquet")

    def test_a_lost_memory_costs_a_download_and_nothing_else(self, shop: Place, data: Path) -> None:
        loaded()
        before = contents()
        shutil.rmtree(data / "fetched")
        assert loaded() == ({}, ["fetching 4 new of 4 files"])
        assert contents() == before

    def test_a_lost_warehouse_is_rebuilt(self, shop: Place, data: Path) -> None:
        loaded()
        before = contents(without_load=True)
        (data / "warehouse.duckdb").unlink()
        # What the last load fetched is still here.
        assert loaded() == (ALL, [])
        (data / "warehouse.duckdb").unlink()
        loaded_again, _ = loaded()
        assert loaded_again == ALL
        assert contents(without_load=True) == before

    def test_any_name_that_a_file_can_have_is_fetched(
        self, shop: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = "Kunden ü 东京 #1 100% a+b&c=d@e~(g)'h!,$.csv"
        products = next(table for table in complete_journey.SOURCE.tables if table.name == "products")
        renamed = dataclasses.replace(products, files=f"von uns/{name}")
        tables = tuple(renamed if table is products else table for table in complete_journey.SOURCE.tables)
        monkeypatch.setattr(complete_journey, "SOURCE", dataclasses.replace(complete_journey.SOURCE, tables=tables))
        shop.put(f"von uns/{name}", tiny_shop.PRODUCTS.encode())
        assert loaded() == (ALL, ["fetching 4 new of 4 files"])
        assert query(f"select distinct _delivery from {DATASET}.products") == [(f"von uns/{name}",)]
        assert loaded() == ({}, [])

    def test_an_empty_file_is_fetched(self, shop: Place) -> None:
        if isinstance(shop, GcsPlace):
            pytest.skip("the emulator takes no empty file")
        shop.put(NEW_FILE, b"")
        assert refused() == f"{shop.url}/{NEW_FILE} is empty (0 bytes). Have it sent again; nothing was loaded."

    def test_files_deeper_than_one_folder_are_found_and_others_are_not_listed(
        self, shop: Place, tmp_path: Path
    ) -> None:
        shop.put("archive/2025/customers.csv", b"not looked at")
        shop.put("archive/2025/deeper/x/y.csv", b"not looked at")
        remote = Remote("complete_journey", shop.url)
        assert sorted(remote.files([ListedFolder("", 1)])) == ["customers.csv", "products.csv"]
        assert sorted(remote.files([ListedFolder("archive", 2)])) == ["archive/2025/customers.csv"]
        assert sorted(remote.files([ListedFolder("archive", None)])) == [
            "archive/2025/customers.csv",
            "archive/2025/deeper/x/y.csv",
        ]
        remote.close()


def once(happens: Callable[[], object], *, at: str) -> Callable[[str, str], None]:
    """Have something happen when a file is asked for, the first time."""
    waiting = [happens]

    def before(method: str, path: str) -> None:
        if method == "GET" and path.endswith(at) and waiting:
            waiting.pop()()

    return before


class TestWhileItIsFetched:
    @pytest.fixture
    def s3_shop(self, s3: S3Place, use: Use, tmp_path: Path) -> S3Place:
        filled(s3, use, tmp_path)
        return s3

    def test_a_file_that_is_replaced_between_listing_and_fetching_is_taken_in_its_new_version(
        self, s3_shop: S3Place
    ) -> None:
        new = tiny_shop.PRODUCTS.replace("MILK", "BEER").encode()
        s3_shop.server.before = once(lambda: s3_shop.put("products.csv", new), at="/products.csv")
        assert loaded() == (ALL, ["fetching 4 new of 4 files", "fetching 1 new of 4 files"])
        assert query(f"select digest from {DATASET}.deliveries where table_name = 'products'") == [
            (hashlib.sha256(new).hexdigest(),)
        ]
        assert query(f"select product_category from {DATASET}.products where product_id = 10") == [("BEER",)]

    def test_a_file_that_vanishes_is_left_out_and_one_that_comes_is_taken(
        self, s3_shop: S3Place, tmp_path: Path
    ) -> None:
        first, last = (f"purchases/{day}.parquet" for day in DAYS)

        def rename() -> None:
            s3_shop.put(NEW_FILE, day_file(7, folder=tmp_path))
            s3_shop.remove(last)

        s3_shop.server.before = once(rename, at=last)
        assert loaded() == (ALL, ["fetching 4 new of 4 files", "fetching 1 new of 4 files"])
        assert [name for table, name, _ in ledger() if table == "purchases"] == [NEW_FILE, first]
        assert loaded() == ({}, [])

    @pytest.mark.slow
    def test_a_file_that_changes_all_the_time_is_left_for_the_next_load(self, s3_shop: S3Place, tmp_path: Path) -> None:
        versions = (day_file(*range(count), folder=tmp_path) for count in range(1, 100))

        def change(method: str, path: str) -> None:
            if method == "GET" and path.endswith(NEW_FILE):
                s3_shop.put(NEW_FILE, next(versions))

        s3_shop.put(NEW_FILE, next(versions))
        s3_shop.server.before = change
        lines: list[str] = []
        report = load("complete_journey", here.paths(), say=lines.append)
        warning = f"{NEW_FILE} changed or came while files were fetched; left for the next load"
        assert warning in report.tables["purchases"].warnings
        assert report.tables["purchases"].deliveries_loaded == 2
        assert sum("fetching 1 new of 5 files" in line for line in lines) == ROUNDS - 1
        s3_shop.server.reset()
        assert loaded() == ({"purchases": 1}, ["fetching 1 new of 5 files"])
        # From then on it is known, and stays as it was loaded while it changes again.
        before = contents()
        s3_shop.put(NEW_FILE, next(versions))
        s3_shop.server.before = change
        assert loaded()[0] == {}
        assert contents() == before

    @pytest.mark.slow
    def test_a_table_whose_only_file_changes_all_the_time_stops_the_first_load(self, s3_shop: S3Place) -> None:
        def change(method: str, path: str) -> None:
            if method == "GET" and path.endswith("customers.csv"):
                s3_shop.put(
                    "customers.csv", tiny_shop.CUSTOMERS.encode() + f"{len(s3_shop.server.requests)}\n".encode()
                )

        s3_shop.server.before = change
        assert refused() == (
            f"{s3_shop.url}/customers.csv changed or vanished each time it was fetched, and the table customers has no "
            "other file. Run again when it is complete; nothing was loaded."
        )

    @pytest.mark.parametrize("kind", [pytest.param("file", marks=pytest.mark.slow), "sftp"])
    def test_a_file_that_is_still_written_is_not_taken_before_it_is_complete(
        self, request: pytest.FixtureRequest, kind: str, use: Use, tmp_path: Path
    ) -> None:
        place: FolderPlace = filled(request.getfixturevalue(kind), use, tmp_path)  # type: ignore[assignment]
        header, *lines = tiny_shop.CUSTOMERS.encode().splitlines(keepends=True)
        growing = (place.folder / "customers.csv").open("wb", buffering=0)
        growing.write(header)

        def grow() -> None:
            # Each piece ends with a line: half of the file would load.
            for line in lines:
                time.sleep(SETTLE_SECONDS / 3)
                growing.write(line)
            growing.close()

        writer = threading.Thread(target=grow)
        writer.start()
        loads, fetches = loaded()
        writer.join()
        assert loads == ALL
        assert len(fetches) > 1
        assert query(f"select row_count from {DATASET}.deliveries where table_name = 'customers'") == [(5,)]
        assert loaded() == ({}, [])

    @pytest.mark.slow
    def test_a_download_that_is_cut_off_goes_on_where_it_was(self, s3_shop: S3Place) -> None:
        # The day files are longer; the listings are not.
        s3_shop.server.cut_after = 3000
        assert loaded() == (ALL, ["fetching 4 new of 4 files"])
        assert [count for _, _, count in ledger()] == [5, 5, 5, 8]

    @pytest.mark.slow
    def test_a_line_that_breaks_is_connected_again(
        self, sftp_server: SshServer, use: Use, tmp_path: Path, data: Path
    ) -> None:
        line = CutLine(sftp_server.port)
        sftp_server.know(sftp_server.keys / "host.pub", line.port)
        place = SftpPlace(sftp_server, str(uuid.uuid4()), line.port)
        filled(place, use, tmp_path)
        big = b"".join(f"{number},1,GROCERY,National,MILK,{'x' * 200},\n".encode() for number in range(1000, 6000))
        place.put("products.csv", tiny_shop.PRODUCTS.encode() + big)
        line.bytes_left, line.breaks_left = 600_000, 1
        assert loaded()[0] == ALL
        assert line.breaks_left == 0
        assert query(f"select count(*) from {DATASET}.products") == [(5005,)]
        # It breaks and breaks.
        place.put(NEW_FILE, day_file(1, folder=tmp_path))
        place.put("products.csv", big + big)
        before = contents()
        line.bytes_left, line.breaks_left = 600_000, 1000
        message = refused()
        assert message.startswith(f"{place.url} cannot be read (")
        assert contents() == before
        line.breaks_left = 0
        place.put("products.csv", tiny_shop.PRODUCTS.encode() + big)
        assert loaded()[0] == {"purchases": 1}
        line.close()

    def test_credentials_that_expire_meanwhile_are_named_and_what_came_is_kept(self, s3_shop: S3Place) -> None:
        def expire(method: str, path: str) -> tuple[int, str] | None:
            return (400, "ExpiredToken") if path.endswith(f"{DAYS[1]}.parquet") else None

        s3_shop.server.before = expire
        assert refused() == (
            f"{s3_shop.url}: access was refused (The server says ExpiredToken.). Check that the credentials are right, "
            "still valid, and may list and read it: SOURCES__COMPLETE_JOURNEY__CREDENTIALS__AWS_ACCESS_KEY_ID, "
            "SOURCES__COMPLETE_JOURNEY__CREDENTIALS__AWS_SECRET_ACCESS_KEY. Nothing was loaded."
        )
        assert contents() == {}
        s3_shop.server.reset()
        assert loaded() == (ALL, ["fetching 1 new of 4 files"])


class TestRefused:
    """No credential is shown, and what has to be set is named."""

    def refused(self) -> str:
        with pytest.raises(LoadError) as raised:
            load("complete_journey", here.paths(), say=lambda _line: None)
        # Dagster would show what an error came from, with what a client says.
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None or raised.value.__suppress_context__
        message = str(raised.value)
        assert SECRET not in message
        assert message.endswith("othing was loaded.")
        assert contents() == {}
        return message

    @pytest.fixture
    def s3_shop(self, s3: S3Place, use: Use, tmp_path: Path) -> S3Place:
        filled(s3, use, tmp_path)
        return s3

    @pytest.fixture
    def sftp_shop(self, sftp: SftpPlace, use: Use, tmp_path: Path) -> SftpPlace:
        filled(sftp, use, tmp_path)
        return sftp

    @pytest.mark.slow
    def test_keys_that_the_server_does_not_know(self, s3_shop: S3Place, use: Use) -> None:
        with s3_shop.server.guarded() as keys:
            use(s3_shop, **{**keys, "CREDENTIALS__AWS_SECRET_ACCESS_KEY": SECRET})
            assert self.refused() == (
                f"{s3_shop.url}: access was refused (The request signature we calculated does not match the signature "
                "you provided. Check your key and signing method.). Check that the credentials are right, still valid, "
                "and may list and read it: SOURCES__COMPLETE_JOURNEY__CREDENTIALS__AWS_ACCESS_KEY_ID, "
                "SOURCES__COMPLETE_JOURNEY__CREDENTIALS__AWS_SECRET_ACCESS_KEY. Nothing was loaded."
            )
            use(s3_shop, **{**keys, "CREDENTIALS__AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"})
            assert "access was refused (The AWS Access Key Id you provided does not exist" in self.refused()
            use(s3_shop, **keys)
            assert loaded() == (ALL, ["fetching 4 new of 4 files"])

    def test_no_credentials(self, s3_shop: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in list(os.environ):
            if name.startswith(("SOURCES__", "AWS_")):
                monkeypatch.delenv(name)
        # Neither those of the person who runs this test, nor those of the machine.
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        assert self.refused() == (
            f"{s3_shop.url}: the credentials are missing or incomplete. Set "
            "SOURCES__COMPLETE_JOURNEY__CREDENTIALS__AWS_ACCESS_KEY_ID, "
            "SOURCES__COMPLETE_JOURNEY__CREDENTIALS__AWS_SECRET_ACCESS_KEY in the environment, or aws_access_key_id, "
            "aws_secret_access_key below [sources.complete_journey.credentials] in .dlt/secrets.toml; "
            "nothing was loaded."
        )

    def test_a_server_that_repeats_the_secret(self, s3_shop: S3Place) -> None:
        s3_shop.server.before = lambda _method, _path: (403, f"Denied {SECRET}")
        assert "The server says Denied ***." in self.refused()

    def test_a_bucket_that_does_not_exist(self, s3_shop: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
        elsewhere = dataclasses.replace(complete_journey.SOURCE, location="s3://nobodys-bucket/out")
        monkeypatch.setattr(complete_journey, "SOURCE", elsewhere)
        assert self.refused() == (
            "s3://nobodys-bucket/out does not exist, or has no files (The specified bucket does not exist). Check "
            "`location` in ingestion/sources/complete_journey.py, and what the credentials may list; nothing was "
            "loaded."
        )

    @pytest.mark.slow
    def test_a_server_that_does_not_answer(self, s3_shop: S3Place, use: Use) -> None:
        use(s3_shop, CREDENTIALS__ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
        assert f"{s3_shop.url} cannot be read (Could not connect to the endpoint URL" in self.refused()

    def test_a_server_whose_key_is_not_known(self, sftp_shop: SftpPlace, use: Use, tmp_path: Path) -> None:
        (tmp_path / "known_hosts").touch()
        use(sftp_shop, KNOWN_HOSTS=str(tmp_path / "known_hosts"))
        port = urlsplit(sftp_shop.url).port
        assert self.refused() == (
            f"{sftp_shop.url}: the server's key is not known. Get it by `ssh-keyscan -p {port} 127.0.0.1`, compare it "
            "with the one that the shop names, and add it to ~/.ssh/known_hosts (or to the file that "
            "SOURCES__COMPLETE_JOURNEY__KNOWN_HOSTS names). Nothing was loaded."
        )

    @pytest.mark.slow
    def test_a_server_with_another_key(
        self, sftp_shop: SftpPlace, sftp_server: SshServer, use: Use, tmp_path: Path
    ) -> None:
        other = (sftp_server.keys / "other.pub").read_text()
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{sftp_server.port} {other}")
        use(sftp_shop, KNOWN_HOSTS=str(tmp_path / "known_hosts"))
        assert "the server's key is not the one in the file of known hosts" in self.refused()

    @pytest.mark.slow
    def test_a_key_that_the_server_does_not_take(self, sftp_shop: SftpPlace, sftp_server: SshServer, use: Use) -> None:
        use(sftp_shop, CREDENTIALS__SFTP_KEY_FILENAME=str(sftp_server.keys / "other"))
        message = self.refused()
        assert f"{sftp_shop.url}: access was refused (Authentication failed.)" in message
        assert "SOURCES__COMPLETE_JOURNEY__CREDENTIALS__SFTP_KEY_FILENAME" in message

    @pytest.mark.slow
    def test_a_password_that_the_server_does_not_take(
        self, sftp_shop: SftpPlace, use: Use, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(sftp_shop, CREDENTIALS__SFTP_PASSWORD=SECRET)
        monkeypatch.delenv("SOURCES__COMPLETE_JOURNEY__CREDENTIALS__SFTP_KEY_FILENAME")
        assert f"{sftp_shop.url}: access was refused (" in self.refused()

    @pytest.mark.slow
    def test_a_key_file_that_is_not_there(self, sftp_shop: SftpPlace, use: Use) -> None:
        use(sftp_shop, CREDENTIALS__SFTP_KEY_FILENAME="/no/such/key")
        assert f"{sftp_shop.url}: the settings name the file /no/such/key, which does not exist" in self.refused()

    @pytest.mark.slow
    def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
        self, sftp_shop: SftpPlace, tmp_path: Path
    ) -> None:
        if os.geteuid() != 0:
            pytest.skip("the server runs as the owner of the files")
        (sftp_shop.folder / "purchases").chmod(0o700)
        assert f"{sftp_shop.url}: access was refused (" in self.refused()

    @pytest.mark.slow
    def test_a_client_that_is_not_installed(self, s3_shop: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(KINDS, "s3", dataclasses.replace(KINDS["s3"], package="not_installed"))
        assert self.refused() == (
            f"{s3_shop.url} needs the package not_installed, which is not installed. Install it: uv sync --extra s3; "
            "nothing was loaded."
        )

    @pytest.mark.slow
    def test_more_than_the_disk_has_room_for(self, file: FolderPlace, use: Use, tmp_path: Path, data: Path) -> None:
        filled(file, use, tmp_path)
        with (file.folder / "customers.csv").open("wb") as sparse:
            sparse.truncate(1 << 40)
        message = self.refused()
        assert message.startswith(f"{file.url} has 4 new files with 1,099,511.6 MB, but there are ")
        assert f" MB free at {data / 'fetched' / 'complete_journey'}. Free some space and run again" in message

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "key",
        [
            "purchases//2026-11-19.parquet",
            "purchases/../2026-11-19.parquet",
            "purchases/./2026-11-19.parquet",
            f"purchases/{DAYS[0]}.parquet/2026-11-19.parquet",
            f"purchases/{'x' * 300}.parquet",
        ],
        ids=["an empty part", "two dots", "a dot", "below a file", "too long"],
    )
    def test_a_name_that_no_file_can_have(self, s3_shop: S3Place, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        tables = [dataclasses.replace(table) for table in complete_journey.SOURCE.tables]
        tables[2] = dataclasses.replace(tables[2], files="purchases/**/{date}.parquet")
        monkeypatch.setattr(
            complete_journey, "SOURCE", dataclasses.replace(complete_journey.SOURCE, tables=tuple(tables))
        )
        s3_shop.put(key, b"x")
        message = self.refused()
        assert message.startswith(f"{s3_shop.url}/purchases/")
        assert "has a name that no file can have here (" in message

    @pytest.mark.slow
    def test_an_empty_file_that_stands_for_a_folder_is_passed_over(self, s3_shop: S3Place) -> None:
        for key in ("purchases/", "purchases", "customers.csv/"):
            s3_shop.put(key, b"")
        assert loaded() == (ALL, ["fetching 4 new of 4 files"])


def start(place: Place, data: Path) -> "subprocess.Popen[str]":
    """Start the loader as a process of its own."""
    code = f"""
        import dataclasses, sys
        from ingestion import remote_files
        from ingestion.__main__ import main
        from ingestion.sources import complete_journey
        complete_journey.SOURCE = dataclasses.replace(complete_journey.SOURCE, location={place.url!r})
        for name, kind in remote_files.KINDS.items():
            settle_seconds = min(kind.settle_seconds, {SETTLE_SECONDS})
            remote_files.KINDS[name] = dataclasses.replace(kind, settle_seconds=settle_seconds)
        sys.exit(main(["complete_journey"]))
        """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=PROJECT_DIR,
        env={**os.environ, "NEXT_AISLE_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestFolders:
    @pytest.mark.slow
    def test_links_to_files_are_followed_and_broken_ones_passed_over(
        self, sftp: SftpPlace, use: Use, tmp_path: Path
    ) -> None:
        filled(sftp, use, tmp_path)
        (sftp.folder / "customers.csv").rename(sftp.folder / "customers of today")
        (sftp.folder / "customers.csv").symlink_to("customers of today")
        (sftp.folder / NEW_FILE).symlink_to("nowhere")
        assert loaded() == (ALL, ["fetching 4 new of 4 files"])
        # What the link leads to has changed.
        sftp.put("customers of tomorrow", tiny_shop.CUSTOMERS.replace("35-44", "45-54").encode())
        (sftp.folder / "customers.csv").unlink()
        (sftp.folder / "customers.csv").symlink_to("customers of tomorrow")
        assert loaded() == ({"customers": 1}, ["fetching 1 new of 4 files"])

    @pytest.mark.parametrize(
        ("pattern", "path", "depth"),
        [
            ("customers.csv", "", 1),
            ("out/customers.csv", "out", 1),
            ("purchases/*.parquet", "purchases", 1),
            ("purchases/*/*.parquet", "purchases", 2),
            ("shop [12]/out/*.csv", "", 3),
            ("a/**/*.csv", "a", None),
        ],
    )
    def test_no_more_is_listed_than_a_pattern_needs(self, pattern: str, path: str, depth: int | None) -> None:
        assert ListedFolder.of(pattern) == ListedFolder(path, depth)

    @pytest.mark.slow
    def test_a_changed_location_is_another_one(self, file: FolderPlace, use: Use, tmp_path: Path, data: Path) -> None:
        filled(file, use, tmp_path)
        loaded()
        other = FolderPlace(tmp_path / "other")
        shutil.copytree(file.folder, other.folder, dirs_exist_ok=True)
        use(other)
        assert loaded() == ({}, ["fetching 4 new of 4 files"])


class TestDeclared:
    @pytest.mark.parametrize(
        ("location", "problem"),
        [
            ("ftp://shop.example/out", "ftp:// is not one of s3://, gs://, az://, sftp://, file://"),
            ("sftp://shop:s3cret@shop.example/out", "has a password in it. Take it out, and set it as SOURCES__<NAME"),
            ("s3://", "must be a bucket or server with a folder: s3://shop/folder"),
            ("s3://shop/out?versionId=1", "must be a bucket or server with a folder"),
            ("from shop", "must be a whole path, such as /mnt/shop"),
        ],
    )
    def test_a_location_that_cannot_be_meant_is_refused_at_once(self, location: str, problem: str) -> None:
        with pytest.raises(ValueError, match=re.escape(problem)) as raised:
            LandedFiles("shop", (), location)
        assert "s3cret" not in str(raised.value)

    @pytest.mark.parametrize(
        ("location", "origin"),
        [
            ("s3://shop/out/", "s3://shop/out"),
            ("sftp://loader@shop.example:2222/out", "sftp://loader@shop.example:2222/out"),
            ("file:///mnt/from%20shop", "file:///mnt/from%20shop"),
            (None, "landing/shop"),
        ],
    )
    def test_the_ledger_says_where_files_came_from(self, location: str | None, origin: str) -> None:
        assert LandedFiles("shop", (), location).origin == origin


@pytest.mark.slow
def test_what_was_fetched_is_compared_with_the_raw_tables(s3: S3Place, use: Use, tmp_path: Path, data: Path) -> None:
    filled(s3, use, tmp_path)
    loaded()
    purchases = complete_journey.SOURCE.tables[2]
    with here.connect() as connection:
        compared = compare_files(connection, "complete_journey", purchases, here.paths())
        assert (compared.compared, compared.differing) == (2, 0)
        connection.execute(f"update {DATASET}.purchases set sales_value = sales_value + 0.01 where basket_id = 100")
        compared = compare_files(connection, "complete_journey", purchases, here.paths())
    assert (compared.compared, compared.differing) == (2, 1)


class TestAsAProcess:
    @pytest.mark.slow
    def test_it_says_nothing_but_its_own_lines(self, shop: Place, data: Path) -> None:
        process = start(shop, data)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0
        lines = [re.sub(r"[\d.]+ kB", "x kB", line) for line in errors.splitlines() if "waiting" not in line]
        assert lines == [
            f"complete_journey: fetching 4 new of 4 files (x kB) from {shop.url}",
            "complete_journey: checking 4 new of 4 landed files",
            "complete_journey: loading 23 rows",
        ]

    @pytest.mark.slow
    def test_a_refusal_is_one_line(self, s3: S3Place, use: Use, tmp_path: Path, data: Path) -> None:
        filled(s3, use, tmp_path)
        s3.server.before = lambda _method, path: (403, "AccessDenied") if path.endswith("customers.csv") else None
        process = start(s3, data)
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output) == (1, "")
        fetching, error = errors.splitlines()
        assert "fetching 4 new" in fetching
        assert error.startswith(f"error: {s3.url}: access was refused (The server says AccessDenied.).")

    @pytest.mark.slow
    def test_a_line_that_breaks_is_one_line(self, sftp_server: SshServer, use: Use, tmp_path: Path, data: Path) -> None:
        line = CutLine(sftp_server.port)
        sftp_server.know(sftp_server.keys / "host.pub", line.port)
        place = SftpPlace(sftp_server, str(uuid.uuid4()), line.port)
        filled(place, use, tmp_path)
        place.put("products.csv", tiny_shop.PRODUCTS.encode() * 4000)
        line.bytes_left, line.breaks_left = 300_000, 1000
        process = start(place, data)
        output, errors = process.communicate(timeout=120)
        line.close()
        assert (process.returncode, output) == (1, "")
        fetching, error = (line for line in errors.splitlines() if "waiting" not in line)
        assert "fetching 4 new" in fetching
        assert error.startswith(f"error: {place.url} cannot be read (")

    def test_without_a_location_no_client_is_imported(self) -> None:
        clients = {"s3fs", "aiobotocore", "botocore", "gcsfs", "google.auth", "adlfs", "azure", "paramiko", "aiohttp"}
        modules = "sys, ingestion.__main__, ingestion.sources.complete_journey"
        code = f"import {modules}; print(sorted({clients} & set(sys.modules)))"
        result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True)
        assert result.stdout == "[]\n", result.stderr


@pytest.mark.slow
class TestMany:
    # Listings of object storage are of 1,000 files a page; moto needs some milliseconds for each file.
    @pytest.mark.parametrize(("kind", "count"), [("s3", 1_200), ("sftp", 2_000)])
    def test_thousands_of_files(
        self,
        kind: str,
        count: int,
        request: pytest.FixtureRequest,
        use: Use,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        place = filled(request.getfixturevalue(kind), use, tmp_path)
        purchases = complete_journey.SOURCE.tables[2]
        several_a_day = dataclasses.replace(purchases, files="purchases/{date}*.parquet")
        tables = tuple(several_a_day if table is purchases else table for table in complete_journey.SOURCE.tables)
        monkeypatch.setattr(complete_journey, "SOURCE", dataclasses.replace(complete_journey.SOURCE, tables=tables))
        contents_of = {f"purchases/{NEW_DAY} {number:05}.parquet": f"{number}".encode() for number in range(count)}
        for name, content in contents_of.items():
            place.put(name, content)
        lines: list[str] = []
        fetch = functools.partial(
            fetched,
            "complete_journey",
            place.url,
            tables,
            tables,
            paths=here.paths(),
            say=lines.append,
        )
        with fetch(known={}) as files:
            assert len(files.deliveries) == count + 4
            assert all(d.path.read_bytes() == contents_of.get(d.name, d.path.read_bytes()) for d in files.deliveries)
            known = {(d.table.name, d.name): d.digest for d in files.deliveries}
        assert sum(f"fetching {count + 4:,} new of {count + 4:,} files" in line for line in lines) == 1
        lines.clear()
        with fetch(known=known) as files:
            assert {(d.table.name, d.name): d.digest for d in files.deliveries} == known
        assert lines == []

    @pytest.mark.parametrize("kind", ["s3", "sftp", "gs", "az"])
    def test_a_large_file_is_not_kept_in_memory(
        self, kind: str, request: pytest.FixtureRequest, use: Use, tmp_path: Path
    ) -> None:
        place: Place = request.getfixturevalue(kind)
        use(place)
        megabytes = 120
        place.put("small", b"x" * 20_000_000)
        place.put("large", b"x" * megabytes * 1_000_000)
        code = f"""
            import resource, sys
            from pathlib import Path
            from ingestion.remote_files import ListedFolder, Remote
            def megabytes():
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            remote = Remote("complete_journey", {place.url!r})
            files = remote.files([ListedFolder("", 1)])
            assert remote.get(files["small"], Path("small"))
            before = megabytes()
            assert remote.get(files["large"], Path("large"))
            remote.close()
            print(megabytes() - before)
            """
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "large").stat().st_size == megabytes * 1_000_000
        assert float(result.stdout) < megabytes / 5


def load_as_child(url: str, environment: dict[str, str]) -> None:
    """Load, in a process that will be killed."""
    os.environ.update(environment)
    for name, kind in KINDS.items():
        KINDS[name] = dataclasses.replace(kind, settle_seconds=min(kind.settle_seconds, 0.3))
    complete_journey.SOURCE = dataclasses.replace(complete_journey.SOURCE, location=url)
    load("complete_journey", here.paths(), say=lambda _line: None)


@pytest.mark.slow
class TestKilled:
    """SIGKILL at any moment: one plain load later the raw tables are what they are without it."""

    MOMENTS = 12

    @pytest.mark.parametrize("kind", ["s3", "sftp"])
    def test_at_any_moment(
        self, kind: str, request: pytest.FixtureRequest, use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = filled(request.getfixturevalue(kind), use, tmp_path)
        # Nothing is written to while it is fetched.
        monkeypatch.setitem(KINDS, kind, dataclasses.replace(KINDS[kind], settle_seconds=0))
        before = tmp_path / "before"
        monkeypatch.setenv("NEXT_AISLE_DATA", str(before))
        loaded()
        place.put("customers.csv", tiny_shop.CUSTOMERS.replace("1,35-44", "1,45-54").encode())
        place.put("products.csv", tiny_shop.PRODUCTS.replace("14,3,COUPON", "15,3,COUPON").encode())
        for day in range(1, 29):
            date = dt.date(2025, 2, day)
            place.put(f"purchases/{date}.parquet", day_file(*range(200), folder=tmp_path, day=date))

        # The modules are imported once; each load is a process that is forked from that one.
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload([__name__, "s3fs", "paramiko"])

        def start(data: Path) -> "multiprocessing.process.BaseProcess":
            shutil.copytree(before, data)
            monkeypatch.setenv("NEXT_AISLE_DATA", str(data))
            process = processes.Process(target=load_as_child, args=(place.url, dict(os.environ)))
            process.start()
            return process

        start(tmp_path / "warm").join()
        started = time.monotonic()
        undisturbed = start(tmp_path / "undisturbed")
        undisturbed.join()
        seconds = time.monotonic() - started
        assert undisturbed.exitcode == 0
        expected = contents(without_load=True)

        chance = random.Random(kind)
        killed = 0
        for moment in range(self.MOMENTS):
            process = start(tmp_path / "killed")
            process.join((moment + chance.random()) / self.MOMENTS * seconds)
            process.kill()
            process.join()
            killed += process.exitcode == -signal.SIGKILL
            loaded()
            assert contents(without_load=True) == expected
            assert unnamed_loads() == []
            assert loaded() == ({}, [])
            assert fetched_files(tmp_path / "killed") == []
            shutil.rmtree(tmp_path / "killed")
        assert killed > self.MOMENTS / 2
