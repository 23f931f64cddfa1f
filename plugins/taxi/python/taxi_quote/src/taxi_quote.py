"""What a trip is likely to cost, and what the hour and the way of paying say about it.

Where nothing is known of the area's last 30 days, the city's meter applies: 3.25 to start and 2.25 for each mile.
"""

from math import cos, sin, tau

from lockstep_plugin import FeatureColumn, Int32, RequestColumn, Rows, transform

METER_START = 3.25
METER_PER_MILE = 2.25
HOURS_OF_DAY = 24.0
# The row's hour is not an hour of a day.
NOT_AN_HOUR = 1_000
# Unicode's White_Space; Python's own `strip` would take U+001C to U+001F as well.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


@transform(
    name="taxi_quote",
    version="1.0.0",
    outputs={"expected_fare": float, "hour_sin": float, "hour_cos": float, "is_rush_hour": bool, "pays_by_card": bool},
)
def taxi_quote(
    area_fare_30d: FeatureColumn[float | None],
    area_miles_30d: FeatureColumn[float | None],
    hour: RequestColumn[Int32 | None],
    payment_type: RequestColumn[str | None],
    planned_miles: RequestColumn[float | None],
    rows: Rows,
):
    """Expected fare of a planned trip by the area's fare per mile; the hour on a circle; rush hour; card."""
    for row, value in enumerate(hour):
        if value is not None and not 0 <= value < 24:
            rows.refuse(row, NOT_AN_HOUR, f"hour {value} is not between 0 and 23")
    angles = [None if value is None else value / HOURS_OF_DAY * tau for value in hour]
    return (
        [fare(*row) for row in zip(planned_miles, area_fare_30d, area_miles_30d)],
        [None if angle is None else sin(angle) for angle in angles],
        [None if angle is None else cos(angle) for angle in angles],
        [None if value is None else 7 <= value <= 9 or 16 <= value <= 18 for value in hour],
        [None if text is None else text.strip(WHITE_SPACE).lower() == "credit card" for text in payment_type],
    )


def fare(planned_miles, area_fare, area_miles):
    if planned_miles is None:
        return None
    if area_fare is not None and area_miles is not None and area_miles > 0.0:
        return planned_miles * (area_fare / area_miles)
    return METER_START + planned_miles * METER_PER_MILE
