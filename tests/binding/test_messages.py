"""The sidecar's own reading and writing of messages, beside protobuf's."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.binding.messages import OnDefineDomainParams, info_result, on_define_domain_result
from virtnet.lab.standin import hook_messages as hooks
from virtnet.protobuf import Malformed

names = st.text(st.characters(codec="utf-8"), max_size=200)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_parameters_are_read_as_protobuf_writes_them(domain: bytes, vmi: bytes) -> None:
    written = hooks.OnDefineDomainParams(domainXML=domain, vmi=vmi).SerializeToString()
    assert OnDefineDomainParams.read(written) == OnDefineDomainParams(domain, vmi)


@given(st.binary(max_size=20), st.integers(-(2**31), 2**31 - 1), st.lists(st.binary(max_size=5), max_size=3))
def test_fields_of_newer_versions_are_passed_over(domain: bytes, number: int, more: list[bytes]) -> None:
    written = hooks.Other(a=domain, n=number, b=more).SerializeToString()
    assert OnDefineDomainParams.read(written) == OnDefineDomainParams(domain, b"")


@given(st.binary(max_size=70_000))
def test_results_are_written_as_protobuf_reads_them(domain: bytes) -> None:
    assert hooks.OnDefineDomainResult.FromString(on_define_domain_result(domain)).domainXML == domain


@given(names, st.lists(names, max_size=3), st.lists(names, max_size=3))
def test_info_is_written_as_protobuf_reads_it(name: str, points: list[str], versions: list[str]) -> None:
    read = hooks.InfoResult.FromString(info_result(name, tuple(points), tuple(versions)))
    assert (read.name, [(one.name, one.priority) for one in read.hookPoints]) == (
        name,
        [(point, 0) for point in points],
    )
    assert list(read.versions) == versions


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"\x0a\x05abc", id="cut off"),
        pytest.param(b"\x0a", id="no length"),
        pytest.param(b"\x0a" + b"\xff" * 20, id="a length without an end"),
        pytest.param(b"\x0b", id="a group"),
        pytest.param(b"\x02\x00", id="a field without a number"),
    ],
)
def test_what_is_no_message(message: bytes) -> None:
    with pytest.raises(Malformed):
        OnDefineDomainParams.read(message)


@given(st.binary(max_size=40))
def test_whatever_comes_is_read_or_malformed(message: bytes) -> None:
    with contextlib.suppress(Malformed):
        OnDefineDomainParams.read(message)
