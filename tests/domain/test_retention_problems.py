"""What retention of live data asks of the rest of the schema."""

from __future__ import annotations

import pytest

from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema.parse import parse_schema
from tests.domain.schema_mistakes import DATABASE, VALID


def problems_of(retention: str, *, backup: str = "") -> str:
    text = VALID.replace(DATABASE, f"{DATABASE}{backup}    retention:\n      - {retention}\n")
    with pytest.raises(SchemaError) as caught:
        parse_schema(text, source="schema.yaml")
    return "\n".join(caught.value.problems)


def test_a_strategy_needs_a_service_of_its_kind() -> None:
    assert "is for services whose backup method is 'postgres'" in problems_of(
        "{strategy: rows, table: logs, backup_before_cleanup: false}"
    )


def test_what_is_not_backed_up_does_not_go_unasked() -> None:
    backup = "    backup: {types: [config], method: postgres}\n"
    assert "or say backup_before_cleanup: false" in problems_of(
        "{strategy: rows, table: logs}", backup=backup
    )


def test_files_are_on_a_volume_of_the_service() -> None:
    assert "/elsewhere is on no volume of this service" in problems_of(
        "{strategy: files, path: /elsewhere, backup_before_cleanup: false}"
    )


def test_a_rule_stands_once() -> None:
    backup = "    backup: {types: [full], method: postgres}\n"
    rule = "{strategy: rows, table: logs}"
    assert "a second rule for 'rows logs'" in problems_of(f"{rule}\n      - {rule}", backup=backup)


def test_unknown_strategies_and_keys_are_refused() -> None:
    assert "strategy" in problems_of("{strategy: everything}")
    assert "tabel" in problems_of("{strategy: rows, tabel: logs}")


def test_no_tier_has_the_name_of_another_part() -> None:
    assert VALID.count("    local:") >= 1
    text = VALID.replace("    local:", "    live:").replace("[local", "[live")
    with pytest.raises(SchemaError) as caught:
        parse_schema(text, source="schema.yaml")
    assert "a tier can't be called 'live'" in "\n".join(caught.value.problems)
