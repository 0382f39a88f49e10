"""Label selectors, as Kubernetes means them (metav1.LabelSelector)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True)
class Requirement:
    """One expression over a label."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether it holds; NotIn holds where there is no such label."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


@dataclass(frozen=True)
class Selector:
    """All of its requirements hold; of none, everything is selected."""

    requirements: frozenset[Requirement] = frozenset()

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Self:
        """The selector that ``matchLabels`` is."""
        return cls(frozenset(Requirement(key, "In", frozenset({value})) for key, value in labels.items()))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(one.holds(labels) for one in self.requirements)
