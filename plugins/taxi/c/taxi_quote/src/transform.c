/* What a trip is likely to cost, and what the hour and the way of paying say about it.
 *
 * Where nothing is known of the area's last 30 days, the city's meter applies: 3.25 to start and 2.25 for each mile. */
#include "lockstep.h"

static const double meter_start = 3.25;
static const double meter_per_mile = 2.25;
/* The row's hour is not an hour of a day. */
enum { HOURS_OF_DAY = 24, NOT_AN_HOUR = 1000 };

/* C has no mathematics here, and a day has 24 hours: sin and cos of (hour / 24) · 2π, as every libm has them. */
static const double hour_sin[HOURS_OF_DAY] = {
    0.0, 0.25881904510252074, 0.49999999999999994, 0.7071067811865475, 0.8660254037844386, 0.9659258262890683,
    1.0, 0.9659258262890683, 0.8660254037844387, 0.7071067811865476, 0.49999999999999994, 0.258819045102521,
    1.2246467991473532e-16, -0.25881904510252035, -0.5000000000000001, -0.7071067811865475, -0.8660254037844384,
    -0.9659258262890683, -1.0, -0.9659258262890684, -0.8660254037844386, -0.7071067811865477, -0.5000000000000004,
    -0.2588190451025207,
};
static const double hour_cos[HOURS_OF_DAY] = {
    1.0, 0.9659258262890683, 0.8660254037844387, 0.7071067811865476, 0.5000000000000001, 0.25881904510252074,
    6.123233995736766e-17, -0.25881904510252085, -0.4999999999999998, -0.7071067811865475, -0.8660254037844387,
    -0.9659258262890682, -1.0, -0.9659258262890684, -0.8660254037844386, -0.7071067811865477, -0.5000000000000004,
    -0.25881904510252063, -1.8369701987210297e-16, 0.2588190451025203, 0.5000000000000001, 0.7071067811865474,
    0.8660254037844384, 0.9659258262890683,
};

static const ls_signature signature = {
    .name = "taxi_quote",
    .version = "1.0.0",
    .doc = "Expected fare of a planned trip by the area's fare per mile; the hour on a circle; rush hour; card.",
    .handles_nulls = true,
    .features = LS_COLUMNS({"area_fare_30d", LS_FLOAT64}, {"area_miles_30d", LS_FLOAT64}),
    .request = LS_COLUMNS({"hour", LS_INT32}, {"payment_type", LS_STRING}, {"planned_miles", LS_FLOAT64}),
    .outputs = LS_COLUMNS({"expected_fare", LS_FLOAT64}, {"hour_sin", LS_FLOAT64}, {"hour_cos", LS_FLOAT64},
                          {"is_rush_hour", LS_BOOL}, {"pays_by_card", LS_BOOL}),
};

/* The bytes of a character of Unicode's White_Space at the start of the text, 0 if it begins otherwise. */
static uint32_t space_at(const uint8_t *at, uint32_t left) {
    if (left >= 1 && (at[0] == ' ' || (at[0] >= '\t' && at[0] <= '\r'))) return 1;
    if (left >= 2 && at[0] == 0xc2 && (at[1] == 0x85 || at[1] == 0xa0)) return 2;
    if (left < 3) return 0;
    uint32_t code = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
    bool is_space = code == 0xe19a80 /* U+1680 */ || (code >= 0xe28080 && code <= 0xe2808a) /* U+2000 to U+200A */ ||
                    code == 0xe280a8 || code == 0xe280a9 /* U+2028, U+2029 */ || code == 0xe280af /* U+202F */ ||
                    code == 0xe2819f /* U+205F */ || code == 0xe38080 /* U+3000 */;
    return is_space ? 3 : 0;
}

static ls_text trimmed(ls_text text) {
    const uint8_t *bytes = (const uint8_t *)text.bytes;
    uint32_t start = 0, end = text.length, step;
    while (start < end && (step = space_at(bytes + start, end - start))) start += step;
    for (bool found = true; found && end > start;) {
        found = false;
        for (step = 1; step <= 3 && step <= end - start && !found; step++)
            if (space_at(bytes + end - step, step) == step) end -= step, found = true;
    }
    return (ls_text){text.bytes + start, end - start};
}

static bool is_credit_card(ls_text text) {
    static const char wanted[] = "credit card";
    if (text.length != sizeof wanted - 1) return false;
    for (uint32_t at = 0; at < text.length; at++) {
        char byte = text.bytes[at];
        if ((byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte) != wanted[at]) return false;
    }
    return true;
}

static void apply(ls_call *call) {
    ls_input fares = ls_in(call, "area_fare_30d", LS_FLOAT64), miles = ls_in(call, "area_miles_30d", LS_FLOAT64);
    ls_input hours = ls_in(call, "hour", LS_INT32), payments = ls_in(call, "payment_type", LS_STRING);
    ls_input planned = ls_in(call, "planned_miles", LS_FLOAT64);
    ls_output *fare = ls_out(call, "expected_fare", LS_FLOAT64), *sine = ls_out(call, "hour_sin", LS_FLOAT64);
    ls_output *cosine = ls_out(call, "hour_cos", LS_FLOAT64), *rush = ls_out(call, "is_rush_hour", LS_BOOL);
    ls_output *card = ls_out(call, "pays_by_card", LS_BOOL);
    for (uint32_t row = 0; row < call->rows; row++) {
        int32_t hour = ls_int32(hours, row);
        if (hour < 0 || hour >= HOURS_OF_DAY) {
            ls_refuse(call, row, NOT_AN_HOUR, ls_format("hour %d is not between 0 and 23", hour));
            continue;
        }
        if (!ls_is_null(hours, row)) {
            ls_set_float64(sine, row, hour_sin[hour]);
            ls_set_float64(cosine, row, hour_cos[hour]);
            ls_set_bool(rush, row, (hour >= 7 && hour <= 9) || (hour >= 16 && hour <= 18));
        }
        if (!ls_is_null(payments, row)) ls_set_bool(card, row, is_credit_card(trimmed(ls_string(payments, row))));
        if (ls_is_null(planned, row)) continue;
        /* A null reads as 0, which is no distance either. */
        double known_miles = ls_is_null(fares, row) ? 0.0 : ls_float64(miles, row), trip = ls_float64(planned, row);
        double known_fare = ls_float64(fares, row);
        ls_set_float64(fare, row, known_miles > 0.0 ? trip * (known_fare / known_miles) : meter_start + trip * meter_per_mile);
    }
}

LOCKSTEP_TRANSFORM(signature, NULL, apply)
