"""Trend: what is lost or encrypted at the source is told; data that lives isn't."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.manifest import FORMAT, Manifest, Payload
from mmstack_ops.domain.backups.trend import (
    LOOKED_BACK,
    Content,
    Unchanged,
    content_of,
    findings,
    proven_before,
)
from mmstack_ops.domain.schema.policies import Trend
from tests.domain.backups.rows import ref, row

REF = ref("postgres", "full", 1)
POLICY = Trend()
USERS = "rows of table app.public.users"


def content(**counts: int) -> Content:
    return Content(REF, {name.replace("__", " "): count for name, count in counts.items()})


def of(counts: dict[str, int], **sizes: tuple[int, int]) -> Content:
    return Content(REF, counts, sizes)


def test_the_first_backup_is_never_suspicious() -> None:
    assert findings(content(rows=0), [], POLICY) == ()


def test_a_fall_names_both_numbers_and_what_is_allowed() -> None:
    (found,) = findings(content(rows=300), [content(rows=1200)], POLICY)
    assert found == "rows fell from 1200 to 300 (75 %; 50 % are allowed)"


def test_a_table_that_is_empty_now_is_told_once() -> None:
    now, before = of({"rows": 1000, USERS: 0}), of({"rows": 1040, USERS: 40})
    assert findings(now, [before], POLICY) == (f"{USERS}: 40 before, 0 now",)


def test_a_table_that_was_empty_before_may_be_empty_again() -> None:
    full, empty = of({USERS: 40}), of({USERS: 0})
    assert findings(empty, [full, full], POLICY)
    assert findings(empty, [full, empty], POLICY) == ()


def test_a_small_table_may_become_smaller_but_not_vanish_in_silence() -> None:
    assert findings(of({USERS: 1}), [of({USERS: 3})], POLICY) == ()
    assert findings(of({USERS: 0}), [of({USERS: 3})], POLICY)


def test_a_place_that_is_gone_is_told_unless_it_was_renamed_or_small() -> None:
    before = of({"points of docs": 500})
    (found,) = findings(of({}), [before], POLICY)
    assert found == "points of docs: 500 before, gone now"
    assert findings(of({"points of docs-2": 510}), [before], POLICY) == ()
    assert findings(of({"points of docs-2": 5}), [before], POLICY)
    assert findings(of({"index b/documents": 90}), [of({"index a/documents": 90})], POLICY) == ()
    assert findings(of({"index b/documents": 9}), [of({"index a/documents": 90})], POLICY)
    assert findings(of({}), [of({"points of docs": 3})], POLICY) == ()


def test_a_redis_database_without_keys_is_empty_though_it_isnt_named() -> None:
    assert findings(of({}), [of({"keys in db1": 4})], POLICY) == ("keys in db1: 4 before, 0 now",)


def test_a_figure_that_wasnt_taken_says_nothing() -> None:
    assert findings(of({}), [of({"files": 500, "bytes": 10**9})], POLICY) == ()


def test_structure_may_go() -> None:
    assert findings(content(triggers=0, views=0), [content(triggers=1, views=3)], POLICY) == ()


def test_bytes_are_judged_from_some_kilobytes_on() -> None:
    assert findings(content(bytes=10), [content(bytes=4000)], POLICY) == ()
    (found,) = findings(content(bytes=1000), [content(bytes=10**6)], POLICY)
    assert "bytes fell from" in found


def test_encrypted_content_is_told_by_what_it_compresses_to() -> None:
    before = of({}, app=(1_000_000, 300_000))
    (found,) = findings(of({}, app=(1_000_000, 990_000)), [before], POLICY)
    assert found.startswith("app compresses to 99 % of its size, 30 % before")
    # As text of base64: larger by a third, and it compresses a little.
    assert findings(of({}, app=(1_333_000, 1_010_000)), [before], POLICY)


def test_new_content_that_cant_be_compressed_is_no_encryption() -> None:
    before = of({}, tree=(1_000_000, 300_000))
    assert findings(of({}, tree=(9_000_000, 8_300_000)), [before], POLICY) == ()


def test_a_tree_whose_files_all_changed_at_once_is_told() -> None:
    before = content()
    (found,) = findings(content(), [before], POLICY, Unchanged(files=400, unchanged=3))
    assert found.startswith("397 of 400 files changed or were deleted at once (99 %")
    assert findings(content(), [before], POLICY, Unchanged(files=400, unchanged=90)) == ()
    assert findings(content(), [before], POLICY, Unchanged(files=3, unchanged=0)) == ()


@pytest.mark.parametrize(
    "policy",
    [Trend(check=False), Trend(ignore=["rows*"]), Trend(max_drop=1, never_empty=False)],
)
def test_what_the_policy_allows_isnt_told(policy: Trend) -> None:
    assert findings(of({USERS: 0}), [of({USERS: 500})], policy) == ()


def test_a_service_changes_single_values_of_the_policy() -> None:
    policy = Trend(max_drop=0.3, min_count=5)
    assert policy.with_own(None) == policy
    own = policy.with_own(Trend(min_count=50, ignore=["rows*"]))
    assert own == Trend(max_drop=0.3, min_count=50, ignore=["rows*"])


counts = st.dictionaries(
    st.sampled_from(["rows", "bytes", "files", "triggers", USERS, "keys in db0", "objects in a"]),
    st.integers(0, 10**6),
)
shares = st.floats(0.05, 1)


@given(counts, st.floats(0, 1))
def test_more_than_before_is_never_suspicious(before: dict[str, int], more: float) -> None:
    now = {name: count + round(count * more) for name, count in before.items()}
    assert findings(of(now), [of(before)], POLICY) == ()


@given(st.integers(20, 10**6), st.integers(1, 10**6), shares)
def test_a_fall_is_told_exactly_beyond_the_policys_share(
    before: int, now: int, share: float
) -> None:
    found = findings(content(rows=now), [content(rows=before)], Trend(max_drop=share))
    assert bool(found) is (1 - now / before > share)


@given(counts, counts, shares, shares)
def test_a_laxer_policy_never_tells_more(
    before: dict[str, int], now: dict[str, int], one: float, other: float
) -> None:
    strict, lax = Trend(max_drop=min(one, other)), Trend(max_drop=max(one, other))
    # A place counts as renamed from a share on that hangs on the policy, too: leave it out.
    now = {**dict.fromkeys(before, 1), **now}
    told = {text.partition(" fell")[0] for text in findings(of(now), [of(before)], lax)}
    assert told <= {text.partition(" fell")[0] for text in findings(of(now), [of(before)], strict)}


@given(counts, st.lists(counts, min_size=1, max_size=4))
def test_a_longer_history_never_tells_more(
    now: dict[str, int], before: list[dict[str, int]]
) -> None:
    newest = set(findings(of(now), [of(before[0])], POLICY))
    assert set(findings(of(now), [of(one) for one in before], POLICY)) <= newest


def test_200_healthy_histories_give_no_alarm() -> None:
    """Tables, buckets and databases that grow, shrink by a third, come, and stay small."""
    alarms: list[tuple[str, ...]] = []
    for seed in range(200):
        chance = random.Random(seed)
        history = [_healthy(chance, None)]
        for _ in range(10):
            history.append(_healthy(chance, history[-1]))
        for number, (before, now) in enumerate(pairwise(history)):
            earlier = [before, *reversed(history[max(0, number - 4) : number])]
            alarms += [findings(now, earlier, POLICY)]
    assert [one for one in alarms if one] == []


def _healthy(chance: random.Random, before: Content | None) -> Content:
    if before is None:
        names = [f"rows of table app.public.t{n}" for n in range(chance.randrange(1, 8))]
        places = {name: int(10 ** chance.uniform(0, 5)) for name in names}
        plain = int(10 ** chance.uniform(3, 7))
        sizes = {"app.dump": (plain, int(plain * chance.uniform(0.1, 0.9)))}
    else:
        places = {
            name: max(1, round(count * chance.uniform(0.66, 1.8)))
            for name, count in before.counts.items()
            if name != "rows"
        }
        if chance.random() < 0.2:
            places[f"rows of table app.public.n{chance.randrange(10**6)}"] = chance.randrange(50)
        plain, stored = before.sizes["app.dump"]
        grown = round(plain * chance.uniform(0.8, 1.5))
        ratio = min(1.0, max(0.05, stored / plain + chance.uniform(-0.1, 0.1)))
        sizes = {"app.dump": (grown, round(grown * ratio))}
    return Content(REF, {**places, "rows": sum(places.values())}, sizes)


def payload(name: str, role: str, plain: int, stored: int) -> Payload:
    return Payload(
        name=name, role=role, plain_bytes=plain, stored_bytes=stored, sha256="", plain_sha256=""
    )


def manifest(*payloads: Payload, **figures: int) -> Manifest:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Manifest(
        format=FORMAT,
        project="p",
        environment=REF.environment,
        service=REF.service,
        type=REF.type,
        id=REF.id,
        created=moment,
        finished=moment,
        method="",
        image="",
        versions={},
        payloads=payloads,
        figures=figures,
        restore_by_hand=(),
    )


def test_counts_come_from_figures_bounds_and_items_that_count() -> None:
    facts = Facts(
        figures={"tables": 2, "collection a/points": 9, "collection a/points compared": 5},
        bounds={"keys in db0": (3, 9)},
        items={
            "table app.public.users": "12 rows, all 5f3a",
            "index logs": "7 documents",
            "bucket temp": "5f3a",
            "object temp/a/b": "1 bytes",
            "object temp/c": "2 bytes",
            "bucket empty": "5f3a",
            "role app": "a digest",
            "db0 group 7": "3 keys 00aa",
            "bucket temp/lifecycle": "5f3a",
        },
    )
    found = content_of(manifest(tree_files_stored=3, tables=2), facts)
    assert found.counts == {
        "tables": 2,
        "collection a/points": 9,
        "keys in db0": 3,
        USERS: 12,
        "documents of index logs": 7,
        "objects in temp": 2,
        "objects in empty": 0,
    }


def test_packs_count_as_one_tree_and_facts_dont() -> None:
    found = content_of(
        manifest(
            payload("a.tar.zst", "pack", 10, 1),
            payload("b.tar.zst.age", "pack", 20, 2),
            payload("app.dump.zst.age", "dump", 30, 3),
            payload("facts.json.zst", "facts", 40, 4),
        ),
        Facts(),
    )
    assert found.sizes == {"the tree": (30, 3), "app.dump": (30, 3)}


def test_only_proven_older_backups_of_the_series_are_compared_with() -> None:
    rows = [row("postgres", "full", hours, proven=hours) for hours in range(10)]
    rows += [
        row("postgres", "full", 8.5, disproven=9),
        row("postgres", "full", 8.6),
        row("postgres", "schema", 8.7, proven=9),
        row("redis", "full", 8.8, proven=9),
    ]
    found = proven_before(rows, ref("postgres", "full", 9))
    assert found == tuple(ref("postgres", "full", hours) for hours in (8, 7, 6, 5, 4))
    assert len(found) == LOOKED_BACK
