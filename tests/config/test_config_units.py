"""How quantities and addresses are spelled."""

from pathlib import Path

import pytest

from gateway.config.address import Address, parse_address
from gateway.config.units import format_duration, format_size, parse_count, parse_duration, parse_size, parse_truth

HERE = Path("/etc/gateway")


@pytest.mark.parametrize(
    ("spelled", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("7d", 604800), ("2w", 1209600), ("1.5s", 1.5), ("0", 0), (0, 0)],
)
def test_a_duration_is_seconds(spelled, seconds):
    assert parse_duration(spelled) == seconds


@pytest.mark.parametrize("spelled", [30, "30", "5 m", "m", "", "-1s", "1s2", True, False, None, 1.5, "1e3s", "nan", ["1s"], "٣s"])
def test_a_duration_without_a_unit_is_refused(spelled):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(spelled)


@pytest.mark.parametrize("spelled", ["500ms", "30s", "90m", "7h", "3d", "2w"])
def test_a_duration_is_written_as_it_was_read(spelled):
    assert format_duration(parse_duration(spelled)) == spelled


@pytest.mark.parametrize(
    ("spelled", "size"), [("8KiB", 8192), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("512B", 512), ("512", 512), (512, 512)]
)
def test_a_size_is_bytes(spelled, size):
    assert parse_size(spelled) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("spelled", ["8KB", "8k", "-1", "", None, True, 1.5, "1 KiB"])
def test_a_size_in_an_unclear_unit_is_refused(spelled):
    with pytest.raises(ValueError, match="size"):
        parse_size(spelled)


def test_only_true_and_false_are_truth_values_also_as_text():
    assert parse_truth("true") is True
    assert parse_truth(False) is False
    for word in ("no", "yes", "on", "off", "1", 1, 0, None, ""):
        with pytest.raises(ValueError, match="true or false"):
            parse_truth(word)


def test_a_count_is_no_truth_value_and_no_fraction():
    assert parse_count("12") == 12
    for word in (True, 1.0, "1.0", "x", None, "0x10", ""):
        with pytest.raises(ValueError, match="whole number"):
            parse_count(word)


@pytest.mark.parametrize(
    ("spelled", "address", "printed"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), "127.0.0.1:8080"),
        ("[::1]:8080", Address("::1", 8080), "[::1]:8080"),
        ("localhost:0", Address("localhost", 0), "localhost:0"),
        ("unix:run/x.sock", Address(path="/etc/gateway/run/x.sock"), "unix:/etc/gateway/run/x.sock"),
        ("unix:/run/x.sock", Address(path="/run/x.sock"), "unix:/run/x.sock"),
    ],
)
def test_an_address_is_read_and_written(spelled, address, printed):
    assert parse_address(spelled, HERE) == address
    assert str(address) == printed


@pytest.mark.parametrize(
    "spelled",
    ["", "8080", ":8080", "*:8080", "::1:8080", "h:99999", "h:x", "300.1.1.1:80", "a b:80", "unix:", "unix:" + "x" * 108],
)
def test_an_address_that_is_unclear_is_refused(spelled):
    with pytest.raises(ValueError, match=r"."):
        parse_address(spelled, HERE)


@pytest.mark.parametrize(
    ("spelled", "is_loopback"),
    [
        ("127.0.0.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/x", True),
        ("0.0.0.0:1", False),
        ("10.0.0.1:1", False),
        ("db:1", False),
    ],
)
def test_an_address_knows_whether_other_machines_reach_it(spelled, is_loopback):
    assert parse_address(spelled, HERE).is_loopback is is_loopback
