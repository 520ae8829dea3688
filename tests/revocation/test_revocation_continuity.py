"""What an answer of the store proves, case by case [L2]."""

import pytest

from gateway.errors import StoreUnavailable
from gateway.revocation.continuity import Finding, Position, Reply, judge, read_news, read_reply
from gateway.revocation.entry import Entry, Kind

ASKED = 10
HERE = Position("7", 41, "id41")


def entry(sequence: int, before: str | None = None, own: str | None = None) -> Entry:
    return Entry(sequence, own or f"id{sequence}", before or f"id{sequence - 1}", Kind.TOKEN, b"k" * 16, 1, 2, "r")


def reply(*entries: Entry, epoch: str = "7", head: int = 41, head_id: str = "", floor: int = 1, found: str = "id41") -> Reply:
    return Reply(0.0, "run", epoch, head, head_id or f"id{head}", floor, id_at_position=found, granted="live", entries=entries)


CASES = {
    "nothing new": (reply(), Finding.CONTINUOUS),
    "two entries": (reply(entry(42), entry(43), head=43), Finding.CONTINUOUS),
    "as many as asked, and more behind": (reply(*(entry(n) for n in range(42, 52)), head=99), Finding.CONTINUOUS),
    "never declared": (Reply(0.0, "run"), Finding.UNDECLARED),
    "another epoch": (reply(epoch="8"), Finding.OTHER_EPOCH),
    "my entry is missing": (reply(found=""), Finding.BROKEN),
    "another entry in its place": (reply(found="other"), Finding.BROKEN),
    "the head is behind me": (reply(head=40), Finding.BROKEN),
    "trimmed below my position": (reply(floor=42, head=50, found=""), Finding.BELOW_FLOOR),
    "a number left out": (reply(entry(43, before="id41"), head=43), Finding.BROKEN),
    "a number twice": (reply(entry(42), entry(42, before="id42"), head=43), Finding.BROKEN),
    "the first follows a stranger": (reply(entry(42, before="other"), head=42), Finding.BROKEN),
    "a later one follows a stranger": (reply(entry(42), entry(43, before="other"), head=43), Finding.BROKEN),
    "the head is another entry": (reply(entry(42, own="other"), head=42), Finding.BROKEN),
    "entries behind the head": (reply(entry(42), head=41), Finding.BROKEN),
    "the end is missing": (reply(entry(42), head=44), Finding.BROKEN),
    "all that should follow is missing": (reply(head=44), Finding.BROKEN),
}


@pytest.mark.parametrize(("answer", "finding"), CASES.values(), ids=list(CASES))
def test_L2_an_answer_is_judged(answer: Reply, finding: Finding) -> None:
    assert judge(HERE, answer, ASKED) is finding


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"OK",
        7,
        [],
        [b"x"],
        [b"1", b"2"],
        [1, 2, b"r", b"e"],
        [1, 2, None],
        [1, 2, b"r", b"7", b"x", b"", b"1", b"0", b"", b"", []],
    ],
)
def test_L2_an_answer_that_is_not_one_of_ours_proves_nothing(raw: object) -> None:
    with pytest.raises(StoreUnavailable):
        read_reply(raw)


def test_L2_an_entry_of_a_kind_we_do_not_know_is_not_skipped() -> None:
    flat = [part for pair in news(42, kind=b"martian")[1].items() for part in pair]
    with pytest.raises(StoreUnavailable):
        read_reply([1, 2, b"run", b"7", b"42", b"a", b"1", b"0", b"id41", b"live", [[b"7-42", flat]]])


def news(sequence: int, *, epoch: bytes = b"7", before: bytes = b"", kind: bytes = b"token") -> tuple[bytes, dict[bytes, bytes]]:
    """One entry as a blocking read gives it."""
    fields = {b"id": b"id%d" % sequence, b"before": before or b"id%d" % (sequence - 1), b"kind": kind, b"key": b"k" * 16}
    fields |= {b"value": b"1", b"expires": b"2", b"revocation": b"r", b"lifted": b"", b"target": b"", b"text": b"", b"at": b"1.0"}
    return b"%s-%d" % (epoch, sequence), fields


NEWS = {
    "nothing": ([], []),
    "two": ([news(42), news(43)], [42, 43]),
    "the first does not follow": ([news(42, before=b"other")], []),
    "a later one does not follow": ([news(42), news(43, before=b"other")], []),
    "a number left out": ([news(43, before=b"id41")], []),
    "an epoch that goes on where this one ends": ([news(42, epoch=b"8")], []),
    "a lift, and what is behind it": ([news(42), news(43, kind=b"lift"), news(44)], [42]),
    "other keys, and what is behind them": ([news(42, kind=b"ring"), news(43)], []),
    "a kind we do not know, and what is behind it": ([news(42), news(43, kind=b"martian"), news(44)], [42]),
    "something else": ([b"7-42"], []),
}


@pytest.mark.parametrize(("found", "sequences"), NEWS.values(), ids=list(NEWS))
def test_L3_of_what_a_blocking_read_brought_only_revocations_that_follow_count(found: list[object], sequences: list[int]) -> None:
    assert [entry.sequence for entry in read_news([[b"entries", found]], HERE)] == sequences
    assert read_news({b"entries": [found]}, HERE) == (), "an answer of another protocol"
