"""Which addresses of one family are taken, so that the next free one is found without a look at each."""

import bisect
from collections.abc import Iterable


class Occupied:
    """Numbers, as sorted intervals that neither overlap nor touch."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for number in numbers:
            self.add(number)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __contains__(self, number: int) -> bool:
        return self.free_from(number) != number

    def free_from(self, number: int) -> int:
        """The first number from this one on that is not taken."""
        place = bisect.bisect_right(self._firsts, number) - 1
        return self._lasts[place] + 1 if place >= 0 and number <= self._lasts[place] else number

    def add(self, number: int) -> None:
        """Take a number; one that is taken stays so."""
        place = bisect.bisect_right(self._firsts, number)
        follows = place > 0 and number <= self._lasts[place - 1] + 1
        precedes = place < len(self._firsts) and self._firsts[place] == number + 1
        if follows and precedes:
            self._lasts[place - 1] = self._lasts[place]
            del self._firsts[place], self._lasts[place]
        elif follows:
            self._lasts[place - 1] = max(number, self._lasts[place - 1])
        elif precedes:
            self._firsts[place] = number
        else:
            self._firsts.insert(place, number)
            self._lasts.insert(place, number)

    def discard(self, number: int) -> None:
        """Give a number back; one that is free stays so."""
        place = bisect.bisect_right(self._firsts, number) - 1
        if place < 0 or number > self._lasts[place]:
            return
        first, last = self._firsts[place], self._lasts[place]
        left = [(first, number - 1)] if first < number else []
        left += [(number + 1, last)] if number < last else []
        self._firsts[place : place + 1] = [one for one, _ in left]
        self._lasts[place : place + 1] = [one for _, one in left]
