"""What NicPolicies may not say, and the whole text of each refusal."""

from tests.pinning.inputs import SCHEMA, Row, nic_policy

NIC_POLICIES = {
    "NicPolicies": (
        Row(
            "that select no NIC",
            nic_policy({}),
            SCHEMA,
            "spec.nics: Invalid value: select NICs by names, addresses, vendors or drivers",
        ),
        Row(
            "that say nothing",
            nic_policy(vfs=None),
            SCHEMA,
            "spec: Invalid value: say one of vfs, mtu, vfDriver, eswitchMode, hwOffload and dpdk, or several",
        ),
        Row(
            "an address that is none",
            nic_policy({"addresses": ["3b:00"]}),
            SCHEMA,
            'spec.nics.addresses[0]: Invalid value: "3b:00": must be a device\'s address such as 0000:3b:00.0, as virtnet node '
            "devices prints it",
        ),
        Row(
            "a vendor's name",
            nic_policy({"vendors": ["Intel"]}),
            SCHEMA,
            "[spec.nics.vendors[0]: Too long: may not be more than 4 bytes, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]",
        ),
        Row(
            "a driver's file",
            nic_policy({"drivers": ["ice.ko"]}),
            SCHEMA,
            'spec.nics.drivers[0]: Invalid value: "ice.ko": must be a driver\'s name such as ice',
        ),
        Row(
            "virtual functions of no NICs",
            {**nic_policy(), "spec": {"vfs": 4}},
            SCHEMA,
            "spec: Invalid value: vfs, mtu, vfDriver and eswitchMode are of NICs: say in nics of which",
        ),
        Row(
            "a CPU that is none",
            nic_policy(dpdk={"pmdCpus": [1024]}),
            SCHEMA,
            "spec.dpdk.pmdCpus[0]: Invalid value: 1024: spec.dpdk.pmdCpus[0] in body should be less than or equal to 1023",
        ),
        Row(
            "threads that sleep for seconds",
            nic_policy(dpdk={"pmdSleepMax": 1000000}),
            SCHEMA,
            "spec.dpdk.pmdSleepMax: Invalid value: 1000000: spec.dpdk.pmdSleepMax in body should be less than or equal to 10000",
        ),
    ),
}
