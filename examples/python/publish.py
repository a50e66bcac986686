#!/usr/bin/env python3
"""Publishes a click and a purchase of one customer: the click as JSON, the purchase as Avro that needs no registry.

    python publish.py --brokers localhost:9092 --customer ada
"""

import argparse
import decimal
import io
import json
import pathlib
import time
import uuid

import fastavro
from confluent_kafka import Producer

SCHEMA = pathlib.Path(__file__).parents[2] / "schemas" / "purchase.avsc"


def single_object(schema, record):
    """Avro's single-object encoding: a mark, the schema's fingerprint, the record."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    fingerprint = fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, record)
    return b"\xc3\x01" + bytes.fromhex(fingerprint) + body.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--customer", default="ada")
    parser.add_argument("--total", type=decimal.Decimal, default=decimal.Decimal("120.00"))
    args = parser.parse_args()
    producer = Producer({
        "bootstrap.servers": args.brokers,
        # The Java client's partitioner. All producers must use one, or a customer's records part.
        "partitioner": "murmur2_random",
        "enable.idempotence": True,
    })
    now_ms = time.time_ns() // 1_000_000
    failures = []

    def send(topic, value):
        # The key is the customer. traceparent, where there is one, is carried to the changes that the event causes.
        producer.produce(topic, key=args.customer, value=value,
                         headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
                         on_delivery=lambda error, _: failures.append(error) if error else None)

    click = {"type": "click", "event_id": str(uuid.uuid4()), "customer_id": args.customer, "occurred_at": now_ms,
             "page": "product", "category": "running"}
    send("clicks", json.dumps(click))
    schema = fastavro.schema.load_schema(SCHEMA)
    price = args.total.quantize(decimal.Decimal("0.0001"))
    purchase = {"event_id": str(uuid.uuid4()), "customer_id": args.customer, "occurred_at": now_ms,
                "order_id": str(uuid.uuid4()), "total": price, "currency": "EUR",
                "items": [{"product_id": "shoe-1", "category": "running", "quantity": 1, "price": price}]}
    send("purchases", single_object(schema, purchase))
    producer.flush(30)
    if failures:
        raise SystemExit(f"not delivered: {failures[0]}")
    print(f"a click and a purchase of {args.customer} are published")


if __name__ == "__main__":
    main()
