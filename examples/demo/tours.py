"""The tours: what is called, and what the contracts say must come back."""

from __future__ import annotations

from typing import Final

from examples.greeter.blocking_client import CALLS
from examples.route_guide import client as guide
from examples.route_guide.proto.route_guide_pb2 import Feature
from retail import client as shop
from retail.proto.order_management_pb2 import Order

from .clients import Client
from .transcript import Transcript

PAUSE_SECONDS: Final = 1.0

ORDER_106: Final = Order(
    id="106",
    items=["Amazon Echo", "Apple iPhone XS"],
    destination="Mountain View, CA",
    price=300.0,
)
GOOGLE_ORDERS: Final = [
    Order(
        id="102",
        items=["Google Pixel 3A", "Mac Book Pro"],
        destination="Mountain View, CA",
        price=1800.0,
    ),
    Order(
        id="104",
        items=["Google Home Mini", "Google Nest Hub"],
        destination="Mountain View, CA",
        price=400.0,
    ),
]
ALPINE_NAMES: Final = [
    "Mont Blanc",
    "Matterhorn",
    "Eiger",
    "Zugspitze",
    "Großglockner",
    "",
    "",
    "",
    "",
    "Zürich Hauptbahnhof",
]
GRAND_TOUR_METRES: Final = 1_051_136


async def visit_shop(transcript: Transcript, orders: Client) -> None:
    with transcript.call("addOrder", "unary", [shop.describe(shop.NEW_ORDER)]) as answer:
        added = await orders.add_order(shop.NEW_ORDER)
        answer.arrived()
        answer.got([added])
        answer.expect("the answer", added, "Order Added: 101")

    with transcript.call("getOrder", "unary", ["106"]) as answer:
        order = await orders.get_order("106")
        answer.arrived()
        answer.got([shop.describe(order)])
        answer.expect("the order", order, ORDER_106)

    with transcript.call("searchOrders", "server streaming", ["Google"]) as answer:
        found = await orders.search_orders("Google")
        answer.arrived()
        answer.got(map(shop.describe, found))
        answer.expect("what was found", sorted(found, key=lambda order: order.id), GOOGLE_ORDERS)

    changed = shop.CHANGED_ORDERS
    with transcript.call("updateOrders", "client streaming", map(shop.describe, changed)) as answer:
        updated = await orders.update_orders(changed)
        answer.arrived()
        answer.got([updated])
        answer.expect("the answer", updated, "Orders processed Updated Order IDs : 102, 103, 104, ")

    await _process(transcript, orders)


async def _process(transcript: Transcript, orders: Client) -> None:
    sent = ["102", "103", "104", f"(a pause of {PAUSE_SECONDS:g} s)", "101", "(done sending)"]
    with transcript.call("processOrders", "bidirectional", sent) as answer:
        arrivals = await orders.process_orders(["102", "103", "104"], ["101"], pause=PAUSE_SECONDS)
        answer.arrived()
        answer.got(
            f"{shop.describe_shipment(arrival.shipment)}, after {arrival.seconds:.3f} s"
            f" ({'during the pause' if arrival.in_pause else 'at the end'})"
            for arrival in arrivals
        )
        first, second, third = shop.CHANGED_ORDERS
        answer.expect(
            "what arrived during the pause",
            [list(arrival.shipment.ordersList) for arrival in arrivals if arrival.in_pause],
            [[first, third], [second]],
        )
        answer.expect(
            "what arrived at the end",
            [list(arrival.shipment.ordersList) for arrival in arrivals if not arrival.in_pause],
            [[shop.NEW_ORDER]],
        )
        answer.expect(
            "the status of the shipments",
            {arrival.shipment.status for arrival in arrivals},
            {"Processed!"},
        )
        answer.expect(
            "the number of different shipment ids",
            len({arrival.shipment.id for arrival in arrivals}),
            3,
        )


async def visit_map(transcript: Transcript, places: Client) -> None:
    for point, name in ((guide.MATTERHORN, "Matterhorn"), (guide.NOWHERE, "")):
        with transcript.call("GetFeature", "unary", [guide.show(point)]) as answer:
            feature = await places.get_feature(point)
            answer.arrived()
            answer.got([guide.describe(feature)])
            answer.expect("the feature", feature, Feature(name=name, location=point))

    corners = f"{guide.show(guide.ALPS.lo)} to {guide.show(guide.ALPS.hi)}"
    with transcript.call("ListFeatures", "server streaming", [corners]) as answer:
        features = await places.list_features(guide.ALPS)
        answer.arrived()
        answer.got(map(guide.describe, features))
        answer.expect("the names", [feature.name for feature in features], ALPINE_NAMES)

    tour = guide.GRAND_TOUR
    with transcript.call("RecordRoute", "client streaming", map(guide.show, tour)) as answer:
        summary = await places.record_route(tour)
        answer.arrived()
        answer.got([guide.describe_summary(summary)])
        answer.expect("point_count", summary.point_count, 5)
        answer.expect("feature_count", summary.feature_count, 4)
        answer.expect("distance", summary.distance, GRAND_TOUR_METRES)
        answer.expect("elapsed_time ≤ ours", summary.elapsed_time <= answer.seconds, True)

    notes = guide.NOTES
    with transcript.call("RouteChat", "bidirectional", map(guide.describe_note, notes)) as answer:
        heard = await places.route_chat(notes)
        answer.arrived()
        answer.got(map(guide.describe_note, heard))
        answer.expect("the earlier notes", heard, [notes[0], notes[0], notes[2]])


async def visit_greeter(transcript: Transcript, greeter: Client) -> None:
    for name in ("world", "Grüezi 🏔"):
        with transcript.call("SayHello", "unary", [name]) as answer:
            message = await greeter.greet(name)
            answer.arrived()
            answer.got([message])
            answer.expect("the message", message, f"Hello {name}")


async def visit_greeter_without_waiting(transcript: Transcript, greeter: Client) -> None:
    """The blocking client's other ways: a future's callback, and a completion queue."""
    with transcript.call("SayHello.future", "unary", ["world"]) as answer:
        message = await greeter.greet_later("world")
        answer.arrived()
        answer.got([message])
        answer.expect("the message", message, "Hello world")

    names = [str(number) for number in range(CALLS)]
    with transcript.call("SayHello.start", "unary", [f"{names[0]} to {names[-1]}"]) as answer:
        greetings = await greeter.greet_all(names)
        answer.arrived()
        answer.got([f"{len(greetings)} greetings, each with its tag"])
        answer.expect("the greetings", greetings, {name: f"Hello {name}" for name in names})
