"""Whatever a sysfs says: it is read in time, nothing fails, and what is published of it is small and clean."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.sysfs import PF, Sysfs, bus_addresses, read
from virtnet.api.node_devices import NodeDevices
from virtnet.node.devices import ranges
from virtnet.node.devices.found import Found, Function, Netdev, Nic
from virtnet.node.devices.inventory import inventory

KIB = 1024
DRIVERS = st.sampled_from(("", "iavf", "vfio-pci", "mlx5_core"))
TEXTS = st.one_of(
    st.binary(max_size=40), st.sampled_from((b"-1", b"99999999999", b"0x", b"../../etc", b"\xff\xfe", b"a" * 9000))
)
FILES = st.dictionaries(
    st.sampled_from(("class", "vendor", "device", "numa_node", "sriov_totalvfs", "sriov_numvfs")), TEXTS, max_size=6
)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(DRIVERS, min_size=1, max_size=5), min_size=8, max_size=8), st.integers(1, 3))
def test_eight_nics_of_128_virtual_functions_fit_into_an_object(drivers: list[list[str]], stride: int) -> None:
    nics = []
    for number, mixed in enumerate(drivers):
        addresses = bus_addresses(0x10 * number + 1, 128 * stride)[::stride]
        virtual = {
            index: Function(address, mixed[index % len(mixed)], iommu_group=1000 * number + stride * index)
            for index, address in enumerate(addresses)
        }
        uplink = Netdev(f"ens{number}f0np0")
        physical = Function(f"0000:{16 * number:02x}:00.0", "ice", "8086", "1592", interfaces=(uplink,))
        nics.append(Nic(physical, 128, 128, virtual))
    found = inventory(Found(tuple(nics)), {})
    assert sum(nic.vfs for nic in found.nics) == 8 * 128
    assert len(found.model_dump_json(by_alias=True)) < 64 * KIB


@settings(deadline=None, max_examples=30)
@given(FILES, FILES, st.binary(max_size=100))
def test_no_text_makes_it_fail_or_is_published_as_it_is(
    nic: dict[str, bytes], vf: dict[str, bytes], port: bytes
) -> None:
    with TemporaryDirectory() as directory:
        kernel = Sysfs(Path(directory) / "sys")
        device = kernel.nic(PF, "ens1f0", total=4)
        kernel.vfs(PF, bus_addresses(0x3B, 2, first=16))
        (device / "net/ens1f0/phys_port_name").write_bytes(port)
        for path, files in ((device, nic), (kernel.root / "bus/pci/devices/0000:3b:02.0", vf)):
            for name, content in files.items():
                (path / name).write_bytes(content)
        found = read(kernel)
    text = found.model_dump_json(by_alias=True)
    assert NodeDevices.model_validate_json(text) == found
    assert text.isascii()
    assert len(text) < 4 * KIB


def test_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "class").write_text("0x020000\n")
    kernel = Sysfs(tmp_path / "sys")
    device = kernel.nic(PF, "ens1f0", total=2)
    (device / "virtfn0").symlink_to(secret)
    (device / "virtfn1").symlink_to("../../../../0000:99:00.0")
    (device / "driver").unlink()
    (device / "driver").symlink_to("../../drivers/a b\n")
    (nic,) = read(kernel).nics
    assert (nic.virtual_functions, nic.driver) == ((), "")


@given(st.sets(st.integers(0, 5000), max_size=200))
def test_ranges_have_every_number_and_no_other(found: set[int]) -> None:
    back: list[int] = []
    for part in filter(None, ranges.numbers(found).split(",")):
        first, _, last = part.partition("-")
        back += range(int(first), int(last or first) + 1)
    assert back == sorted(found)
