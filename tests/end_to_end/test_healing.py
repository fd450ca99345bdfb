"""A published file that is damaged is made again from the warehouse by the next run, which says so."""

from tests.conftest import Night, Project, published_rows, words


def damage(shop: Project) -> None:
    file = shop.data / "published" / "next_aisle.duckdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.chmod(0o644)
    file.write_bytes(content)


def test_the_next_run_publishes_a_damaged_copy_again_also_when_it_fails_itself(
    shop: Project, first_night: Night
) -> None:
    damage(shop)
    # Nothing can be loaded tonight; readers get their copy back all the same.
    (shop.landing / "products.csv").unlink()
    run = shop.nightly()
    assert run.returncode == 1
    printed = words(run.stdout)
    assert "is damaged: it is not what was published, says its checksum. It was published again" in printed
    assert "Readers still see the copy published on" in printed
    assert published_rows(shop.data) == published_rows(first_night.data)


def test_readers_are_not_said_to_have_a_good_copy_when_it_cannot_be_made_again(shop: Project) -> None:
    damage(shop)
    # The warehouse is not as it was when it was judged.
    (shop.data / "audited").unlink()
    (shop.landing / "products.csv").unlink()
    printed = words(shop.nightly().stdout)
    assert "Readers cannot rely on it until this run has published." in printed
    assert "Readers have no good copy: the published copy" in printed
    assert "Readers still see" not in printed
