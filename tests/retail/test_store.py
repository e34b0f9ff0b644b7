"""The store against each database that the machine has."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from retail.database import create_engine, parse_url
from retail.proto.order_management_pb2 import Order
from retail.sample import SAMPLE_ORDERS
from retail.store import PAGE, OrderStore, StoreError, StoreUnavailable, UnstorableText, open_store

pytestmark = pytest.mark.anyio

TEXTS = ["%", "_", "a", "A", "ä", "Ä", "\\", "'", "", " ", "a_b", "a%b", "axb", "é", "e\u0301", "🏔"]


async def found(store: OrderStore, searched: str) -> list[str]:
    return [order.id async for order in store.matching(searched)]


async def test_a_new_database_has_the_sample_orders(database_url: str) -> None:
    async with open_store(database_url) as store:
        assert [order async for order in store.matching("")] == list(SAMPLE_ORDERS)


async def test_orders_survive_a_restart_and_the_sample_is_not_loaded_again(
    database_url: str,
) -> None:
    changed = Order(id="102", items=["Nothing"], price=0.5)
    async with open_store(database_url) as store:
        assert await store.add(Order(id="101", items=["iPhone XS"], price=2300))
        await store.replace([changed])
    async with open_store(database_url) as store:
        assert await store.find("101") == Order(id="101", items=["iPhone XS"], price=2300)
        assert await store.find("102") == changed
        assert await found(store, "") == ["101", "102", "103", "104", "105", "106"]


async def test_two_that_start_at_once_load_the_sample_once(database_url: str) -> None:
    async def start() -> list[str]:
        async with open_store(database_url) as store:
            return await found(store, "")

    assert (
        await asyncio.gather(*(start() for _ in range(4)))
        == [[order.id for order in SAMPLE_ORDERS]] * 4
    )


async def test_every_field_comes_back(database_url: str) -> None:
    order = Order(
        id="Bestellung №1 🏔",
        items=["", "same", "same", "Ω" * 5000],
        description="line\nline\ttab",
        price=0.1,
        destination="São Paulo",
    )
    extremes = [Order(id=str(n), price=p) for n, p in enumerate((3.4028235e38, 1e-45, -1.5, 0))]
    async with open_store(database_url, first_orders=[]) as store:
        assert await store.add(order)
        assert await store.find(order.id) == order
        await store.replace(extremes)
        assert [await store.find(extreme.id) for extreme in extremes] == extremes


async def test_an_unknown_id_is_not_found(database_url: str) -> None:
    async with open_store(database_url) as store:
        assert await store.find("99") is None
        assert await store.find("") is None
        assert await store.find("10%") is None
        assert await store.find("\0") is None


async def test_an_order_is_added_once(database_url: str) -> None:
    first, second = Order(id="7", items=["a", "b"]), Order(id="7", items=["c"])
    async with open_store(database_url) as store:
        assert await store.add(first) is True
        assert await store.add(second) is False
        assert await store.find("7") == first


async def test_of_many_that_add_one_id_at_once_one_succeeds(database_url: str) -> None:
    orders = [Order(id="7", items=[f"version {n}"] * 3) for n in range(20)]
    async with open_store(database_url) as store:
        added = await asyncio.gather(*map(store.add, orders))
        assert sorted(added) == [False] * 19 + [True]
        assert await store.find("7") == orders[added.index(True)]


async def test_replacing_changes_whole_orders_and_creates_unknown_ones(database_url: str) -> None:
    changed = [
        Order(id="104", items=["x"], description="new", price=1, destination="A"),
        Order(id="1", items=["y", "z"]),
        Order(id="102"),
    ]
    async with open_store(database_url) as store:
        await store.replace(changed)
        assert [await store.find(order.id) for order in changed] == changed
        assert await store.find("106") == SAMPLE_ORDERS[4]


async def test_search_is_literal_and_minds_case(database_url: str) -> None:
    orders = [Order(id=f"{n:03}", items=["other", item]) for n, item in enumerate(TEXTS)]
    async with open_store(database_url, first_orders=orders) as store:
        for searched in TEXTS:
            expected = [o.id for o in orders if any(searched in item for item in o.items)]
            assert await found(store, searched) == expected, searched


async def test_search_looks_at_items_only_and_gives_each_order_once(database_url: str) -> None:
    orders = [
        Order(id="needle", description="needle", destination="needle", items=["hay"]),
        Order(id="twice", items=["needle", "a needle", "needle"]),
        Order(id="none"),
    ]
    async with open_store(database_url, first_orders=orders) as store:
        assert await found(store, "needle") == ["twice"]
        assert await found(store, "") == ["needle", "twice"]


async def test_search_reads_page_after_page(database_url: str) -> None:
    orders = [Order(id=f"{n:05}", items=["a", "b"]) for n in range(2 * PAGE)]
    async with open_store(database_url, first_orders=orders) as store:
        assert [order async for order in store.matching("b")] == orders
        assert await found(store, "c") == []


async def test_a_search_that_is_left_keeps_nobody_waiting(database_url: str) -> None:
    orders = [Order(id=f"{n:05}", items=["a"]) for n in range(2 * PAGE)]
    async with open_store(database_url, first_orders=orders) as store:
        searches = [store.matching("a") for _ in range(50)]
        assert [(await anext(search)).id for search in searches] == ["00000"] * 50
        await store.replace([Order(id="00000", items=["b"])])
        assert await found(store, "b") == ["00000"]
        for search in searches:
            await search.aclose()


async def test_concurrent_updates_of_one_order_are_never_mixed(database_url: str) -> None:
    versions = [
        Order(id="1", items=[f"{n}"] * (n % 5 + 1), description=f"{n}", price=n, destination=f"{n}")
        for n in range(40)
    ]
    async with open_store(database_url, first_orders=versions[:1]) as store:

        async def read_often() -> list[Order | None]:
            return [await store.find("1") for _ in range(40)]

        _, *reads = await asyncio.gather(
            asyncio.gather(*(store.replace([version]) for version in versions)),
            read_often(),
            read_often(),
        )
        for order in [*reads[0], *reads[1], await store.find("1")]:
            assert order in versions


async def test_updates_of_the_same_orders_in_opposite_order_do_not_block_each_other(
    database_url: str,
) -> None:
    def versions(number: int) -> list[Order]:
        orders = [Order(id=f"{n}", items=[f"{number}"]) for n in range(10)]
        return orders if number % 2 else orders[::-1]

    async with open_store(database_url) as store:
        await asyncio.gather(*(store.replace(versions(number)) for number in range(20)))
        items = {(await store.find(str(n)) or Order()).items[0] for n in range(10)}
        assert len(items) == 1


async def test_nothing_of_a_failed_update_stays(database_url: str) -> None:
    # Two rows of one id in a transaction: the items of the second collide with those of the first.
    changed = [Order(id="102", items=["x"]), Order(id="9", items=["y"]), Order(id="9", items=["z"])]
    async with open_store(database_url) as store:
        with pytest.raises(Exception, match="order_items"):
            await store.replace(changed)
        assert await store.find("102") == SAMPLE_ORDERS[0]
        assert await store.find("9") is None


async def test_a_nul_is_kept_or_refused_by_name(database_url: str) -> None:
    order = Order(id="7", items=["ok", "a\0b"])
    async with open_store(database_url) as store:
        if database_url.startswith("sqlite"):
            assert await store.add(order)
            assert await store.find("7") == order
            assert await found(store, "\0b") == ["7"]
            return
        with pytest.raises(UnstorableText, match=r"items\[1\] 'a\\x00b' contains U\+0000"):
            await store.add(order)
        with pytest.raises(UnstorableText, match="description"):
            await store.replace([Order(id="102"), Order(id="7", description="\0")])
        assert await store.find("102") == SAMPLE_ORDERS[0]
        assert await found(store, "\0") == []


async def test_a_database_of_something_else_is_refused(database_url: str) -> None:
    engine = create_engine(parse_url(database_url))
    async with engine.execution_options(writes=True).begin() as connection:
        await connection.execute(text("CREATE TABLE orders (number INTEGER)"))
    await engine.dispose()
    with pytest.raises(StoreError, match="table orders that is not the shop's"):
        async with open_store(database_url):
            pass


async def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear shop, " * 100)
    with pytest.raises(StoreError, match=r"letter\.db: file is not a database"):
        async with open_store(f"sqlite:///{path}"):
            pass


async def test_a_database_in_memory_is_refused_however_it_is_named() -> None:
    with pytest.raises(StoreError, match="it lives in memory, but orders must survive"):
        async with open_store("sqlite:///file:orders?mode=memory&uri=true"):
            pass


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/orders\.db: unable to open database file"):
        async with open_store(f"sqlite:///{tmp_path / 'nowhere' / 'orders.db'}"):
            pass


async def test_a_database_that_another_program_keeps_locked_is_unavailable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retail.database.WAIT_SECONDS", 0.01)
    async with open_store(sqlite_url) as store, open_store(sqlite_url) as other:
        with closing(sqlite3.connect(sqlite_url.partition(":///")[2])) as program:
            program.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="does not answer: database is locked"):
                await store.add(Order(id="7"))
            assert await store.find("102") == SAMPLE_ORDERS[0]
            program.rollback()
        assert await store.add(Order(id="7"))
        assert await other.find("7") == Order(id="7")
