#!/usr/bin/env python3
"""Prints each change of membership once, as it happens.

    python subscribe.py --brokers localhost:9092

Changes are read with isolation.level=read_committed, so that those of aborted transactions are never seen. The position is
committed after a change was handled: after a crash the last ones come again, with the same change_id, which is how they are
told. A real subscriber keeps the change_id with what it did, in one transaction of its database.
"""

import argparse
import io
import json
import pathlib
import sys

import fastavro
from confluent_kafka import Consumer

SCHEMA = pathlib.Path(__file__).parents[2] / "schemas" / "segment_change.avsc"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--topic", default="segment-changes")
    parser.add_argument("--group", default="python-subscriber")
    parser.add_argument("--segment", help="only this segment")
    parser.add_argument("--count", type=int, help="end after so many changes")
    return parser.parse_args()


def change_of(value, schema):
    """A change from a record's value, whichever of the three forms it has."""
    if value[:1] == b"{":
        return json.loads(value)
    if value[:1] == b"\x00":  # a registry's wire format: zero, schema id (4 bytes), Avro
        body = value[5:]
    elif value[:2] == b"\xc3\x01":  # Avro's single-object encoding: mark, fingerprint (8 bytes), Avro
        body = value[10:]
    else:
        raise ValueError("no change record")
    # Schemas change compatibly. Who wants to read newer ones by their own schema asks the registry for the id.
    return fastavro.schemaless_reader(io.BytesIO(body), schema)


def main():
    args = arguments()
    schema = fastavro.schema.load_schema(SCHEMA)
    consumer = Consumer({
        "bootstrap.servers": args.brokers,
        "group.id": args.group,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    })
    consumer.subscribe([args.topic])
    handled = 0
    try:
        while args.count is None or handled < args.count:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                print(message.error(), file=sys.stderr)
                continue
            # What a router needs is in the headers (CloudEvents, binary mode): nothing has to be decoded to pass it over.
            headers = dict(message.headers() or [])
            if args.segment is None or headers["ce_subject"].decode() == args.segment:
                change = change_of(message.value(), schema)
                print(change["customer_id"], change["change"], change["segment"], "because of", change["cause"]["kind"],
                      headers["ce_id"].decode(), headers["ce_type"].decode(), flush=True)
                handled += 1
            consumer.commit(message, asynchronous=False)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
