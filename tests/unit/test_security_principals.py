import pytest

from scheduler.errors import Forbidden
from scheduler.security.principals import Principal, Role


def caller(role: Role, *step_types: str) -> Principal:
    return Principal("k1", "a key", role, frozenset(step_types))


@pytest.mark.parametrize("role", list(Role))
def test_a_role_reaches_itself_and_all_below_it(role: Role) -> None:
    order = list(Role)
    reached = [needed for needed in Role if role.reaches(needed)]
    assert reached == order[: order.index(role) + 1]


def test_a_role_too_low_is_refused_with_both_roles_named() -> None:
    with pytest.raises(Forbidden, match=r"needs the role author.*yours is operator") as refusal:
        caller(Role.OPERATOR).require(Role.AUTHOR)
    assert refusal.value.code == "forbidden"


def test_every_step_type_must_be_allowed() -> None:
    caller(Role.AUTHOR, "sql", "http").require_step_types({"sql", "http"})
    with pytest.raises(Forbidden, match="step type http, powershell"):
        caller(Role.AUTHOR, "sql").require_step_types(["sql", "powershell", "http"])


def test_a_star_allows_every_step_type_and_nothing_allows_none() -> None:
    caller(Role.AUTHOR, "*").require_step_types({"sql", "whatever"})
    caller(Role.VIEWER).require_step_types([])
    assert not caller(Role.ADMIN).allows_step_type("sql")
