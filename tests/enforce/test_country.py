"""The country of an address: a real database, which the operator replaces, breaks, removes and overwrites while it is in use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmdb import Value, database, write

from gateway.enforce.country import Countries
from gateway.errors import CountriesUnavailable

pytest.importorskip("maxminddb")


def in_country(code: str) -> Value:
    """As MaxMind and DB-IP write it."""
    return {"continent": {"code": "EU"}, "country": {"iso_code": code, "names": {"en": f"The land of {code}"}}}


NETWORKS: dict[str, Value] = {
    "203.0.113.0/24": in_country("DE"),
    "203.0.113.128/25": in_country("FR"),
    "198.51.100.0/24": in_country("JP"),
    "2001:db8:12::/48": in_country("DE"),
    "2001:db8:99::/48": in_country("BR"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "countries.mmdb"
    write(path, NETWORKS)
    return path


def replace(path: Path, networks: dict[str, Value]) -> None:
    """As geoipupdate does it: another file, renamed into place."""
    new = path.with_suffix(".new")
    write(new, networks)
    new.rename(path)


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("203.0.113.7", "DE"),
        ("203.0.113.200", "FR"),
        ("198.51.100.255", "JP"),
        ("::ffff:198.51.100.1", "JP"),
        ("2001:db8:12::1", "DE"),
        ("2001:0DB8:0099:ffff:ffff:ffff:ffff:ffff", "BR"),
        ("[2001:db8:99::1]:443", "BR"),
        ("192.0.2.1", None),
        ("10.0.0.1", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("", None),
        ("not an address", None),
    ],
)
def test_an_address_has_its_country_or_none(file: Path, address: str, country: str | None) -> None:
    countries = Countries.open(file)
    assert countries.country_of(address) == country
    assert countries.country_of(address) == country  # and once more, from memory


@pytest.mark.parametrize(
    ("record", "country"),
    [
        ({"country": {"iso_code": "DE"}}, "DE"),
        ({"country_code": "DE", "country": "Germany"}, "DE"),
        ({"country": "DE"}, "DE"),
        ({"country": "Germany"}, None),
        ({"country": {"names": {"en": "Nowhere"}}}, None),
        ({"registered_country": {"iso_code": "US"}, "traits": {"is_satellite_provider": 1}}, None),
        ({"country": {"iso_code": "de"}}, None),
        ({"country": {"iso_code": 49}}, None),
        ({"country": {"iso_code": "D|"}}, None),
        ({"country": ["DE"]}, None),
        ("DE", None),
        (49, None),
    ],
)
def test_databases_of_several_makers_are_read_and_what_is_no_country_is_none(
    tmp_path: Path, record: Value, country: str | None
) -> None:
    write(tmp_path / "some.mmdb", {"203.0.113.0/24": record})
    assert Countries.open(tmp_path / "some.mmdb").country_of("203.0.113.7") == country


def test_an_ipv6_address_is_not_in_a_database_of_ipv4(tmp_path: Path) -> None:
    write(tmp_path / "old.mmdb", {"203.0.113.0/24": in_country("DE")}, ip_version=4)
    countries = Countries.open(tmp_path / "old.mmdb")
    assert countries.country_of("203.0.113.7") == "DE"
    assert countries.country_of("2001:db8:12::1") is None


def test_a_new_database_is_read_when_it_is_there_and_what_was_known_is_forgotten(file: Path) -> None:
    countries = Countries.open(file)
    assert countries.country_of("203.0.113.7") == "DE"
    assert countries.country_of("192.0.2.1") is None
    assert not countries.refresh()
    replace(file, {"203.0.113.0/24": in_country("AT"), "192.0.2.0/24": in_country("CH")})
    assert countries.country_of("203.0.113.7") == "DE"  # nobody refreshed
    assert countries.refresh()
    assert countries.country_of("203.0.113.7") == "AT"
    assert countries.country_of("192.0.2.1") == "CH"
    assert not countries.refresh()


def test_a_database_of_the_same_size_and_time_is_a_new_one_too(file: Path) -> None:
    countries = Countries.open(file)
    before = file.stat()
    replace(file, {**NETWORKS, "203.0.113.0/24": in_country("AT"), "203.0.113.128/25": in_country("AT")})
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert countries.refresh()
    assert countries.country_of("203.0.113.7") == "AT"


@pytest.mark.parametrize("broken", [b"", b"hello", database(NETWORKS)[:-40], database(NETWORKS)[:100], bytes(1000)])
def test_a_broken_database_is_refused_and_the_older_one_goes_on(file: Path, broken: bytes) -> None:
    countries = Countries.open(file)
    file.write_bytes(broken)
    with pytest.raises(CountriesUnavailable, match=r"countries\.mmdb"):
        countries.refresh()
    assert countries.country_of("203.0.113.7") == "DE"
    assert countries.country_of("198.51.100.9") == "JP"  # not looked up before
    with pytest.raises(CountriesUnavailable, match=r"countries\.mmdb"):
        Countries.open(file)
    replace(file, {"203.0.113.0/24": in_country("AT")})
    assert countries.refresh()
    assert countries.country_of("203.0.113.7") == "AT"


def test_a_database_that_is_gone_is_refused_and_the_older_one_goes_on(file: Path) -> None:
    countries = Countries.open(file)
    file.unlink()
    with pytest.raises(CountriesUnavailable, match="cannot be read"):
        countries.refresh()
    assert countries.country_of("198.51.100.9") == "JP"
    with pytest.raises(CountriesUnavailable, match="cannot be read"):
        Countries.open(file)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(CountriesUnavailable):
        Countries.open(tmp_path)


def test_a_database_that_is_overwritten_in_place_does_not_end_the_process(tmp_path: Path) -> None:
    """A mapping of the operator's file ends the process with SIGBUS here: so another process tries."""
    path = tmp_path / "large.mmdb"
    write(path, {f"10.{high}.{low}.0/24": in_country("DE") for high in range(8) for low in range(256)})
    program = (
        "import sys, pathlib\n"
        "from gateway.enforce.country import Countries\n"
        "path = pathlib.Path(sys.argv[1]); countries = Countries.open(path)\n"
        "path.write_bytes(b'')\n"
        "print({countries.country_of(f'10.{high}.{low}.1') for high in range(8) for low in range(256)})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "{'DE'}"), done.stderr


def test_without_the_library_the_operator_is_told_which_extra_is_missing(file: Path) -> None:
    program = (
        "import sys; sys.modules['maxminddb'] = None\n"
        "from pathlib import Path\n"
        "from gateway.enforce.country import Countries\n"
        "Countries.open(Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, timeout=60)
    assert "CountriesUnavailable: the country needs a library: install the gateway's extra geoip" in done.stderr


def test_B1_the_memory_of_countries_is_bounded(file: Path) -> None:
    countries = Countries.open(file)
    for number in range(10_000):
        countries.country_of(f"203.0.{number >> 8}.{number & 255}")
    assert len(countries._database.known) <= 4096


def test_the_descriptor_of_the_database_is_closed(file: Path) -> None:
    countries = Countries.open(file)
    before = set(os.listdir("/proc/self/fd"))
    for number in range(20):
        replace(file, {"203.0.113.0/24": in_country("AT"), f"192.0.2.{number}/32": in_country("CH")})
        assert countries.refresh()
    assert len(os.listdir("/proc/self/fd")) <= len(before)
