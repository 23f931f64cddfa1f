/* {{name}}: how far a planned fare is above what its area is used to.
 *
 * A transform is a pure function of each row: the same row and parameters give the same answer, in training and in
 * serving. There is no C library: sdk/lockstep.h is all there is. */
#include "lockstep.h"

static const ls_signature signature = {
    .name = "{{name}}",
    /* A major version says that values change, a minor one that outputs were added. */
    .version = "1.0.0",
    .doc = "The planned fare over the usual one, cut at a maximum.",
    .features = LS_COLUMNS({"usual_fare", LS_FLOAT64}),
    .request = LS_COLUMNS({"planned_fare", LS_FLOAT64}),
    .outputs = LS_COLUMNS({"fare_ratio", LS_FLOAT64}),
    .parameters = LS_PARAMETERS({"most", LS_NUMBER(10.0), "The largest ratio, above 0."}),
};

static double most;

static ls_refusal bind(const ls_binding *binding) {
    most = ls_parameter_float(binding, "most");
    return most > 0.0 ? LS_ACCEPTED : ls_bad_parameter("most", "it is not above 0");
}

static void apply(ls_call *call) {
    ls_input usual = ls_in(call, "usual_fare", LS_FLOAT64), planned = ls_in(call, "planned_fare", LS_FLOAT64);
    ls_output *ratio = ls_out(call, "fare_ratio", LS_FLOAT64);
    for (uint32_t row = 0; row < call->rows; row++) {
        double fare = ls_float64(usual, row);
        /* A row that is not set is null. */
        if (fare > 0.0) ls_set_float64(ratio, row, ls_min(ls_float64(planned, row) / fare, most));
    }
}

LOCKSTEP_TRANSFORM(signature, bind, apply)
