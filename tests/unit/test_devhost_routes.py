"""Route templates: what matches, with which values, and which route goes first."""

import pytest

from tools.devhost.errors import AppFailed
from tools.devhost.routes import Router, parse_route


def _find(templates: list[str], path: str) -> tuple[str, dict[str, str]] | None:
    router = Router(parse_route(template, (), template) for template in templates)
    return router.find("GET", path)


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("api/jobs", "/api/jobs", {}),
        ("api/jobs", "/API/Jobs/", {}),
        ("api/jobs", "/api/jobs/x", None),
        ("api/jobs/{id}", "/api/jobs/x.y", {"id": "x.y"}),
        ("api/jobs/{id}", "/api/jobs", None),
        ("api/jobs/{id}", "/api/jobs/a%20b%2Fc", {"id": "a b%2Fc"}),
        ("api/jobs/{id}/run", "/api/jobs/x/run", {"id": "x"}),
        ("ui/{*rest}", "/ui", {"rest": None}),
        ("ui/{*rest}", "/ui/a/b.js", {"rest": "a/b.js"}),
        ("{**rest}", "/a/b", {"rest": "a/b"}),
        ("a/{b?}", "/a", {}),
        ("a/{b?}", "/a/x", {"b": "x"}),
        ("a/{b=z}", "/a", {"b": "z"}),
        ("a/{name}.{kind}", "/a/x.js", {"name": "x", "kind": "js"}),
        ("a/{n:int}", "/a/-12", {"n": "-12"}),
        ("a/{n:int}", "/a/2147483648", None),
        ("a/{n:long:min(5)}", "/a/4", None),
        ("a/{n:range(1,9)}", "/a/9", {"n": "9"}),
        ("a/{n:length(2,3)}", "/a/abcd", None),
        ("a/{n:alpha}", "/a/a1", None),
        ("a/{n:bool}", "/a/TRUE", {"n": "TRUE"}),
        ("a/{n:guid}", "/a/0d9a5c2e-8f8f-4b6e-9f53-0f8c4f4f4f4f", {}),
    ],
)
def test_a_template_matches_paths(template: str, path: str, values: dict[str, str] | None) -> None:
    found = _find([template], path)
    if values is None:
        assert found is None
    else:
        assert found is not None
        wanted = {name: value for name, value in values.items() if value is not None}
        assert wanted.items() <= found[1].items()


def test_text_goes_before_parameters_and_longer_before_shorter() -> None:
    templates = ["{*rest}", "jobs/{id}", "jobs/execute", "jobs/{id:int}", "jobs/{id}/run"]
    for path, template in {
        "/jobs/execute": "jobs/execute",
        "/jobs/12": "jobs/{id:int}",
        "/jobs/x": "jobs/{id}",
        "/jobs/x/run": "jobs/{id}/run",
        "/other": "{*rest}",
    }.items():
        found = _find(templates, path)
        assert found is not None
        assert found[0] == template


def test_a_method_picks_among_routes_of_one_template() -> None:
    router = Router([parse_route("a", ["GET"], 1), parse_route("a", ["put", "POST"], 2)])
    assert router.find("PUT", "/a") == (2, {})
    assert router.find("get", "/a") == (1, {})
    assert router.find("DELETE", "/a") is None


@pytest.mark.parametrize("template", ["a/{n:unknown}", "a/{n", "a/n}", "a/{}"])
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(AppFailed):
        parse_route(template, (), None)
