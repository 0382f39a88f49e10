"""What a peer saw of migrations, and what is said about many of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEVER_MS = 60_000.0
"""In place of a time that did not come while was looked."""


@dataclass(frozen=True)
class Round:
    """One migration. Times in milliseconds, the rest in probes or segments."""

    pause_ms: float
    gap_ms: float
    first_frame_ms: float | None
    """From the guest's RESUME to the first frame of the peer that was handed to its tap. None where nobody looked."""
    own_frame_ms: float | None
    """Of these, until the guest has sent something itself: nothing can be for it before."""
    sent: int
    sent_in_pause: int
    """Of these, while the guest stood still."""
    lost: int
    lost_before: int
    """Of these, sent before the guest stopped."""
    lost_at_commit: int
    """Of these, sent after one that was answered by the resumed guest."""
    duplicates: int
    dropped_by_guest: int
    """By the queues of both taps: the guest did not read fast enough. Counted among the lost."""
    tcp_survived: bool
    tcp_retransmits: int
    since_resume_ms: tuple[float, ...]
    """When the lost ones were sent."""

    @classmethod
    def of(
        cls,
        moved: dict[str, Any],
        seen: dict[str, Any],
        *,
        frames: Mapping[str, Sequence[float]] | None = None,
        stream: dict[str, Any] | None = None,
        dropped: int = 0,
    ) -> "Round":
        """From what the stand-in wrote of the migration, and what the probers say (virtnet.lab.probe)."""
        stop, resume, lost = moved["stop"], moved["resume"], seen["lost_at"]

        def after(what: str) -> float | None:
            if frames is None:
                return None
            moment = next((moment for moment in frames[what] if moment >= resume), None)
            return NEVER_MS if moment is None else (moment - resume) * 1000

        answered = next((moment for moment in seen["answered_at"] if moment >= resume), float("inf"))
        return cls(
            pause_ms=moved["pause_ms"],
            gap_ms=seen["gap_ms"],
            first_frame_ms=after("times"),
            own_frame_ms=after("sent"),
            sent=seen["sent"],
            sent_in_pause=sum(stop <= moment <= resume for moment in (*lost, *seen["answered_at"])),
            lost=seen["lost"],
            lost_before=sum(moment < stop for moment in lost),
            lost_at_commit=sum(moment > answered for moment in lost),
            duplicates=seen["duplicates"],
            dropped_by_guest=dropped,
            tcp_survived=stream is None or stream["survived"],
            tcp_retransmits=0 if stream is None else stream["retransmits"],
            since_resume_ms=tuple(round((moment - resume) * 1000, 1) for moment in lost),
        )

    @property
    def after_own_frame_ms(self) -> float | None:
        if self.first_frame_ms is None or self.own_frame_ms is None:
            return None
        return self.first_frame_ms - self.own_frame_ms


HEAD = f"{'':18}{'pause':>8}{'gap':>8}{'first':>8}{'own':>8}{'lost':>6}{'before':>8}{'commit':>8}{'twice':>7}{'slow':>6}{'retrans':>9}"


def line(name: object, one: Round) -> str:
    return (
        f"{name:<18}{one.pause_ms:8.1f}{one.gap_ms:8.1f}{_ms(one.first_frame_ms)}{_ms(one.own_frame_ms)}{one.lost:6}"
        f"{one.lost_before:8}{one.lost_at_commit:8}{one.duplicates:7}{one.dropped_by_guest:6}{one.tcp_retransmits:9}"
        f"{'' if one.tcp_survived else '  stream broken'}"
    )


def _ms(value: float | None) -> str:
    return f"{'-':>8}" if value is None or value >= NEVER_MS else f"{value:8.2f}"


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    def spread(value: Callable[[Round], float | None], *percents: int) -> dict[str, float]:
        ordered = sorted(found for one in rounds if (found := value(one)) is not None)
        last = len(ordered) - 1
        return {f"p{p}": round(ordered[min(last, len(ordered) * p // 100)], 3) for p in percents if ordered}

    def worst(value: Callable[[Round], float]) -> dict[str, float]:
        values = [value(one) for one in rounds]
        return {"p50": statistics.median(values), "max": max(values)}

    return {
        "rounds": len(rounds),
        "pause_ms": spread(lambda one: one.pause_ms, 50, 99),
        "gap_ms": spread(lambda one: one.gap_ms, 50, 99),
        "gap_beyond_pause_ms": spread(lambda one: one.gap_ms - one.pause_ms, 50, 99),
        "first_frame_ms": spread(lambda one: one.first_frame_ms, 50, 99),
        "own_frame_ms": spread(lambda one: one.own_frame_ms, 50, 99),
        "after_own_frame_ms": spread(lambda one: one.after_own_frame_ms, 50, 99),
        "lost": worst(lambda one: one.lost),
        "lost_beyond_pause": worst(lambda one: one.lost - one.sent_in_pause),
        "duplicates": worst(lambda one: one.duplicates),
        "lost_at_commit": sum(one.lost_at_commit for one in rounds),
        "lost_before": sum(one.lost_before for one in rounds),
        "dropped_by_guest": sum(one.dropped_by_guest for one in rounds),
        "tcp_resets": sum(not one.tcp_survived for one in rounds),
        "tcp_retransmits": worst(lambda one: one.tcp_retransmits),
    }
