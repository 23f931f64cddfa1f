/* Write a Lockstep transform in C: typed columns in, typed columns out. One header, no C library.
 *
 *     #include "lockstep.h"
 *
 *     static const ls_signature signature = {
 *         .name = "double", .version = "1.0.0", .doc = "Twice as much.",
 *         .features = LS_COLUMNS({"x", LS_FLOAT64}),
 *         .outputs = LS_COLUMNS({"y", LS_FLOAT64}),
 *     };
 *
 *     static void apply(ls_call *call) {
 *         ls_input x = ls_in(call, "x", LS_FLOAT64);
 *         ls_output *y = ls_out(call, "y", LS_FLOAT64);
 *         for (uint32_t row = 0; row < call->rows; row++)
 *             if (!ls_is_null(x, row)) ls_set_float64(y, row, ls_float64(x, row) * 2.0);
 *     }
 *
 *     LOCKSTEP_TRANSFORM(signature, NULL, apply)
 *
 * A transform is a pure, row-wise function: row i of every output depends on row i of the inputs, on the parameters and
 * on nothing else. An output's row that is not set is null. What `bind` puts into static variables is all that `apply`
 * may know; it must not write them.
 *
 * The frame is checked before `apply` sees it, and a row out of range reads as null, so a mistake here cannot read
 * beyond a column. A column that the signature does not have makes the call fail with its name.
 *
 * Reading order: types, memory, inputs, outputs, parameters, text and arithmetic, then frames and the exports.
 *
 * Build it with `lockstep plugin build` (clang and wasm-ld).
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Types ------------------------------------------------------------------------------------------------------ */

/* The type of a column. Timestamps are int64 microseconds since 1970 in UTC, dates int32 days since 1970. */
typedef enum {
    LS_BOOL, LS_INT32, LS_INT64, LS_FLOAT32, LS_FLOAT64, LS_STRING, LS_BYTES, LS_TIMESTAMP, LS_DATE, LS_EMBEDDING,
    LS_BOOL_LIST, LS_INT32_LIST, LS_INT64_LIST, LS_FLOAT32_LIST, LS_FLOAT64_LIST, LS_TIMESTAMP_LIST,
} ls_type;

/* `width` is the length of an embedding, otherwise 0. */
typedef struct {
    const char *name;
    ls_type type;
    uint32_t width;
} ls_column;

/* A text that need not end with a zero: UTF-8 in strings, anything in bytes. */
typedef struct {
    const char *bytes;
    uint32_t length;
} ls_text;

/* The value of a parameter. */
typedef struct {
    enum { LS_NO_VALUE, LS_BOOL_VALUE, LS_INT_VALUE, LS_FLOAT_VALUE, LS_STRING_VALUE } kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        ls_text text;
    };
} ls_value;

typedef struct {
    const char *name;
    ls_value value; /* what it is when it is left out */
    const char *doc;
} ls_parameter;

/* What a transform says of itself. Lists end with an entry without a name: write them with the macros below. */
typedef struct {
    const char *name, *version, *doc;
    const ls_column *features;      /* inputs that are features of other views */
    const ls_column *request;       /* inputs that come with the request */
    const ls_column *outputs;
    const ls_parameter *parameters;
    bool as_of;         /* there is an input `as_of`, LS_TIMESTAMP: the time of the request, or of the label */
    bool handles_nulls; /* false: the gateway nulls the outputs of every row with a null among its inputs */
} ls_signature;

#define LS_COLUMNS(...) (const ls_column[]){__VA_ARGS__, {0}}
#define LS_PARAMETERS(...) (const ls_parameter[]){__VA_ARGS__, {0}}
#define LS_BOOLEAN(given) {.kind = LS_BOOL_VALUE, .boolean = (given)}
#define LS_INTEGER(given) {.kind = LS_INT_VALUE, .integer = (given)}
#define LS_NUMBER(given) {.kind = LS_FLOAT_VALUE, .number = (given)}
#define LS_TEXT(given) {.kind = LS_STRING_VALUE, .text = {(given), sizeof(given) - 1}}

/* One input column of one call. */
typedef struct {
    const uint8_t *validity; /* NULL: no row is null */
    const void *values;
    const int32_t *offsets;
    uint32_t rows, width;
} ls_input;

/* One output column of one call. */
typedef struct {
    ls_column column;
    bool wanted; /* false: nobody asked for it, what is set is thrown away */
    const char **failure;
    uint32_t rows;
    uint8_t *valid;
    uint8_t *values;
    int32_t *offsets;                  /* of texts and lists, as the next two */
    uint32_t items, capacity_bytes;    /* items so far, and bytes that there is room for */
    uint32_t next;                     /* the first row that can still be set */
} ls_output;

typedef struct {
    uint32_t row, code;
    ls_text message;
} ls_row_error;

/* The rows of one call. */
typedef struct {
    uint32_t rows;
    uint32_t input_count, output_count;
    const ls_column *input_columns;
    ls_input *inputs;
    ls_output *outputs;
    ls_row_error *errors;
    uint32_t error_count, error_capacity;
    uint32_t next_input, next_output; /* columns are mostly asked for in their order */
    const char *failure; /* the first thing that went wrong; the call fails with it */
    ls_output no_output;
} ls_call;

/* Why a binding is refused: a parameter and the reason, or the reason alone, or nothing. */
typedef struct {
    const char *parameter, *reason;
} ls_refusal;

#define LS_ACCEPTED ((ls_refusal){NULL, NULL})

/* The parameters of a binding, defaults filled in. */
typedef struct {
    const ls_parameter *specs;
    const ls_value *values;
} ls_binding;

typedef ls_refusal (*ls_bind_function)(const ls_binding *binding);
typedef void (*ls_apply_function)(ls_call *call);

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

/* Memory is taken from one end of the heap and given back all at once when a call has ended. Never NULL: an instance that
 * may not grow further is stopped by the gateway. Aligned to 16 bytes. */
void *ls_alloc(size_t bytes);
void *ls_alloc_zeroed(size_t bytes);

#ifdef __wasm__
#define LS_WEAK __attribute__((weak))

extern uint8_t __heap_base;
/* The next free byte, and the first one that does not belong to the binding. */
LS_WEAK uintptr_t ls_heap_next, ls_heap_mark;

LS_WEAK void *ls_alloc(size_t bytes) {
    const uintptr_t page_bytes = 65536;
    if (ls_heap_next == 0) ls_heap_next = ls_heap_mark = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    uintptr_t start = ls_heap_next, end = start + ((bytes + 15) & ~(size_t)15);
    uintptr_t there = __builtin_wasm_memory_size(0) * page_bytes;
    if (end < start) __builtin_trap();
    if (end > there && __builtin_wasm_memory_grow(0, (end - there + page_bytes - 1) / page_bytes) == (size_t)-1)
        __builtin_trap();
    ls_heap_next = end;
    return (void *)start;
}

/* The compiler may call these whatever the source says. */
LS_WEAK void *memcpy(void *to, const void *from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
LS_WEAK void *memmove(void *to, const void *from, size_t bytes) { return __builtin_memmove(to, from, bytes); }
LS_WEAK void *memset(void *to, int value, size_t bytes) { return __builtin_memset(to, value, bytes); }
LS_WEAK int memcmp(const void *a, const void *b, size_t bytes) {
    const uint8_t *left = a, *right = b;
    for (size_t at = 0; at < bytes; at++)
        if (left[at] != right[at]) return left[at] < right[at] ? -1 : 1;
    return 0;
}
LS_WEAK size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) length++;
    return length;
}
LS_WEAK void *ls_alloc_zeroed(size_t bytes) { return memset(ls_alloc(bytes), 0, bytes); }
#else
/* Natively, for tests: what `main` of the test links. */
#include <string.h>
#endif

static inline bool ls_same(ls_text text, const char *other) {
    return strlen(other) == text.length && memcmp(text.bytes, other, text.length) == 0;
}

static inline ls_text ls_text_of(const char *text) {
    return (ls_text){text, text ? (uint32_t)strlen(text) : 0};
}

/* `pattern` with %s (a const char *), %t (an ls_text), %d (an int), %l (an int64_t) and %% filled in; it lives as long
 * as the call. */
static inline const char *ls_format(const char *pattern, ...) {
    for (int pass = 0, length = 0;; pass++) {
        char *text = pass == 0 ? NULL : ls_alloc((size_t)length + 1);
        int at = 0;
        va_list values;
        va_start(values, pattern);
        for (const char *next = pattern; *next; next++) {
            char digits[20], literal = *next;
            ls_text piece = {&literal, 1};
            if (*next == '%' && *++next != '%') {
                if (*next == 's') {
                    piece = ls_text_of(va_arg(values, const char *));
                } else if (*next == 't') {
                    piece = va_arg(values, ls_text);
                } else {
                    int64_t number = *next == 'l' ? va_arg(values, int64_t) : va_arg(values, int);
                    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
                    int start = (int)sizeof digits;
                    do digits[--start] = (char)('0' + rest % 10), rest /= 10;
                    while (rest);
                    if (number < 0) digits[--start] = '-';
                    piece = (ls_text){digits + start, (uint32_t)((int)sizeof digits - start)};
                }
            }
            if (text) memcpy(text + at, piece.bytes, piece.length);
            at += (int)piece.length;
        }
        va_end(values);
        length = at;
        if (text) return text[at] = 0, text;
    }
}

static inline void ls_fail(const char **failure, const char *reason) {
    if (!*failure) *failure = reason;
}

/* ---- Inputs ----------------------------------------------------------------------------------------------------- */

static inline bool ls_bit(const uint8_t *bits, uint32_t at) { return bits[at >> 3] >> (at & 7) & 1; }

/* The position of the column `name`, looked for from `*next` on; `count` if there is none. */
static inline uint32_t ls_find(const char *name, const ls_column *columns, size_t stride, uint32_t count, uint32_t *next) {
    for (uint32_t step = 0; step < count; step++) {
        uint32_t at = *next + step < count ? *next + step : *next + step - count;
        const char *other = ((const ls_column *)(const void *)((const uint8_t *)columns + at * stride))->name;
        size_t same = 0;
        while (name[same] && name[same] == other[same]) same++;
        if (name[same] == other[same]) return *next = at + 1 < count ? at + 1 : 0, at;
    }
    return count;
}

/* The input `name`, which must be of this type. */
static inline ls_input ls_in(ls_call *call, const char *name, ls_type type) {
    uint32_t at = ls_find(name, call->input_columns, sizeof(ls_column), call->input_count, &call->next_input);
    if (at < call->input_count && call->input_columns[at].type == type) return call->inputs[at];
    ls_fail(&call->failure, ls_format(at < call->input_count ? "input %s is read as another type than the signature says"
                                                             : "input %s is read, which the signature does not have", name));
    return (ls_input){0};
}

/* The readers below give 0, or nothing, for a null. */
static inline bool ls_is_null(ls_input input, uint32_t row) {
    return row >= input.rows || (input.validity && !ls_bit(input.validity, row));
}
static inline bool ls_bool(ls_input input, uint32_t row) {
    return !ls_is_null(input, row) && ls_bit(input.values, row);
}
/* Dates too. */
static inline int32_t ls_int32(ls_input input, uint32_t row) {
    return ls_is_null(input, row) ? 0 : ((const int32_t *)input.values)[row];
}
/* Timestamps too. */
static inline int64_t ls_int64(ls_input input, uint32_t row) {
    return ls_is_null(input, row) ? 0 : ((const int64_t *)input.values)[row];
}
static inline float ls_float32(ls_input input, uint32_t row) {
    return ls_is_null(input, row) ? 0 : ((const float *)input.values)[row];
}
static inline double ls_float64(ls_input input, uint32_t row) {
    return ls_is_null(input, row) ? 0 : ((const double *)input.values)[row];
}
/* Strings and bytes. */
static inline ls_text ls_string(ls_input input, uint32_t row) {
    if (ls_is_null(input, row)) return (ls_text){"", 0};
    int32_t start = input.offsets[row];
    return (ls_text){(const char *)input.values + start, (uint32_t)(input.offsets[row + 1] - start)};
}
/* The items of an embedding: so many as the signature says; NULL for a null. */
static inline const float *ls_embedding(ls_input input, uint32_t row) {
    return ls_is_null(input, row) ? NULL : (const float *)input.values + (size_t)row * input.width;
}
/* The items of a list of numbers or times, `*count` of them. */
static inline const void *ls_list(ls_input input, uint32_t row, uint32_t *count) {
    *count = ls_is_null(input, row) ? 0 : (uint32_t)(input.offsets[row + 1] - input.offsets[row]);
    return *count ? (const uint8_t *)input.values + (size_t)input.offsets[row] * input.width : input.values;
}
/* The number of items of a list of bools, and one of them. */
static inline uint32_t ls_bool_list_length(ls_input input, uint32_t row) {
    return ls_is_null(input, row) ? 0 : (uint32_t)(input.offsets[row + 1] - input.offsets[row]);
}
static inline bool ls_bool_list_item(ls_input input, uint32_t row, uint32_t item) {
    return item < ls_bool_list_length(input, row) && ls_bit(input.values, (uint32_t)input.offsets[row] + item);
}

/* ---- Outputs ---------------------------------------------------------------------------------------------------- */

static inline bool ls_has_offsets(ls_type type) {
    return type == LS_STRING || type == LS_BYTES || type >= LS_BOOL_LIST;
}
static inline bool ls_has_bits(ls_type type) { return type == LS_BOOL || type == LS_BOOL_LIST; }
/* Bytes of one value, of one row of an embedding, or of one item; 0 for bits. */
static inline uint32_t ls_width(ls_column column) {
    static const uint8_t widths[] = {0, 4, 8, 4, 8, 1, 1, 8, 4, 4, 0, 4, 8, 4, 8, 8};
    return widths[column.type] * (column.type == LS_EMBEDDING ? column.width : 1);
}
static inline size_t ls_items_bytes(ls_column column, size_t items) {
    return ls_has_bits(column.type) ? (items + 7) / 8 : items * ls_width(column);
}

/* The output `name`, which must be of this type. */
static inline ls_output *ls_out(ls_call *call, const char *name, ls_type type) {
    const ls_column *columns = call->output_count ? &call->outputs->column : NULL;
    uint32_t at = ls_find(name, columns, sizeof(ls_output), call->output_count, &call->next_output);
    if (at < call->output_count && call->outputs[at].column.type == type) return &call->outputs[at];
    ls_fail(&call->failure, ls_format(at < call->output_count ? "output %s is written as another type than the signature says"
                                                              : "output %s is written, which the signature does not have", name));
    return &call->no_output;
}

static inline bool ls_mark(ls_output *output, uint32_t row) {
    if (row >= output->rows) return ls_fail(output->failure, "a row is written that is not there"), false;
    output->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
    return true;
}
static inline void ls_set_null(ls_output *output, uint32_t row) {
    if (ls_mark(output, row)) output->valid[row >> 3] &= (uint8_t) ~(1 << (row & 7));
}
static inline void ls_set_bool(ls_output *output, uint32_t row, bool value) {
    if (ls_mark(output, row)) {
        uint8_t bit = (uint8_t)(1 << (row & 7)), *byte = &output->values[row >> 3];
        *byte = value ? *byte | bit : *byte & (uint8_t)~bit;
    }
}
/* Dates too. */
static inline void ls_set_int32(ls_output *output, uint32_t row, int32_t value) {
    if (ls_mark(output, row)) ((int32_t *)(void *)output->values)[row] = value;
}
/* Timestamps too. */
static inline void ls_set_int64(ls_output *output, uint32_t row, int64_t value) {
    if (ls_mark(output, row)) ((int64_t *)(void *)output->values)[row] = value;
}
static inline void ls_set_float32(ls_output *output, uint32_t row, float value) {
    if (ls_mark(output, row)) ((float *)(void *)output->values)[row] = value;
}
static inline void ls_set_float64(ls_output *output, uint32_t row, double value) {
    if (ls_mark(output, row)) ((double *)(void *)output->values)[row] = value;
}
/* As many items as the signature says. */
static inline void ls_set_embedding(ls_output *output, uint32_t row, const float *items) {
    size_t bytes = ls_width(output->column);
    if (ls_mark(output, row)) memcpy(output->values + row * bytes, items, bytes);
}

/* Makes room for `count` more items of a row of texts or lists, and says that they are there. Rows are written in their
 * order. NULL if the row cannot be written any more. */
static inline uint8_t *ls_append(ls_output *output, uint32_t row, uint32_t count) {
    if (row < output->next) {
        ls_fail(output->failure, "the rows of an output of texts or lists are not written in their order");
        return NULL;
    }
    if (!ls_mark(output, row)) return NULL;
    size_t before = ls_items_bytes(output->column, output->items);
    size_t after = ls_items_bytes(output->column, (size_t)output->items + count);
    if (after > output->capacity_bytes) {
        size_t capacity = after * 2;
        if (capacity > INT32_MAX) return ls_fail(output->failure, "an output is larger than a frame can be"), NULL;
        uint8_t *values = ls_alloc_zeroed(capacity);
        if (before) memcpy(values, output->values, before);
        output->values = values;
        output->capacity_bytes = (uint32_t)capacity;
    }
    while (output->next < row) output->offsets[++output->next] = (int32_t)output->items;
    uint8_t *place = output->values + (size_t)output->items * ls_width(output->column);
    output->items += count;
    output->offsets[++output->next] = (int32_t)output->items;
    return place;
}
/* Strings, which are UTF-8, and bytes. */
static inline void ls_set_text(ls_output *output, uint32_t row, ls_text text) {
    uint8_t *place = ls_append(output, row, text.length);
    if (place && text.length) memcpy(place, text.bytes, text.length);
}
/* Numbers and times. */
static inline void ls_set_list(ls_output *output, uint32_t row, const void *items, uint32_t count) {
    uint8_t *place = ls_append(output, row, count);
    if (place && count) memcpy(place, items, (size_t)count * ls_width(output->column));
}
static inline void ls_set_bool_list(ls_output *output, uint32_t row, const bool *items, uint32_t count) {
    uint32_t start = output->items;
    if (!ls_append(output, row, count)) return;
    for (uint32_t at = 0; at < count; at++)
        if (items[at]) output->values[(start + at) >> 3] |= (uint8_t)(1 << ((start + at) & 7));
}

/* Refuses a row: its outputs become null, and the caller is told why. `code` is 1000 or more; `message` lives until the
 * call ends, as one of `ls_format` does. */
static inline void ls_refuse(ls_call *call, uint32_t row, uint32_t code, const char *message) {
    if (call->error_count == call->error_capacity) {
        uint32_t capacity = call->error_capacity ? call->error_capacity * 2 : 16;
        ls_row_error *errors = ls_alloc(capacity * sizeof *errors);
        if (call->error_count) memcpy(errors, call->errors, call->error_count * sizeof *errors);
        call->errors = errors;
        call->error_capacity = capacity;
    }
    call->errors[call->error_count++] = (ls_row_error){row, code, ls_text_of(message)};
}

/* ---- Parameters ------------------------------------------------------------------------------------------------- */

/* The parameter `name`; one that the signature does not have, or has as another type, is 0, false or empty. */
static inline ls_value ls_parameter_value(const ls_binding *binding, const char *name) {
    for (uint32_t at = 0; binding->specs && binding->specs[at].name; at++)
        if (ls_same(ls_text_of(name), binding->specs[at].name)) return binding->values[at];
    return (ls_value){0};
}
static inline bool ls_parameter_bool(const ls_binding *binding, const char *name) {
    ls_value value = ls_parameter_value(binding, name);
    return value.kind == LS_BOOL_VALUE && value.boolean;
}
static inline int64_t ls_parameter_int(const ls_binding *binding, const char *name) {
    ls_value value = ls_parameter_value(binding, name);
    return value.kind == LS_INT_VALUE ? value.integer : 0;
}
static inline double ls_parameter_float(const ls_binding *binding, const char *name) {
    ls_value value = ls_parameter_value(binding, name);
    return value.kind == LS_FLOAT_VALUE ? value.number : 0;
}
/* It lives as long as the binding. */
static inline ls_text ls_parameter_text(const ls_binding *binding, const char *name) {
    ls_value value = ls_parameter_value(binding, name);
    return value.kind == LS_STRING_VALUE ? value.text : (ls_text){"", 0};
}
static inline ls_refusal ls_bad_parameter(const char *name, const char *reason) {
    return (ls_refusal){name, reason};
}

/* ---- Arithmetic: what WebAssembly has an instruction for ---------------------------------------------------------- */

static inline double ls_sqrt(double x) { return __builtin_sqrt(x); }
static inline double ls_fabs(double x) { return __builtin_fabs(x); }
static inline double ls_floor(double x) { return __builtin_floor(x); }
static inline double ls_ceil(double x) { return __builtin_ceil(x); }
static inline double ls_trunc(double x) { return __builtin_trunc(x); }
/* To the nearest integer, a half to the even one. */
static inline double ls_nearest(double x) { return __builtin_nearbyint(x); }
static inline double ls_copysign(double x, double sign) { return __builtin_copysign(x, sign); }
/* The lesser and the greater; if one is not a number, the other. */
static inline double ls_min(double a, double b) { return a != a || b < a ? b : a; }
static inline double ls_max(double a, double b) { return a != a || b > a ? b : a; }

/* ---- Frames: wit/vectors/README.md is the format ------------------------------------------------------------------ */

enum { LS_MAGIC = 0x3146534c, LS_HEADER_BYTES = 16, LS_DESCRIPTOR_BYTES = 32, LS_ROWS_MAX = 8192 };

static inline uint32_t ls_word(const uint8_t *frame, size_t at) {
    return (uint32_t)frame[at] | (uint32_t)frame[at + 1] << 8 | (uint32_t)frame[at + 2] << 16
         | (uint32_t)frame[at + 3] << 24;
}
static inline void ls_put_word(uint8_t *frame, size_t at, size_t value) {
    for (int byte = 0; byte < 4; byte++) frame[at + (size_t)byte] = (uint8_t)(value >> (8 * byte));
}

/* The buffer whose place stands at `at`: of `wanted` bytes, where the one before ended. NULL if it lies elsewhere. An empty
 * one is at 0 and is not read. */
static inline const uint8_t *ls_buffer(const uint8_t *frame, uint32_t bytes, size_t at, uint64_t wanted, uint64_t *end) {
    uint64_t start = ls_word(frame, at), length = ls_word(frame, at + 4);
    if (length != wanted || start != (length ? *end : 0) || start + length > bytes) return NULL;
    if (length) *end = (start + length + 7) & ~(uint64_t)7;
    return frame + start;
}

/* Reads one column; what is wrong with it, or NULL. */
static inline const char *ls_read_column(
    const uint8_t *frame, uint32_t bytes, uint32_t position, ls_column column, uint32_t rows, ls_input *input,
    uint64_t *end) {
    size_t at = LS_HEADER_BYTES + (size_t)position * LS_DESCRIPTOR_BYTES;
    if (frame[at] != column.type) return "a column has another type than was agreed on";
    uint64_t items = rows, bits_bytes = ((uint64_t)rows + 7) / 8;
    *input = (ls_input){.rows = rows, .width = column.type == LS_EMBEDDING ? column.width : ls_width(column)};
    if (ls_has_offsets(column.type)) {
        const uint8_t *offsets = ls_buffer(frame, bytes, at + 24, ((uint64_t)rows + 1) * 4, end);
        if (!offsets) return "a column's offsets are not where its rows need them";
        input->offsets = (const int32_t *)(const void *)offsets;
        for (uint32_t row = 0; row < rows; row++)
            if (input->offsets[row] > input->offsets[row + 1]) return "a column's offsets fall";
        if (input->offsets[0] != 0) return "a column's offsets do not begin at 0";
        items = (uint64_t)input->offsets[rows];
    }
    uint64_t wanted = ls_has_bits(column.type) ? (items + 7) / 8 : items * ls_width(column);
    input->values = ls_buffer(frame, bytes, at + 16, wanted, end);
    if (!input->values) return "a column's values are not where its rows need them";
    if (frame[at + 1] & 1) {
        input->validity = ls_buffer(frame, bytes, at + 8, bits_bytes, end);
        if (!input->validity) return "a column's validity is not where its rows need it";
    }
    return NULL;
}

/* Reads a frame of these columns, which begins at a multiple of 8; what is wrong with it, or NULL. */
static inline const char *ls_read(
    const uint8_t *frame, uint32_t bytes, const ls_column *columns, uint32_t count, uint32_t *rows, ls_input *inputs) {
    if (bytes < LS_HEADER_BYTES || ls_word(frame, 0) != LS_MAGIC) return "it does not begin with LSF1";
    if (ls_word(frame, 8) != count) return "it has another number of columns than was agreed on";
    if (bytes < LS_HEADER_BYTES + (uint64_t)count * LS_DESCRIPTOR_BYTES) return "it ends within its descriptors";
    *rows = ls_word(frame, 4);
    if (*rows > LS_ROWS_MAX) return "it has more rows than a frame may have";
    uint64_t end = LS_HEADER_BYTES + (uint64_t)count * LS_DESCRIPTOR_BYTES;
    for (uint32_t at = 0; at < count; at++) {
        const char *wrong = ls_read_column(frame, bytes, at, columns[at], *rows, &inputs[at], &end);
        if (wrong) return wrong;
    }
    return end == bytes ? NULL : "it does not end with its last buffer";
}

/* An output with no row set. */
static inline ls_output ls_output_of(ls_column column, bool wanted, uint32_t rows, const char **failure) {
    ls_output output = {.column = column, .wanted = wanted, .rows = rows, .failure = failure};
    output.valid = ls_alloc_zeroed((rows + 7) / 8 + 1);
    if (ls_has_offsets(column.type)) {
        output.offsets = ls_alloc_zeroed(((size_t)rows + 1) * 4);
        output.values = ls_alloc_zeroed(output.capacity_bytes = 64);
    } else {
        output.values = ls_alloc_zeroed(ls_items_bytes(column, rows) + 1);
    }
    return output;
}

static inline uint32_t ls_null_count(const ls_output *output) {
    uint32_t valid = 0;
    for (uint32_t byte = 0; byte < (output->rows + 7) / 8; byte++) valid += (uint32_t)__builtin_popcount(output->valid[byte]);
    return output->rows - valid;
}

/* Puts a buffer where the next multiple of 8 is, if there is a frame yet, and its place into the descriptor. */
static inline size_t ls_put(uint8_t *frame, size_t end, size_t descriptor, const void *bytes, size_t length) {
    if (frame && length) {
        memcpy(frame + end, bytes, length);
        ls_put_word(frame, descriptor, end);
        ls_put_word(frame, descriptor + 4, length);
    }
    return (end + length + 7) & ~(size_t)7;
}

/* The frame of the wanted outputs. The first pass counts, the second writes. */
static inline ls_text ls_write(ls_output *outputs, uint32_t count, uint32_t rows) {
    uint8_t *frame = NULL;
    uint32_t wanted = 0;
    for (uint32_t at = 0; at < count; at++) {
        wanted += outputs[at].wanted;
        while (outputs[at].offsets && outputs[at].next < rows)
            outputs[at].offsets[++outputs[at].next] = (int32_t)outputs[at].items;
    }
    for (size_t pass = 0;; pass++) {
        size_t end = LS_HEADER_BYTES + (size_t)wanted * LS_DESCRIPTOR_BYTES, descriptor = LS_HEADER_BYTES;
        for (uint32_t at = 0; at < count; at++) {
            const ls_output *output = &outputs[at];
            if (!output->wanted) continue;
            uint32_t nulls = ls_null_count(output);
            size_t items = output->offsets ? output->items : rows;
            if (output->offsets) end = ls_put(frame, end, descriptor + 24, output->offsets, ((size_t)rows + 1) * 4);
            end = ls_put(frame, end, descriptor + 16, output->values, ls_items_bytes(output->column, items));
            if (nulls) end = ls_put(frame, end, descriptor + 8, output->valid, ((size_t)rows + 7) / 8);
            if (frame) {
                frame[descriptor] = (uint8_t)output->column.type;
                frame[descriptor + 1] = nulls ? 1 : 0;
                ls_put_word(frame, descriptor + 4, nulls);
            }
            descriptor += LS_DESCRIPTOR_BYTES;
        }
        if (frame) return (ls_text){(const char *)frame, (uint32_t)end};
        frame = ls_alloc_zeroed(end);
        ls_put_word(frame, 0, LS_MAGIC);
        ls_put_word(frame, 4, rows);
        ls_put_word(frame, 8, wanted);
    }
}

/* ---- The exports of the component: the records of wit/transform.wit as the canonical ABI lays them out -------------- */

#ifdef __wasm__

typedef struct {
    ls_text name;
    uint8_t dtype, nullable;
    uint32_t width;
} ls_wit_field;

typedef struct {
    const void *items;
    uint32_t count;
} ls_wit_list;

typedef struct {
    uint8_t kind;
    union {
        uint8_t boolean;
        int64_t integer;
        double number;
        ls_text text;
    };
} ls_wit_scalar;

typedef struct {
    ls_text name;
    uint8_t dtype, required;
    ls_wit_scalar value;
    ls_text doc;
} ls_wit_parameter;

typedef struct {
    ls_text name, version, doc;
    ls_wit_list features, request, outputs, parameters;
    uint8_t time, nulls;
    uint32_t frame_version;
} ls_wit_descriptor;

typedef struct {
    ls_text name;
    ls_wit_scalar value;
} ls_wit_argument;

typedef struct {
    uint8_t is_error;
    union {
        struct { ls_wit_list inputs, outputs; } bound;
        struct { uint8_t kind; ls_text name, reason; } error;
    };
} ls_wit_bound;

typedef struct {
    uint8_t is_error;
    union {
        struct { ls_wit_list frame, errors; } applied;
        struct { uint8_t kind; ls_text reason; } error;
    };
} ls_wit_applied;

_Static_assert(sizeof(ls_wit_field) == 16 && sizeof(ls_wit_parameter) == 40 && sizeof(ls_wit_descriptor) == 64, "records");
_Static_assert(sizeof(ls_wit_argument) == 24 && sizeof(ls_wit_bound) == 24 && sizeof(ls_wit_applied) == 20, "results");

/* What is bound. */
typedef struct {
    uint32_t input_count, output_count;
    ls_column *inputs;
    ls_column *outputs;
    bool *wanted;
} ls_instance;
LS_WEAK ls_instance ls_bound;

static inline uint32_t ls_count(const ls_column *columns) {
    uint32_t count = 0;
    while (columns && columns[count].name) count++;
    return count;
}

/* The columns of which `wanted` is true, or all, as the world has them. */
static inline ls_wit_list ls_fields(const ls_column *columns, uint32_t count, const bool *wanted, bool as_of) {
    ls_wit_field *fields = ls_alloc((count + 1) * sizeof *fields);
    uint32_t written = 0;
    for (uint32_t at = 0; at < count; at++)
        if (!wanted || wanted[at])
            fields[written++] = (ls_wit_field){
                ls_text_of(columns[at].name), (uint8_t)columns[at].type, !(as_of && at == 0), columns[at].width};
    return (ls_wit_list){fields, written};
}

static inline ls_wit_scalar ls_scalar(ls_value value) {
    ls_wit_scalar scalar = {.kind = (uint8_t)value.kind};
    switch (value.kind) {
        case LS_NO_VALUE: break;
        case LS_BOOL_VALUE: scalar.boolean = value.boolean; break;
        case LS_INT_VALUE: scalar.integer = value.integer; break;
        case LS_FLOAT_VALUE: scalar.number = value.number; break;
        case LS_STRING_VALUE: scalar.text = value.text; break;
    }
    return scalar;
}

static inline ls_value ls_value_of(const ls_wit_scalar *scalar) {
    switch (scalar->kind) {
        case LS_BOOL_VALUE: return (ls_value){.kind = LS_BOOL_VALUE, .boolean = scalar->boolean != 0};
        case LS_INT_VALUE: return (ls_value){.kind = LS_INT_VALUE, .integer = scalar->integer};
        case LS_FLOAT_VALUE: return (ls_value){.kind = LS_FLOAT_VALUE, .number = scalar->number};
        case LS_STRING_VALUE: return (ls_value){.kind = LS_STRING_VALUE, .text = scalar->text};
        default: return (ls_value){.kind = LS_NO_VALUE};
    }
}

static inline ls_wit_descriptor *ls_describe(const ls_signature *signature) {
    static const uint8_t dtypes[] = {LS_STRING, LS_BOOL, LS_INT64, LS_FLOAT64, LS_STRING};
    uint32_t count = 0;
    while (signature->parameters && signature->parameters[count].name) count++;
    ls_wit_parameter *parameters = ls_alloc_zeroed((count + 1) * sizeof *parameters);
    for (uint32_t at = 0; at < count; at++) {
        const ls_parameter *spec = &signature->parameters[at];
        parameters[at] = (ls_wit_parameter){
            ls_text_of(spec->name), dtypes[spec->value.kind], 0, ls_scalar(spec->value), ls_text_of(spec->doc)};
    }
    ls_wit_descriptor *descriptor = ls_alloc(sizeof *descriptor);
    *descriptor = (ls_wit_descriptor){
        .name = ls_text_of(signature->name), .version = ls_text_of(signature->version), .doc = ls_text_of(signature->doc),
        .features = ls_fields(signature->features, ls_count(signature->features), NULL, false),
        .request = ls_fields(signature->request, ls_count(signature->request), NULL, false),
        .outputs = ls_fields(signature->outputs, ls_count(signature->outputs), NULL, false),
        .parameters = {parameters, count},
        .time = signature->as_of, .nulls = signature->handles_nulls, .frame_version = 1,
    };
    return descriptor;
}

enum { LS_UNKNOWN_PARAMETER, LS_BAD_PARAMETER, LS_UNKNOWN_OUTPUT, LS_OTHER };

static inline ls_wit_bound *ls_refused(uint8_t kind, ls_text name, ls_text reason) {
    ls_wit_bound *bound = ls_alloc_zeroed(sizeof *bound);
    bound->is_error = 1;
    bound->error.kind = kind;
    bound->error.name = name;
    bound->error.reason = reason;
    return bound;
}

static inline ls_wit_bound *ls_bind(
    const ls_signature *signature, ls_bind_function bind, const ls_wit_argument *arguments, uint32_t argument_count,
    const ls_text *outputs, uint32_t output_count) {
    uint32_t parameter_count = 0;
    while (signature->parameters && signature->parameters[parameter_count].name) parameter_count++;
    ls_value *values = ls_alloc_zeroed((parameter_count + 1) * sizeof *values);
    for (uint32_t at = 0; at < parameter_count; at++) values[at] = signature->parameters[at].value;
    for (uint32_t given = 0; given < argument_count; given++) {
        uint32_t at = 0;
        while (at < parameter_count && !ls_same(arguments[given].name, signature->parameters[at].name)) at++;
        if (at == parameter_count) return ls_refused(LS_UNKNOWN_PARAMETER, arguments[given].name, (ls_text){"", 0});
        ls_value value = ls_value_of(&arguments[given].value);
        if (value.kind == LS_NO_VALUE) continue;
        if (values[at].kind != LS_NO_VALUE && value.kind != values[at].kind)
            return ls_refused(LS_BAD_PARAMETER, arguments[given].name, ls_text_of("it has another type"));
        values[at] = value;
    }

    uint32_t features = ls_count(signature->features), request = ls_count(signature->request);
    ls_instance instance = {.output_count = ls_count(signature->outputs)};
    instance.inputs = ls_alloc((features + request + 1) * sizeof *instance.inputs);
    if (signature->as_of) instance.inputs[instance.input_count++] = (ls_column){"as_of", LS_TIMESTAMP, 0};
    for (uint32_t at = 0; at < features; at++) instance.inputs[instance.input_count++] = signature->features[at];
    for (uint32_t at = 0; at < request; at++) instance.inputs[instance.input_count++] = signature->request[at];
    instance.outputs = (ls_column *)signature->outputs;
    instance.wanted = ls_alloc_zeroed(instance.output_count + 1);
    for (uint32_t given = 0; given < output_count; given++) {
        uint32_t at = 0;
        while (at < instance.output_count && !ls_same(outputs[given], signature->outputs[at].name)) at++;
        if (at == instance.output_count) return ls_refused(LS_UNKNOWN_OUTPUT, outputs[given], (ls_text){"", 0});
        instance.wanted[at] = true;
    }

    ls_binding binding = {signature->parameters, values};
    ls_refusal refusal = bind ? bind(&binding) : LS_ACCEPTED;
    if (refusal.parameter) return ls_refused(LS_BAD_PARAMETER, ls_text_of(refusal.parameter), ls_text_of(refusal.reason));
    if (refusal.reason) return ls_refused(LS_OTHER, ls_text_of(refusal.reason), (ls_text){"", 0});
    ls_wit_bound *bound = ls_alloc_zeroed(sizeof *bound);
    bound->bound.inputs = ls_fields(instance.inputs, instance.input_count, NULL, signature->as_of);
    bound->bound.outputs = ls_fields(instance.outputs, instance.output_count, instance.wanted, false);
    ls_bound = instance;
    ls_heap_mark = ls_heap_next;
    return bound;
}

static inline ls_wit_applied *ls_apply(ls_apply_function apply, const uint8_t *frame, uint32_t bytes) {
    ls_wit_applied *applied = ls_alloc_zeroed(sizeof *applied);
    ls_call *call = ls_alloc_zeroed(sizeof *call);
    call->input_count = ls_bound.input_count;
    call->input_columns = ls_bound.inputs;
    call->inputs = ls_alloc((ls_bound.input_count + 1) * sizeof *call->inputs);
    call->no_output = (ls_output){.failure = &call->failure};
    const char *wrong = ls_bound.inputs ? ls_read(frame, bytes, ls_bound.inputs, ls_bound.input_count, &call->rows, call->inputs)
                                        : "bind was not called";
    if (wrong) {
        applied->is_error = 1;
        applied->error.reason = ls_text_of(wrong);
        return applied;
    }
    call->output_count = ls_bound.output_count;
    call->outputs = ls_alloc(ls_bound.output_count * sizeof *call->outputs);
    for (uint32_t at = 0; at < ls_bound.output_count; at++)
        call->outputs[at] = ls_output_of(ls_bound.outputs[at], ls_bound.wanted[at], call->rows, &call->failure);
    apply(call);
    if (call->failure) {
        applied->is_error = 1;
        applied->error.kind = 1;
        applied->error.reason = ls_text_of(call->failure);
        return applied;
    }
    ls_text answer = ls_write(call->outputs, call->output_count, call->rows);
    applied->applied.frame = (ls_wit_list){answer.bytes, answer.length};
    applied->applied.errors = (ls_wit_list){call->errors, call->error_count};
    return applied;
}

/* The gateway asks for room for what it passes in. */
LS_WEAK __attribute__((export_name("cabi_realloc")))
void *ls_realloc(void *old, size_t old_bytes, size_t align, size_t bytes) {
    (void)align;
    void *place = ls_alloc(bytes);
    if (old && old_bytes) memcpy(place, old, old_bytes < bytes ? old_bytes : bytes);
    return place;
}

#define LS_EXPORT(function) __attribute__((export_name("lockstep:transform/transform@0.1.0#" function)))
#define LS_AFTER(function) __attribute__((export_name("cabi_post_lockstep:transform/transform@0.1.0#" function)))

/* Makes the component's exports, once in a plugin: its signature, `bind` (or NULL) and `apply`. */
#define LOCKSTEP_TRANSFORM(signature, bind, apply)                                                                      \
    LS_EXPORT("describe") ls_wit_descriptor *ls_exported_describe(void) { return ls_describe(&(signature)); }           \
    LS_AFTER("describe") void ls_described(void *answer) { (void)answer, ls_heap_next = ls_heap_mark; }                 \
    LS_EXPORT("bind") ls_wit_bound *ls_exported_bind(                                                                   \
        const ls_wit_argument *arguments, uint32_t argument_count, const ls_text *outputs, uint32_t output_count) {     \
        return ls_bind(&(signature), (bind), arguments, argument_count, outputs, output_count);                         \
    }                                                                                                                   \
    LS_EXPORT("apply") ls_wit_applied *ls_exported_apply(const uint8_t *frame, uint32_t bytes) {                        \
        return ls_apply((apply), frame, bytes);                                                                         \
    }                                                                                                                   \
    LS_AFTER("apply") void ls_applied(void *answer) { (void)answer, ls_heap_next = ls_heap_mark; }

#else
/* A native test calls `bind` and `apply` itself. */
#define LOCKSTEP_TRANSFORM(signature, bind, apply) \
    static const ls_signature *const ls_tested_signature __attribute__((unused)) = &(signature);
#endif

#endif
