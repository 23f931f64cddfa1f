/* Gives every column back as it came, through the reader and the writer of its type; refuses rows whose int32 is 13. */
#include "lockstep.h"

static const ls_signature signature = {
    .name = "mirror",
    .version = "1.0.0",
    .doc = "Every type of column, in and out.",
    .features = LS_COLUMNS(
        {"x_0", LS_BOOL}, {"x_1", LS_INT32}, {"x_2", LS_INT64}, {"x_3", LS_FLOAT32}, {"x_4", LS_FLOAT64},
        {"x_5", LS_STRING}, {"x_6", LS_BYTES}, {"x_7", LS_TIMESTAMP}, {"x_8", LS_DATE}, {"x_9", LS_EMBEDDING, 3},
        {"x_10", LS_BOOL_LIST}, {"x_11", LS_INT32_LIST}, {"x_12", LS_INT64_LIST}, {"x_13", LS_FLOAT32_LIST},
        {"x_14", LS_FLOAT64_LIST}, {"x_15", LS_TIMESTAMP_LIST}),
    .outputs = LS_COLUMNS(
        {"y_0", LS_BOOL}, {"y_1", LS_INT32}, {"y_2", LS_INT64}, {"y_3", LS_FLOAT32}, {"y_4", LS_FLOAT64},
        {"y_5", LS_STRING}, {"y_6", LS_BYTES}, {"y_7", LS_TIMESTAMP}, {"y_8", LS_DATE}, {"y_9", LS_EMBEDDING, 3},
        {"y_10", LS_BOOL_LIST}, {"y_11", LS_INT32_LIST}, {"y_12", LS_INT64_LIST}, {"y_13", LS_FLOAT32_LIST},
        {"y_14", LS_FLOAT64_LIST}, {"y_15", LS_TIMESTAMP_LIST}),
    .parameters = LS_PARAMETERS(
        {"yes", LS_BOOLEAN(true), "Must stay true."}, {"count", LS_INTEGER(-7), "At most 7."},
        {"share", LS_NUMBER(0.5), "Any number."}, {"word", LS_TEXT("Grüße"), "Not empty."}),
    .handles_nulls = true,
};

enum { UNLUCKY = 13, IS_UNLUCKY = 1013 };

static ls_refusal bind(const ls_binding *binding) {
    if (ls_parameter_int(binding, "count") > 7)
        return ls_bad_parameter("count", ls_format("%l is more than %d", ls_parameter_int(binding, "count"), 7));
    if (ls_parameter_text(binding, "word").length == 0 || ls_parameter_float(binding, "share") != 0.5)
        return ls_bad_parameter("word", "it is empty");
    return ls_parameter_bool(binding, "yes") ? LS_ACCEPTED : (ls_refusal){NULL, "it must stay true"};
}

static void mirror(ls_call *call, uint32_t column, uint32_t row) {
    ls_type type = (ls_type)column;
    ls_input in = ls_in(call, signature.features[column].name, type);
    ls_output *out = ls_out(call, signature.outputs[column].name, type);
    uint32_t count;
    if (ls_is_null(in, row)) return;
    switch (type) {
        case LS_BOOL: ls_set_bool(out, row, ls_bool(in, row)); break;
        case LS_INT32: case LS_DATE: ls_set_int32(out, row, ls_int32(in, row)); break;
        case LS_INT64: case LS_TIMESTAMP: ls_set_int64(out, row, ls_int64(in, row)); break;
        case LS_FLOAT32: ls_set_float32(out, row, ls_float32(in, row)); break;
        case LS_FLOAT64: ls_set_float64(out, row, ls_float64(in, row)); break;
        case LS_STRING: case LS_BYTES: ls_set_text(out, row, ls_string(in, row)); break;
        case LS_EMBEDDING: ls_set_embedding(out, row, ls_embedding(in, row)); break;
        case LS_BOOL_LIST: {
            bool *items = ls_alloc(ls_bool_list_length(in, row) + 1);
            for (count = 0; count < ls_bool_list_length(in, row); count++) items[count] = ls_bool_list_item(in, row, count);
            ls_set_bool_list(out, row, items, count);
            break;
        }
        default: {
            const void *items = ls_list(in, row, &count);
            ls_set_list(out, row, items, count);
        }
    }
}

static void apply(ls_call *call) {
    ls_input unlucky = ls_in(call, "x_1", LS_INT32);
    for (uint32_t row = 0; row < call->rows; row++) {
        for (uint32_t column = 0; column < call->input_count; column++) mirror(call, column, row);
        if (ls_int32(unlucky, row) == UNLUCKY) ls_refuse(call, row, IS_UNLUCKY, ls_format("%d of %s", UNLUCKY, "100%"));
    }
}

LOCKSTEP_TRANSFORM(signature, bind, apply)
