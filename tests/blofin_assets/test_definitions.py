"""The lineage graph as it is: a change of any asset's spec shows in review as a change of `specs.json`."""

import json
from pathlib import Path

import dagster as dg

from blofin_assets.definitions import build_defs
from blofin_resources.settings import Settings

SPECS = Path(__file__).with_name("specs.json")


def specs(defs: dg.Definitions) -> list[dict[str, object]]:
    graph = defs.resolve_asset_graph()
    found = []
    for key in sorted(graph.get_all_asset_keys(), key=str):
        node = graph.get(key)
        found.append(
            {
                "key": key.to_user_string(),
                "group": node.group_name,
                "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
                "partitions": type(node.partitions_def).__name__ + _first_keys(node.partitions_def),
                "owners": sorted(node.owners),
                "kinds": sorted(node.kinds),
                "description": node.description,
            }
        )
    return found


def _first_keys(partitions: dg.PartitionsDefinition | None) -> str:
    return "" if partitions is None else f"[{', '.join(partitions.get_first_partition_key() for _ in range(1))}]"  # type: ignore[attr-defined]


def test_specs_are_as_reviewed() -> None:
    now = specs(build_defs(Settings()))
    # To accept a change: python -m pytest tests/blofin_assets/test_definitions.py, then copy what it prints.
    assert now == json.loads(SPECS.read_text(encoding="utf-8")), json.dumps(now, indent=1, ensure_ascii=False)


def test_every_asset_says_what_it_is_and_what_its_columns_mean() -> None:
    graph = build_defs(Settings()).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners == ["team:research"], key
        schema = node.metadata["dagster/column_schema"]
        assert schema.columns, key
        assert all(column.description for column in schema.columns), key


def test_definitions_load_without_warnings_or_a_warehouse(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    dg.Definitions.validate_loadable(build_defs(Settings(warehouse=folder)))
    assert not folder.exists()


def test_each_cycle_of_a_range_is_a_run_of_its_own_and_days_share_one() -> None:
    graph = build_defs(Settings()).resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    at_once = {
        node.key.to_user_string(): node.backfill_policy.max_partitions_per_run
        for node in nodes
        if node.partitions_def is not None and node.backfill_policy is not None
    }
    for node in nodes:
        name = node.key.to_user_string()
        if node.group_name in {"market", "features"} and node.partitions_def is not None:
            assert at_once[name] is None, name
        if node.group_name in {"strategies", "models"} and node.partitions_def is not None:
            assert at_once[name] == 1, name
