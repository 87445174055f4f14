"""Who calls, and how far their right reaches. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from scheduler.errors import Forbidden

EVERY_STEP_TYPE = "*"


class Role(StrEnum):
    """What a caller may do; each role may do all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    AUTHOR = "author"
    ADMIN = "admin"

    def reaches(self, needed: "Role") -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: the id that the audit keeps, a role, and allowed step types.

    `step_types` holding `"*"` allows every type, those registered later included.
    """

    id: str
    name: str
    role: Role
    step_types: frozenset[str] = frozenset()

    def require(self, role: Role) -> None:
        """Makes sure that this caller has at least `role`.

        Raises:
            Forbidden: names the role that is needed and the one at hand.
        """
        if not self.role.reaches(role):
            raise Forbidden(
                f"this call needs the role {role}, and yours is {self.role}; "
                f"ask an administrator for a key with the role {role}"
            )

    def allows_step_type(self, step_type: str) -> bool:
        """Whether this caller may create, change, run or retry steps of the type."""
        return EVERY_STEP_TYPE in self.step_types or step_type in self.step_types

    def require_step_types(self, step_types: Iterable[str]) -> None:
        """Makes sure that this caller has the right to every one of the step types.

        Raises:
            Forbidden: names the types that are out of reach.
        """
        refused = sorted({word for word in step_types if not self.allows_step_type(word)})
        if refused:
            raise Forbidden(
                f"your key does not allow the step type {', '.join(refused)}; "
                "ask an administrator for a key whose step_types include it"
            )


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a call comes from: the principal (None before it is known), address, trace id."""

    principal: Principal | None
    address: str = ""
    trace_id: str = ""
