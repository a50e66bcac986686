#!/usr/bin/env python3
"""Compares two files of changes, customer by customer: exit 0 when they tell the same.

What may differ is where the event lay that caused a change (topic, partition, offset: a replay has none), and the order
in which changes of different customers were written.

    same_changes.py replay.jsonl live.jsonl
"""

import collections
import json
import sys


def changes_of(path):
    by_customer = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in file:
            change = json.loads(line, parse_float=str)
            for place in ("topic", "partition", "offset"):
                change["cause"].pop(place, None)
            by_customer[change["customer_id"]].append(change)
    return by_customer


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    first, second = changes_of(sys.argv[1]), changes_of(sys.argv[2])
    different = sorted(customer for customer in first.keys() | second.keys() if first.get(customer) != second.get(customer))
    for customer in different[:5]:
        print(f"customer {customer}", file=sys.stderr)
        pairs = zip(first.get(customer, []) + [None] * 1000, second.get(customer, []) + [None] * 1000)
        one, other = next(pair for pair in pairs if pair[0] != pair[1])
        print(f"  {sys.argv[1]}: {json.dumps(one)}\n  {sys.argv[2]}: {json.dumps(other)}", file=sys.stderr)
    counts = [sum(map(len, changes.values())) for changes in (first, second)]
    if different:
        sys.exit(f"{len(different)} customers differ ({counts[0]} changes against {counts[1]})")
    print(f"the same {counts[0]} changes of {len(first)} customers")


if __name__ == "__main__":
    main()
