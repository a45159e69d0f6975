"""The API does what it says of itself: calls made from its own description, right and wrong ones."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from page import TOKEN, Page, csv_of, environment, served

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    import schemathesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance

NOT_PROMISED = [positive_data_acceptance]
"""A call may be well formed and its list no list."""

CALLS_OF_EACH = 5
CHECKS = 2
"""Calls each of which starts a process."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    data = tmp_path_factory.mktemp("page")
    with served(data, env=environment(data)) as running:
        yield running


def test_no_call_is_answered_otherwise_than_described(page: Page) -> None:
    known = page.uploaded(csv_of(3))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(f"{page.url}/openapi.json", headers=headers)
    tried = []
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # an operation that is not valid fails here
        tried.append(f"{operation.method.upper()} {operation.path}")
        number = CHECKS if tried[-1] in ("POST /api/runs", "PATCH /api/runs/{run_id}") else CALLS_OF_EACH

        @settings(
            max_examples=number, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            run_id = (case.path_parameters or {}).get("run_id")
            if run_id is not None and case.method != "DELETE" and len(str(run_id)) % 2:
                case.path_parameters["run_id"] = known
            answer = case.call(headers=headers, timeout=60)
            assert answer.status_code < 500
            case.validate_response(answer, excluded_checks=NOT_PROMISED)

        call()

    assert len(tried) >= 12
    assert page.run(known)["rows"] == 3
