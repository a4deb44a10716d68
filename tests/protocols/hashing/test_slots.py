"""Where keys belong, against published values and TIERS' measured shares of moved keys."""

from collections import Counter

import pytest

from protocols.hashing import slots

KEYS = [f"user:{number}" for number in range(20_000)]


def moved(before: list[object], after: list[object]) -> float:
    return sum(a != b for a, b in zip(before, after, strict=True)) / len(before)


def names(count: int) -> list[str]:
    return [f"cache-{number}" for number in range(count)]


def test_crc16_gives_the_published_check_value() -> None:
    assert slots.crc16(b"123456789") == 0x31C3
    assert slots.slot_of("foo") == 12182


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user}.a", b"user"),
        (b"x{user}y{other}", b"user"),
        (b"{}.a", b"{}.a"),
        (b"{a", b"{a"),
        (b"}{", b"}{"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}", b"{bar"),
        (b"", b""),
    ],
)
def test_only_the_first_non_empty_hash_tag_is_hashed(key: bytes, tag: bytes) -> None:
    assert slots.hash_tag(key) == tag
    assert slots.slot_of(key) == slots.crc16(tag) % slots.SLOTS


def test_slots_are_shared_out_evenly_and_contiguously() -> None:
    owners = slots.even_slots(["a", "b", "c"])
    counts = Counter(owners)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert owners == sorted(owners)


@pytest.mark.parametrize(("before", "expected"), [(3, 0.75), (4, 0.80), (8, 0.889)])
def test_modulo_moves_nearly_every_key(before: int, expected: float) -> None:
    share = moved(
        [slots.modulo(key, before) for key in KEYS], [slots.modulo(key, before + 1) for key in KEYS]
    )
    assert share == pytest.approx(expected, abs=0.015)
    assert slots.modulo(17, 4) == 1


@pytest.mark.parametrize("before", [3, 4, 8])
def test_the_ring_moves_about_one_part_in_n_plus_one(before: int) -> None:
    old, new = slots.Ring(names(before)), slots.Ring(names(before + 1))
    share = moved([old.owner(key) for key in KEYS], [new.owner(key) for key in KEYS])
    assert share == pytest.approx(1 / (before + 1), rel=0.25)
    gone_elsewhere = [
        key for key in KEYS if old.owner(key) != new.owner(key) != names(before + 1)[-1]
    ]
    assert not gone_elsewhere, "keys may only move to the newcomer"


def test_the_rings_preference_is_the_owner_without_the_ones_before() -> None:
    ring = slots.Ring(names(5))
    for key in KEYS[:50]:
        order = list(ring.preference(key))
        assert sorted(order) == names(5)
        assert order[0] == ring.owner(key)
        rest = [name for name in names(5) if name != order[0]]
        assert slots.Ring(rest).owner(key) == order[1]
    with pytest.raises(LookupError):
        slots.Ring([]).owner("a")
    assert list(slots.Ring([]).preference("a")) == []


def test_a_ring_weight_scales_the_share() -> None:
    ring = slots.Ring(["big", "small"], weights={"big": 3.0})
    counts = Counter(ring.owner(key) for key in KEYS)
    assert counts["big"] / len(KEYS) == pytest.approx(0.75, abs=0.06)


def test_maglev_is_even_to_one_percent_and_disturbs_little() -> None:
    before = slots.maglev_table(names(4))
    after = slots.maglev_table(names(5))
    counts = Counter(before)
    assert len(before) == 65537
    assert max(counts.values()) - min(counts.values()) <= 1
    share = moved(list(before), list(after))
    assert 0.2 <= share <= 0.3, "ideal is one in five"


def test_maglev_follows_weights_and_order_of_names_only_through_the_names() -> None:
    table = slots.maglev_table(["a", "b"], {"a": 3.0, "b": 1.0}, 1009)
    assert Counter(table)[0] / 1009 == pytest.approx(0.75, abs=0.02)
    assert slots.maglev_table([], size=11) == []
    assert set(slots.maglev_table(["only"], size=11)) == {0}
    owner = slots.maglev_owner(table, "10.0.0.1")
    assert owner == slots.maglev_owner(table, "10.0.0.1")


def test_a_maglev_table_built_in_steps_is_the_same_table() -> None:
    builder = slots.MaglevBuilder(names(3), size=1009)
    steps = 1
    while not builder.step(100):
        steps += 1
    assert steps > 5
    assert builder.table == slots.maglev_table(names(3), size=1009)
