/* 50 columns scaled and clamped: little work on many columns, for benchmarks and for tests of the boundary. */
#include "lockstep.h"

#define TEN(column, tens)                                                                                     \
    column(tens, 0), column(tens, 1), column(tens, 2), column(tens, 3), column(tens, 4), column(tens, 5),     \
        column(tens, 6), column(tens, 7), column(tens, 8), column(tens, 9)
#define FIFTY(column) TEN(column, ), TEN(column, 1), TEN(column, 2), TEN(column, 3), TEN(column, 4)
#define X(tens, ones) {"x_" #tens #ones, LS_FLOAT64}
#define Y(tens, ones) {"y_" #tens #ones, LS_FLOAT64}

static const ls_signature signature = {
    .name = "arithmetic",
    .version = "1.0.0",
    .doc = "y_i = clamp((x_i - 3.5) * 0.25, -5, 5).",
    .handles_nulls = true,
    .features = LS_COLUMNS(FIFTY(X)),
    .outputs = LS_COLUMNS(FIFTY(Y)),
};

static void apply(ls_call *call) {
    for (uint32_t column = 0; signature.features[column].name; column++) {
        ls_input x = ls_in(call, signature.features[column].name, LS_FLOAT64);
        ls_output *y = ls_out(call, signature.outputs[column].name, LS_FLOAT64);
        for (uint32_t row = 0; row < call->rows; row++) {
            if (ls_is_null(x, row)) continue;
            double value = (ls_float64(x, row) - 3.5) * 0.25;
            ls_set_float64(y, row, value < -5.0 ? -5.0 : value > 5.0 ? 5.0 : value);
        }
    }
}

LOCKSTEP_TRANSFORM(signature, NULL, apply)
