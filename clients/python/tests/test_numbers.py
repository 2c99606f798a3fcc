"""Values as they go over the wire."""
import json
import math
import random
import unittest
from datetime import date, datetime, timezone
from decimal import Decimal

import client  # noqa: F401  (finds the package)

from botops import numbers
from botops.numbers import BadValue


class NumbersTest(unittest.TestCase):
    def test_any_number_keeps_its_digits(self):
        chance = random.Random(7)
        for _ in range(3_000):
            value = chance.choice([
                chance.uniform(-1e6, 1e6), chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300),
                chance.randint(-10**30, 10**30),
                Decimal(chance.randint(-10**28, 10**28)).scaleb(chance.randint(-60, 40)),
            ])
            exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
            self.assertEqual(Decimal(numbers.amount_text(value)), exact, value)
            if abs(exact) < Decimal("1e300"):
                self.assertEqual(Decimal(str(json.loads(numbers.number(value), parse_float=Decimal))), exact, value)

    def test_texts_that_are_numbers_stay_as_they_are(self):
        for text in ("0", "-0.00", "+5", "12.50", "1e-8", "1E+5", ".5", "5.", "007", " 1.5 "):
            self.assertEqual(numbers.amount_text(text), text.strip())
            self.assertEqual(float(json.loads(numbers.number(text))), float(text))

    def test_what_is_no_number_is_refused(self):
        for value in ("", "abc", "1,000", "1_000", "0x10", "١٢", "NaN", "inf", "1e", "--1", "9" * 200, float("nan"),
                      float("inf"), Decimal("NaN"), Decimal("Infinity"), True, [], {}, object(), b"1", 10**200,
                      Decimal("1E+100000")):
            if value == Decimal("1E+100000"):
                self.assertEqual(numbers.amount_text(value), "1E+100000", "botops shows it, and counts it in no sum")
                continue
            with self.assertRaises(BadValue, msg=repr(value)[:40]):
                numbers.amount_text(value)

    def test_numbers_of_other_packages(self):
        class OwnFloat(float):
            def __repr__(self):
                return "OwnFloat(0.1)"

        class Single:
            def __str__(self):
                return "0.1"

        self.assertEqual(numbers.amount_text(OwnFloat(0.1)), "0.1")
        self.assertEqual(numbers.amount_text(Single()), "0.1")

    def test_counts(self):
        self.assertEqual([numbers.count(value) for value in (0, 7, 7.0, "7", None)], ["0", "7", "7", "7", "null"])
        for value in (-1, 1.5, "x", True, 1 << 40, float("nan"), float("inf")):
            with self.assertRaises(BadValue, msg=value):
                numbers.count(value)

    def test_times(self):
        self.assertEqual(numbers.time_of(0), ('"1970-01-01T00:00:00Z"', False))
        self.assertEqual(numbers.time_of(1772463600.5), ('"2026-03-02T15:00:00.500000Z"', False))
        self.assertEqual(numbers.time_of("2026-03-02 15:00:00+01:00"), ('"2026-03-02T15:00:00+01:00"', False))
        self.assertEqual(numbers.time_of(datetime(2026, 3, 2)), ('"2026-03-02T00:00:00Z"', True))
        for value in ("yesterday", "2026-03-02", date(2026, 3, 2), datetime(1, 1, 1), True, math.nan, math.inf, 1e30, [],
                      datetime.min.replace(tzinfo=timezone.utc)):
            with self.assertRaises(BadValue, msg=value):
                numbers.time_of(value)

    def test_details_of_any_kind_are_json(self):
        loop = []
        loop.append(loop)
        given = {"a": Decimal("1.10"), "b": [1, 2.5, None, True, {"c": {1}}], "d": float("nan"), 5: object, "e": loop,
                 "f": datetime(2026, 3, 2, tzinfo=timezone.utc), "g": b"x", "h": range(3)}
        read = json.loads(numbers.anything(given))
        self.assertEqual((read["a"], read["b"][:4], read["d"], read["f"]), ("1.10", [1, 2.5, None, True], None, "2026-03-02T00:00:00Z"))
