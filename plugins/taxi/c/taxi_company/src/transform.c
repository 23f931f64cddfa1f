/* The name of a taxi company, cleaned, and the bucket that a model embeds it by: what plugins/taxi_company does in Rust,
 * to the byte.
 *
 * The city's records write one company in many ways: `2733 - 74600 Benny Jona`, `Benny Jona, Inc.`, `BENNY  JONA`. */
#include "letters.h"
#include "lockstep.h"

static const ls_signature signature = {
    .name = "taxi_company",
    .version = "1.0.0",
    .doc = "The company's name without licence number, punctuation and legal form; and its hash bucket.",
    .features = LS_COLUMNS({"company_name", LS_STRING}),
    .outputs = LS_COLUMNS({"company_clean", LS_STRING}, {"company_bucket", LS_INT32}),
    .parameters = LS_PARAMETERS({"buckets", LS_INTEGER(64), "Number of buckets, 1 to 2147483647."}),
};

static uint64_t buckets;

static ls_refusal bind(const ls_binding *binding) {
    int64_t given = ls_parameter_int(binding, "buckets");
    if (given < 1 || given > INT32_MAX)
        return ls_bad_parameter("buckets", ls_format("%l is not between 1 and 2147483647", given));
    buckets = (uint64_t)given;
    return LS_ACCEPTED;
}

/* `digits - digits ` at the start is a licence number; what follows it. */
static ls_text without_licence(ls_text name) {
    uint32_t at = 0, start;
    while (at < name.length && name.bytes[at] >= '0' && name.bytes[at] <= '9') at++;
    if (at == 0 || at + 3 > name.length || memcmp(name.bytes + at, " - ", 3) != 0) return name;
    start = at += 3;
    while (at < name.length && name.bytes[at] >= '0' && name.bytes[at] <= '9') at++;
    if (at == start || (at < name.length && name.bytes[at] != ' ')) return name;
    at += at < name.length;
    return (ls_text){name.bytes + at, name.length - at};
}

static bool is_legal_form(ls_text word) {
    return ls_same(word, "inc") || ls_same(word, "corp") || ls_same(word, "co");
}

/* The words of a text in lower case, without punctuation, with one space between them. The result is not longer. */
static ls_text words(ls_text text) {
    char *clean = ls_alloc(text.length + 1);
    uint32_t length = 0;
    bool in_word = false;
    for (uint32_t at = 0; at < text.length;) {
        uint32_t start = at, letter = letter_at(text, &at);
        if (is_whitespace(letter)) {
            in_word = false;
        } else if (is_alphanumeric(letter)) {
            if (!in_word && length) clean[length++] = ' ';
            memcpy(clean + length, text.bytes + start, at - start);
            length += at - start;
            in_word = true;
        }
    }
    return (ls_text){clean, length};
}

/* "2733 - 74600 Benny Jona, Inc." becomes "benny jona". */
static ls_text clean(ls_text name) {
    ls_text left = words(without_licence(trimmed(lower_case(name))));
    for (;;) {
        uint32_t start = left.length;
        while (start && left.bytes[start - 1] != ' ') start--;
        if (!is_legal_form((ls_text){left.bytes + start, left.length - start})) return left;
        left.length = start ? start - 1 : 0;
    }
}

static uint64_t fnv_1a(ls_text text) {
    uint64_t hash = 0xcbf29ce484222325;
    for (uint32_t at = 0; at < text.length; at++) hash = (hash ^ (uint8_t)text.bytes[at]) * 0x100000001b3;
    return hash;
}

static void apply(ls_call *call) {
    ls_input names = ls_in(call, "company_name", LS_STRING);
    ls_output *cleaned = ls_out(call, "company_clean", LS_STRING), *bucket = ls_out(call, "company_bucket", LS_INT32);
    for (uint32_t row = 0; row < call->rows; row++) {
        if (ls_is_null(names, row)) continue;
        ls_text name = clean(ls_string(names, row));
        ls_set_text(cleaned, row, name);
        ls_set_int32(bucket, row, (int32_t)(fnv_1a(name) % buckets));
    }
}

LOCKSTEP_TRANSFORM(signature, bind, apply)
