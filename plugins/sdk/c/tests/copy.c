/* copy OUT TYPE... < IN: reads a frame of columns of these types, prints every value, and writes the same values to OUT
 * as a frame. The test vectors are read and written by this program, natively. */
#include <stdio.h>
#include <stdlib.h>

#include "../lockstep.h"

void *ls_alloc(size_t bytes) { return ls_alloc_zeroed(bytes); }
void *ls_alloc_zeroed(size_t bytes) {
    void *place = calloc(bytes + 1, 1);
    if (!place) exit(3);
    return place;
}

static const char *const names[] = {
    "bool", "int32", "int64", "float32", "float64", "string", "bytes", "timestamp", "date", "list<float32, ",
    "list<bool>", "list<int32>", "list<int64>", "list<float32>", "list<float64>", "list<timestamp>",
};

static ls_column column_of(const char *name) {
    for (int type = 0; type < 16; type++) {
        if (type == LS_EMBEDDING && !strncmp(name, names[type], strlen(names[type])))
            return (ls_column){name, LS_EMBEDDING, (uint32_t)atoi(name + strlen(names[type]))};
        if (!strcmp(name, names[type])) return (ls_column){name, (ls_type)type, 0};
    }
    fprintf(stderr, "no such type: %s\n", name);
    exit(2);
}

static void print_float32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf(" %08x", bits);
}

static void print_float64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf(" %016llx", (unsigned long long)bits);
}

static void copy(ls_input in, ls_output *out, uint32_t row) {
    uint32_t count;
    bool bits[64];
    switch (out->column.type) {
        case LS_BOOL: printf(" %d", ls_bool(in, row)), ls_set_bool(out, row, ls_bool(in, row)); break;
        case LS_INT32: case LS_DATE: printf(" %d", ls_int32(in, row)), ls_set_int32(out, row, ls_int32(in, row)); break;
        case LS_INT64: case LS_TIMESTAMP:
            printf(" %lld", (long long)ls_int64(in, row)), ls_set_int64(out, row, ls_int64(in, row));
            break;
        case LS_FLOAT32: print_float32(ls_float32(in, row)), ls_set_float32(out, row, ls_float32(in, row)); break;
        case LS_FLOAT64: print_float64(ls_float64(in, row)), ls_set_float64(out, row, ls_float64(in, row)); break;
        case LS_STRING: case LS_BYTES: {
            ls_text text = ls_string(in, row);
            printf(" x");
            for (uint32_t at = 0; at < text.length; at++) printf("%02x", (uint8_t)text.bytes[at]);
            ls_set_text(out, row, text);
            break;
        }
        case LS_EMBEDDING:
            for (uint32_t at = 0; at < out->column.width; at++) print_float32(ls_embedding(in, row)[at]);
            ls_set_embedding(out, row, ls_embedding(in, row));
            break;
        case LS_BOOL_LIST:
            count = ls_bool_list_length(in, row);
            for (uint32_t at = 0; at < count && at < 64; at++) printf(" %d", bits[at] = ls_bool_list_item(in, row, at));
            ls_set_bool_list(out, row, bits, count);
            break;
        default: {
            const void *items = ls_list(in, row, &count);
            for (uint32_t at = 0; at < count; at++) {
                if (out->column.type == LS_INT32_LIST) printf(" %d", ((const int32_t *)items)[at]);
                else if (out->column.type == LS_FLOAT32_LIST) print_float32(((const float *)items)[at]);
                else if (out->column.type == LS_FLOAT64_LIST) print_float64(((const double *)items)[at]);
                else printf(" %lld", (long long)((const int64_t *)items)[at]);
            }
            ls_set_list(out, row, items, count);
        }
    }
}

int main(int argument_count, char **arguments) {
    static _Alignas(8) uint8_t frame[1 << 20];
    uint32_t bytes = (uint32_t)fread(frame, 1, sizeof frame, stdin), count = (uint32_t)argument_count - 2, rows;
    ls_column columns[64];
    ls_input inputs[64];
    ls_output outputs[64];
    const char *failure = NULL;
    if (argument_count < 2 || count > 64) return 2;
    for (uint32_t at = 0; at < count; at++) columns[at] = column_of(arguments[at + 2]);
    const char *wrong = ls_read(frame, bytes, columns, count, &rows, inputs);
    if (wrong) return puts(wrong), 1;
    for (uint32_t at = 0; at < count; at++) {
        outputs[at] = ls_output_of(columns[at], true, rows, &failure);
        for (uint32_t row = 0; row < rows; row++) {
            printf("%u %u", at, row);
            if (ls_is_null(inputs[at], row)) printf(" null");
            else copy(inputs[at], &outputs[at], row);
            puts("");
        }
    }
    if (failure) return puts(failure), 1;
    ls_text answer = ls_write(outputs, count, rows);
    FILE *out = fopen(arguments[1], "wb");
    return !out || fwrite(answer.bytes, 1, answer.length, out) != answer.length || fclose(out) ? 3 : 0;
}
