"""Random worlds: OVN lags, each watch tells late, in bursts, and in no order with the others; anything fails at any time.

Whatever happens, once the world stands still the port belongs to one chassis: the one that has the guest.
"""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.handoff.cluster_state import CHASSIS
from tests.handoff.world import EVENTS, WATCHES, World
from virtnet.handoff.guest import arrived
from virtnet.handoff.options import ChassisOptions

LETTERS = {watch[0]: watch for watch in WATCHES}
ALL = "".join(LETTERS)
STEP = st.builds(
    "{} {} {}".format,
    st.sampled_from(EVENTS),
    st.just(ALL) | st.lists(st.sampled_from(ALL), unique=True).map(lambda some: "".join(sorted(some)) or "-"),
    st.integers(0, 2),
)
"""What happens, which watches tell of it (and of all before; by their first letters), how often is decided then."""

AWAY = [f"{event} {ALL} 1" for event in ("migrate", "schedule", "ovn", "hand_off")]
NOBODY_LEADS = [f"{event} - 0" for event in ("moved", "completed", "migrate", "schedule", "ovn", *["proceed"] * 4)]
THERE = [*AWAY, *(f"{event} {ALL} 1" for event in ("ready", "release", "ovn", "moved", "completed", "ovn"))]


def take(world: World, step: str) -> bool:
    """Whether the controller has decided, from all that is true."""
    event, watches, times = step.split()
    getattr(world, event)()
    world.look(*(LETTERS[letter] for letter in watches if letter != "-"))
    for _ in range(int(times)):
        world.decide()
    return times != "0" and world.up_to_date


def play(world: World, steps: list[str]) -> None:
    for step in steps:
        decided = take(world, step)
        if decided and world.on_target and world.place in world.seen.chassis:
            assert CHASSIS[world.place] in world.options.requested, "the guest was cut off"


def finish(world: World) -> None:
    """Bring the migration that is under way to the end that KubeVirt would: any."""
    world.noticed()
    if world.on_target:
        world.ready()
        world.moved()
        world.completed()
    else:
        world.failed()


def check(world: World) -> None:
    if not world.running:
        assert world.options == ChassisOptions()
        return
    home = CHASSIS[world.place]
    assert world.options == ChassisOptions(requested=(home,))
    has_nic = home in world.nics.values()
    left = {CHASSIS[node] for node in world.dead}  # a dead chassis never lets go by itself
    assert world.binding.chassis in ({home} if has_nic else {"", *left})
    assert world.binding.additional == frozenset()


@settings(max_examples=150)
@given(steps=st.lists(STEP, min_size=20, max_size=60), link=st.booleans())
@example(steps=[*THERE, *THERE], link=True)
@example(steps=[*THERE, *THERE], link=False)
@example(steps=[*THERE, "pods_collected - 0", *AWAY, "vmims_collected m 1"], link=True)
@example(steps=[*AWAY, "failed mp 1", "ovn - 1"], link=True)
@example(steps=[*AWAY, "post_copy i 1", "failed m 1"], link=True)
@example(steps=[*AWAY, f"ready {ALL} 1", *NOBODY_LEADS], link=True)
@example(steps=[*AWAY, "ready - 0", *NOBODY_LEADS], link=True)
@example(steps=[*AWAY, f"ready {ALL} 1", "another_leads - 0", "node_dies - 0"], link=True)
@example(steps=[*AWAY, "node_dies - 0", "ready - 0", f"node_object_goes {ALL} 1"], link=True)
def test_the_end_is_one_chassis_and_the_right_one(steps: list[str], link: bool) -> None:
    world = World(link=link)
    play(world, steps)
    finish(world)
    world.settle()
    check(world)


@settings(max_examples=150)
@given(st.lists(STEP, min_size=10, max_size=40))
@example(THERE)
def test_of_a_nic_that_nobody_hands_over_no_node_is_told_but_the_guests(steps: list[str]) -> None:
    """As soon as it is there, and until its migration is over."""
    world = World(link=False)
    for step in steps:
        take(world, step)
        told = arrived(world.facts) if world.up_to_date else None
        assert told is None or (told.node, told.migration) == (world.place, world.current)


@settings(max_examples=150)
@given(st.lists(STEP, min_size=8, max_size=40))
@example([*AWAY[:2], "nic_goes - 0", f"ready {ALL} 1", "migrate - 0", f"schedule {ALL} 1"])
@example(["nic_goes - 0", "stop - 0", "start - 0", "nic_comes - 0", *AWAY[:2]])
@example(["nic_goes - 0", "stop - 0", "start - 0", "migrate - 0", f"schedule {ALL} 1", "nic_comes - 0", "plugged - 0",
          *(f"{event} {ALL} 1" for event in ("hand_off", "ready", "moved", "completed", "migrate", "schedule"))])  # fmt: skip
def test_a_target_that_has_the_nic_always_gets_the_port(steps: list[str]) -> None:
    """Its CNI ADD waits for that, and the migration for its CNI ADD."""
    world = World()
    play(world, steps)
    if world.target_pod is None:
        world.migrate()
    world.schedule()
    world.node_returns()
    world.settle()
    target = world.target_pod
    if target is not None and target.nic:
        assert world.bound_at(target.node)


@settings(max_examples=150)
@given(st.lists(STEP, min_size=4, max_size=30))
def test_a_guest_that_left_for_good_is_never_given_back(steps: list[str]) -> None:
    world = World()
    play(world, AWAY)
    world.post_copy()
    world.look(*WATCHES)
    world.decide()
    target = CHASSIS[world.place]
    assert target != CHASSIS["node1"], "it has not left"
    assert target in world.options.requested
    for step in steps:
        if step.split()[0] in ("stop", "wipe", "migrate", "proceed", "node_dies", "failed"):
            continue  # its instance ends, or another story begins
        take(world, step)
        assert target in world.options.requested


@settings(max_examples=150)
@given(st.lists(STEP, min_size=10, max_size=40))
@example([*["proceed ipmbc 0"] * 2, "ovn ipmbc 0", *["proceed ipmbc 0"] * 5, "node_dies ipmbc 0", "proceed ipmbc 0",
          *["ovn ipmbc 0"] * 2, "node_returns i 0"])  # fmt: skip
def test_deciding_again_from_the_same_facts_changes_nothing(steps: list[str]) -> None:
    """But for the journal's own progress: each decision may open the next step, never take one back."""
    world = World()
    for step in steps:
        take(world, step)
        for _ in range(4):
            world.decide()
        stands = world.options
        world.decide()
        assert world.options == stands
