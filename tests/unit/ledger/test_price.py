"""Prices: exact, never too little set aside, and known from a list that came along."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.core.errors import ConfigError
from stead.core.nouns import Usage
from stead.ledger.price import Price
from stead.ledger.pricelist import Document, Model, PriceList, Provider

#: A made-up model with everything: two borders, caches, thinking, a price a call.
_ALL = Price(
    prompt=((0, 3_000_000), (200_000, 6_000_000)),
    completion=((0, 15_000_000), (200_000, 22_500_000)),
    cache_read=((0, 300_000), (200_000, 600_000)),
    cache_write=((0, 3_750_000), (200_000, 7_500_000)),
    reasoning=((0, 20_000_000),),
    request=5_000_000,
)


def test_every_part_has_its_price() -> None:
    """Plain, cached and written prompt, answer and thinking; and the price of the call itself."""
    usage = Usage(1000, 400, 500, 0, 100, 200)
    assert _ALL.cost_micro(usage) == 500 * 3 + 400 * 0.3 + 100 * 3.75 + 300 * 15 + 200 * 20 + 5


def test_beyond_a_border_all_tokens_cost_more() -> None:
    """The prompt decides; the border itself is still on this side."""
    assert _ALL.cost_micro(Usage(200_000, 0, 10)) == 200_000 * 3 + 10 * 15 + 5
    assert _ALL.cost_micro(Usage(200_001, 0, 10)) == 200_001 * 6 + 10 * 22.5 + 5


def test_what_is_not_told_costs_as_what_it_is_part_of() -> None:
    """Without a price of their own cached tokens cost as the prompt, thinking as the answer."""
    price = Price.of_tokens(2.5, 10.0)
    assert price.cost_micro(Usage(1000, 400, 100, 0, 100, 50)) == 3500
    assert Price.of_tokens(2.5, 10.0, 0.25).cost_micro(Usage(1000, 400, 0)) == 1600
    assert Price.of_tokens(2.5, 10.0, 0.0).cost_micro(Usage(1000, 1000, 0)) == 0


def test_sums_are_rounded_up_once() -> None:
    """A fraction of a micro-dollar is one; one that makes no sense costs what it can."""
    assert Price.of_tokens(0.05, 0.08).cost_micro(Usage(1, 0, 1)) == 1
    assert Price.of_tokens(0.1, 0.3).cost_micro(Usage(10, 0, 10)) == 4
    assert Price.of_tokens(1.0, 1.0, 0.1).cost_micro(Usage(10, 99, 0, 0, 99, 99)) == 1


def test_sound_and_letters() -> None:
    """What is paid by the second, the letter or the page."""
    price = Price(second=100_000_000, char=15_000_000, page=1_000_000_000)
    assert price.paid
    assert price.cost_micro(Usage(), seconds=1.5) == 150
    assert price.cost_micro(Usage(), chars=10) == 150
    assert price.cost_micro(Usage(), pages=2) == 2000
    assert not Price().paid and not Price.of_tokens(0, 0).paid and Price.of_tokens(0, 0, 1).paid


@given(st.data())
@settings(max_examples=60)
def test_no_call_costs_more_than_was_set_aside(data: st.DataObject) -> None:
    """Whatever of a prompt comes from or goes to a cache, and whatever of an answer is thinking."""
    most, answer = data.draw(st.integers(0, 500_000)), data.draw(st.integers(0, 10_000))
    size = data.draw(st.integers(0, most))
    read = data.draw(st.integers(0, size))
    write = data.draw(st.integers(0, size - read))
    out = data.draw(st.integers(0, answer))
    usage = Usage(size, read, out, 0, write, data.draw(st.integers(0, out)))
    assert _ALL.cost_micro(usage) <= _ALL.most_micro(most, answer)


# --- the list ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> PriceList:
    """The list that comes along."""
    return PriceList.load()


@pytest.mark.parametrize(
    ("url", "model", "usd"),
    [
        ("https://api.openai.com/v1", "gpt-4o-2024-08-06", (2.5, 1.25, 10.0)),
        ("https://api.openai.com/v1", "GPT-4o-mini", (0.15, 0.075, 0.6)),
        ("https://api.anthropic.com/v1", "claude-3-5-haiku-latest", (0.8, 0.08, 4.0)),
        ("https://openrouter.ai/api/v1", "openai/gpt-4o-mini", (0.15, 0.075, 0.6)),
    ],
)
def test_well_known_models(
    shipped: PriceList, url: str, model: str, usd: tuple[float, float, float]
) -> None:
    """Models are found by the address of their provider and any of their names."""
    found = shipped.find(model, url=url)
    assert found is not None
    price = Usage(10**6, 0, 0), Usage(10**6, 10**6, 0), Usage(0, 0, 10**6)
    assert tuple(found.price.cost_micro(one) / 1e6 for one in price) == usd
    assert shipped.source in found.price.source and found.model in found.price.source


def test_an_unknown_address_has_no_prices(shipped: PriceList) -> None:
    """A name alone says nothing of what another server takes for it; a named provider does."""
    for url in ("https://gpt.example.com/v1", "https://evil.example/?https://api.openai.com", ""):
        assert shipped.find("gpt-4o", url=url) is None and not shipped.knows(url)
    assert shipped.find("gpt-4o", provider="openai") is not None
    assert shipped.find("gpt-4o", provider="nobody") is None
    assert shipped.find("no-such-model", url="https://api.openai.com/v1") is None


def test_a_newer_list_of_the_owners_holds(tmp_path: Path, shipped: PriceList) -> None:
    """The newer of the two lists counts; what is no list is told, with what to do."""
    file = tmp_path / "prices.json"
    models = [Model("one", {"or": [{"equals": "one"}, {"and": [
        {"starts_with": "o"}, {"ends_with": "-x"}, {"contains": "n"}, {"regex": "^on"}]}]},
        {"in": [(0, 1_000_000), (10, 2_000_000)], "request": 7_000_000})]  # fmt: skip
    made = Document("mine 1", "2999-01-01", "MIT", [Provider("me", "https://me", models)])
    file.write_bytes(msgspec.json.encode(made))
    mine = PriceList.load(file)
    for name, there in (("one", True), ("ONE", True), ("on-x", True), ("oney", False)):
        assert (mine.find(name, url="https://me/v1") is not None) is there, name
    found = mine.find("one", provider="me")
    assert found is not None and found.price.cost_micro(Usage(11, 0, 0)) == 29
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(made, day="2001-01-01")))
    assert PriceList.load(file).source == shipped.source
    assert PriceList.load(tmp_path / "none").source == shipped.source
    file.write_text("{}")
    with pytest.raises(ConfigError, match="stead prices update"):
        PriceList.load(file)
