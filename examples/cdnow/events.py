#!/usr/bin/env python3
"""Turns the purchases of cdnow_sample.csv into events, one JSON object a line, in order of time.

The data has days only. The n-th purchase of a day, in the order of the file, is given n minutes past ten in the morning
(UTC), so that no two of a day share an instant and the file's order within the day is kept.

    events.py cdnow_sample.csv > events.jsonl
"""

import csv
import itertools
import sys


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        purchases = list(enumerate(csv.DictReader(file), start=1))
    # Sorting keeps the order of what is equal.
    purchases.sort(key=lambda purchase: purchase[1]["date"])
    for day, of_day in itertools.groupby(purchases, key=lambda purchase: purchase[1]["date"]):
        for minute, (number, purchase) in enumerate(of_day):
            at = f"{day}T{10 + minute // 60:02}:{minute % 60:02}:00Z"
            # The number of the line tells purchases apart; money is passed on as the digits of the file.
            print(
                f'{{"type":"purchase","event_id":"cdnow-{number}","customer_id":"{purchase["customer_id"]}",'
                f'"occurred_at":"{at}","order_id":"{number}","total":{purchase["total"]},"currency":"USD",'
                f'"items":[{{"product_id":"cd","quantity":{purchase["quantity"]}}}]}}'
            )


if __name__ == "__main__":
    main()
