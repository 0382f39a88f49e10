"""Random worlds: OVN lags, each watch tells late, in bursts, and in no order with the others; anything fails at any time.

Whatever happens, once the world stands still the port belongs to one chassis: the one that has the guest.
"""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.handoff.cluster import CHASSIS
from tests.handoff.world import EVENTS, WATCHES, World
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
    assert world.binding.chassis == home
    assert world.binding.additional == frozenset()


@settings(max_examples=400)
@given(st.lists(STEP, min_size=20, max_size=60))
@example([*THERE, *THERE])
@example([*THERE, "pods_collected - 0", *AWAY, "vmims_collected m 1"])
@example([*AWAY, "failed mp 1", "ovn - 1"])
@example([*AWAY, "post_copy i 1", "failed m 1"])
@example([*AWAY, f"ready {ALL} 1", *NOBODY_LEADS])
@example([*AWAY, "ready - 0", *NOBODY_LEADS])
@example([*AWAY, f"ready {ALL} 1", "another_leads - 0", "node_dies - 0"])
@example([*AWAY, "node_dies - 0", "ready - 0", f"node_object_goes {ALL} 1"])
def test_the_end_is_one_chassis_and_the_right_one(steps: list[str]) -> None:
    world = World()
    play(world, steps)
    finish(world)
    world.settle()
    check(world)


@settings(max_examples=150)
@given(st.lists(STEP, min_size=4, max_size=30))
def test_a_guest_that_left_for_good_is_never_given_back(steps: list[str]) -> None:
    world = World()
    play(world, AWAY)
    world.post_copy()
    world.look(*WATCHES)
    world.decide()
    target = CHASSIS[world.place]
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
