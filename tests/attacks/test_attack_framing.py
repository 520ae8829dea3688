"""Framing and desync (F), and what of the other sections is refused by form alone: every case on a fresh connection and behind a
good request, each with a canary behind it that must never be served."""

from collections import defaultdict

import pytest
from attack_backend import ByteBackend
from attack_corpus import Case, from_files
from attack_families import families
from attack_sending import FRONT, complaints
from data_plane import DataPlane

pytestmark = pytest.mark.asyncio(loop_scope="module")

BY_CASE: dict[str, list[Case]] = defaultdict(list)
for _case in (*from_files(), *families()):
    if _case.status >= 0:
        BY_CASE[_case.case].append(_case)


@pytest.mark.parametrize("number", sorted(BY_CASE))
async def test_every_request_has_its_outcome(number: str, shared_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    assert await complaints(shared_gateway, byte_backend, BY_CASE[number]) == []


@pytest.mark.parametrize("number", sorted(BY_CASE))
async def test_and_has_it_behind_a_good_request(number: str, shared_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    assert await complaints(shared_gateway, byte_backend, BY_CASE[number], front=FRONT) == []
