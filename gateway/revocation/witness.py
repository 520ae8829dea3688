"""What a host knew of the log, as a file, for the day on which all its workers and its store die at once [L5]. The format.

       0   head      464 bytes: a JSON object with the log, the epoch, the store's address, the run of the gateway, and a mark
     464   proof      48 bytes, written over in place
     512   frames     48 bytes each, appended

    frame          crc 4 │ what 1 │ 43 bytes, those that are not needed are zeros. Numbers are big endian.
      fact         key 16 │ value 8 │ expires 8 │ sequence 8 │ kind 1     what holds for the key from then on
      position     sequence 8 │ length 1 │ id of that entry. What the log said up to it stands before it
      register     (nothing) the members of other hosts are those that follow
      member       staleness_ms 4 │ length 1 │ incarnation
    proof          the same with: store's time ms 8 │ complete_since 8 │ uses_since 8 │ folded_until 8 │ 1 when nothing is missing

Frames are of one size, so each is judged by itself: one that is damaged is left out, and those behind it are read. What ends
with a position was written at once. If the last such batch is damaged it was torn, nobody was told that it was kept, and the
position before it counts. Anything else that is damaged may have been a revocation, so the file vouches for nothing any more
(`is_whole`); its facts go on being facts. A file is begun with its position twice, so that no single frame is needed.

The mark is a keyed hash of the rest of the head. Who does not have our secrets cannot make a file that we believe; one that was
copied from another gateway is a stranger's. Which store it speaks of is judged in lineage.py, written is it in witnessing.py.

Owns no data, does no I/O.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from struct import error as StructError
from typing import Final
from zlib import crc32

from gateway.revocation.continuity import Position
from gateway.revocation.view import Fact

HEAD_BYTES: Final = 464
FRAME_BYTES: Final = 48
FRAMES_AT: Final = HEAD_BYTES + FRAME_BYTES
LONGEST_ID: Final = 34
_FORMAT: Final = 1
_CRC_BYTES: Final = 4
_CONTENT_BYTES: Final = 43
_FACT, _POSITION, _REGISTER, _MEMBER, _PROOF = b"F", b"P", b"R", b"M", b"T"
_crc: Final = Struct(">I")
_fact: Final = Struct(">16sQQQB")
_position: Final = Struct(">QB")
_member: Final = Struct(">IB")
_proof: Final = Struct(">QQQQB")
_MARK_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Head:
    """Which log it is about; `address` is that of the store, `run` the one of the gateway that wrote it."""

    log: str
    epoch: str
    address: str
    run: str


@dataclass(frozen=True, slots=True)
class Proof:
    """When the writer was last live, by the store's clock, and what the log was complete since then."""

    proven_at: float = 0.0
    complete_since: int = 0
    uses_since: int = 0
    folded_until: int = 0
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Testimony:
    """What a file says. `members` are those of other hosts, with their staleness in ms; `damaged` counts frames.

    `is_whole`: no revocation can be missing up to the position. Facts are made of the `frames` when they are wanted: a million of
    them at once would take 200 MB.
    """

    head: Head
    proof: Proof
    position: Position
    frames: bytes
    members: tuple[tuple[str, int], ...]
    damaged: int = 0

    @property
    def facts(self) -> Iterator[Fact]:
        """In the order in which they were written: of two about one key the later one is right."""
        for frame in _good_or_none(self.frames):
            if frame is not None and frame[_CRC_BYTES : _CRC_BYTES + 1] == _FACT:
                key, value, expires_at, sequence, kind = _fact.unpack_from(frame, _CRC_BYTES + 1)
                yield Fact(key, value, expires_at, sequence, sequence, kind)

    @property
    def is_whole(self) -> bool:
        return self.proof.is_whole and not self.damaged


def address_of(store_url: str) -> str:
    """A store's address, without its password, as a head holds it."""
    return blake2b(store_url.encode(), digest_size=8).hexdigest()


def pack_head(head: Head, key: bytes) -> bytes:
    """Raises ValueError when it does not fit."""
    fields = {"witness": _FORMAT, "log": head.log, "epoch": head.epoch, "address": head.address, "run": head.run}
    text = json.dumps({**fields, "mark": _mark(head, key)}).encode() + b"\n"
    if len(text) > HEAD_BYTES:
        raise ValueError("the log's name is too long for a witness")
    return text.ljust(HEAD_BYTES)


def read_head(raw: bytes, keys: Sequence[bytes]) -> Head | None:
    """None: it is damaged, or not ours."""
    try:
        fields = json.loads(raw[:HEAD_BYTES])
        if fields["witness"] != _FORMAT:
            return None
        head = Head(*(str(fields[name]) for name in ("log", "epoch", "address", "run")))
        is_ours = any(compare_digest(_mark(head, key), str(fields["mark"])) for key in keys)
        return head if is_ours and head.epoch.isdecimal() else None
    except (ValueError, TypeError, KeyError):
        return None


def _mark(head: Head, key: bytes) -> str:
    text = json.dumps([_FORMAT, head.log, head.epoch, head.address, head.run]).encode()
    return blake2b(text, key=key, digest_size=_MARK_BYTES).hexdigest()


def pack_fact(fact: Fact) -> bytes:
    """One fact as the replica has it: it takes the place of what was said of its key before."""
    return _frame(_FACT, _fact.pack(fact.key, fact.value, fact.expires_at, fact.sequence, fact.kind))


def pack_position(position: Position) -> bytes:
    """The end of what is written at once."""
    name = position.id.encode()[:LONGEST_ID]
    return _frame(_POSITION, _position.pack(position.sequence, len(name)) + name)


def pack_members(members: Iterable[tuple[str, int]]) -> bytes:
    """The members of other hosts; whatever was said of them before does not hold any more."""
    frames = [_frame(_REGISTER, b"")]
    for incarnation, staleness_ms in members:
        name = incarnation.encode()[:LONGEST_ID]
        frames.append(_frame(_MEMBER, _member.pack(staleness_ms, len(name)) + name))
    return b"".join(frames)


def pack_proof(proof: Proof) -> bytes:
    """For its place behind the head."""
    since = (proof.complete_since, proof.uses_since, proof.folded_until)
    return _frame(_PROOF, _proof.pack(int(proof.proven_at * 1000), *since, proof.is_whole))


def read_proof(frame: bytes) -> Proof:
    """One that is damaged proves nothing."""
    if len(frame) != FRAME_BYTES or not _is_good(frame) or frame[_CRC_BYTES : _CRC_BYTES + 1] != _PROOF:
        return Proof()
    proven_at, complete_since, uses_since, folded_until, is_whole = _proof.unpack_from(frame, _CRC_BYTES + 1)
    return Proof(proven_at / 1000, complete_since, uses_since, folded_until, bool(is_whole))


def _frame(what: bytes, content: bytes) -> bytes:
    body = what + content.ljust(_CONTENT_BYTES, b"\0")
    return _crc.pack(crc32(body)) + body


def _is_good(frame: bytes) -> bool:
    return bool(_crc.unpack_from(frame)[0] == crc32(frame[_CRC_BYTES:]))


def read_testimony(head: Head, proof: Proof, frames: bytes) -> Testimony | None:
    """What the frames say; also of the last ones alone. None: no position can be read."""
    reading = _Reading()
    for frame in _good_or_none(frames):
        reading.take(frame)
    position, damaged = reading.end()
    if position is None:
        return None
    sequence, name = position
    members = tuple(reading.members.items())
    return Testimony(head, proof, Position(head.epoch, sequence, name), frames, members, damaged)


def _good_or_none(frames: bytes) -> Iterator[bytes | None]:
    for at in range(0, len(frames) - FRAME_BYTES + 1, FRAME_BYTES):
        frame = frames[at : at + FRAME_BYTES]
        yield frame if _is_good(frame) else None


@dataclass(slots=True)
class _Reading:
    """All but the facts. `damaged` are those of batches that are behind us, `open` those of the batch that is being read."""

    members: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    open: int = 0
    last: tuple[int, str] | None = None
    before: tuple[int, str] | None = None
    last_damaged: int = 0

    def take(self, frame: bytes | None) -> None:
        if frame is None:
            self.open += 1
            return
        what, content = frame[_CRC_BYTES : _CRC_BYTES + 1], frame[_CRC_BYTES + 1 :]
        try:
            if what == _POSITION:
                self._close_batch(content)
            elif what == _REGISTER:
                self.members.clear()
            elif what == _MEMBER:
                staleness_ms, length = _member.unpack_from(content)
                self.members[content[_member.size : _member.size + length].decode()] = staleness_ms
            elif what != _FACT:
                self.open += 1
        except (StructError, UnicodeDecodeError):
            self.open += 1

    def _close_batch(self, content: bytes) -> None:
        sequence, length = _position.unpack_from(content)
        name = content[_position.size : _position.size + length].decode()
        self.damaged += self.last_damaged
        self.before, self.last = self.last, (sequence, name)
        self.last_damaged, self.open = self.open, 0

    def end(self) -> tuple[tuple[int, str] | None, int]:
        """The position up to which it counts, and how many frames before it are damaged."""
        if self.last_damaged and self.before is not None:
            return self.before, self.damaged
        return self.last, self.damaged + self.last_damaged
