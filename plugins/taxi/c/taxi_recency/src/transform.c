/* How long a taxi company has been idle, as of the time that is asked about. */
#include "lockstep.h"

static const double day_micros = 86400000000.0;
static const double week_days = 7.0;

static const ls_signature signature = {
    .name = "taxi_recency",
    .version = "1.0.0",
    .doc = "Days since the last trip, never negative; and whether that is more than a week.",
    .as_of = true,
    .features = LS_COLUMNS({"last_trip_at", LS_TIMESTAMP}),
    .outputs = LS_COLUMNS({"days_since_last_trip", LS_FLOAT64}, {"idle_over_week", LS_BOOL}),
};

/* A trip that lies in the future, by a clock that runs ahead, counts as now. */
static double days_between(int64_t from, int64_t until) {
    int64_t micros;
    if (until <= from) micros = 0;
    else if (__builtin_sub_overflow(until, from, &micros)) micros = INT64_MAX;
    return (double)micros / day_micros;
}

static void apply(ls_call *call) {
    ls_input as_of = ls_in(call, "as_of", LS_TIMESTAMP), last_trip_at = ls_in(call, "last_trip_at", LS_TIMESTAMP);
    ls_output *days_since = ls_out(call, "days_since_last_trip", LS_FLOAT64);
    ls_output *idle = ls_out(call, "idle_over_week", LS_BOOL);
    for (uint32_t row = 0; row < call->rows; row++) {
        if (ls_is_null(last_trip_at, row)) continue;
        double days = days_between(ls_int64(last_trip_at, row), ls_int64(as_of, row));
        ls_set_float64(days_since, row, days);
        ls_set_bool(idle, row, days > week_days);
    }
}

LOCKSTEP_TRANSFORM(signature, NULL, apply)
