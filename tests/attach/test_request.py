"""The request parser answers everything with a request or one CNI error."""

import json

from hypothesis import given
from hypothesis import strategies as st

from virtnet.node.request import CniError, frame_of, parse, version_of

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
variables = st.dictionaries(
    st.sampled_from(["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS"]),
    st.sampled_from(["ADD", "DEL", "GC"]) | st.text(),
)
configs = (
    st.dictionaries(
        st.sampled_from(
            ["cniVersion", "name", "type", "cni.dev/valid-attachments", "deviceID", "pciBusID", "runtimeConfig"]
        ),
        st.just("1.1.0") | anything | st.dictionaries(st.sampled_from(["deviceID", "CNIDeviceInfoFile"]), anything),
    ).map(json.dumps)
    | st.text()
)


@given(st.binary() | anything.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_frames(frame: bytes) -> None:
    attempt(frame)


@given(variables, configs)
def test_frames_of_the_right_form(env: dict[str, str], config: str) -> None:
    attempt(json.dumps({"env": env, "config": config}).encode())


def attempt(body: bytes) -> None:
    error = refusal(body)
    assert error is None or (1 <= error.code <= 7 and str(error) and "\n" not in str(error))


def refusal(body: bytes) -> CniError | None:
    try:
        frame = frame_of(body)
        version_of(frame)
        parse(frame)
    except CniError as error:
        return error
    return None
