/* Letters of every script: UTF-8, lower case, white space. As Rust has them, so that two languages clean one name alike. */
#ifndef LETTERS_H
#define LETTERS_H

#include "lockstep.h"
#include "unicode.h"

enum { CAPITAL_SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2, CAPITAL_I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 };

/* The letter that begins at `*at`, which is moved behind it. The gateway sends UTF-8 only. */
static inline uint32_t letter_at(ls_text text, uint32_t *at) {
    uint8_t first = (uint8_t)text.bytes[(*at)++];
    if (first < 0x80) return first;
    int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    uint32_t letter = first & (0x3fu >> more);
    while (more-- && *at < text.length) letter = letter << 6 | ((uint8_t)text.bytes[(*at)++] & 0x3f);
    return letter;
}

/* The letter that ends before `*at`, which is moved to its start. */
static inline uint32_t letter_before(ls_text text, uint32_t *at) {
    do --*at;
    while (*at && ((uint8_t)text.bytes[*at] & 0xc0) == 0x80);
    uint32_t start = *at;
    return letter_at(text, &start);
}

static inline uint32_t put_letter(char *place, uint32_t letter) {
    if (letter < 0x80) return place[0] = (char)letter, 1;
    uint32_t bytes = letter < 0x800 ? 2 : letter < 0x10000 ? 3 : 4;
    for (uint32_t at = bytes - 1; at; at--, letter >>= 6) place[at] = (char)(0x80 | (letter & 0x3f));
    place[0] = (char)(0xf00 >> bytes | letter);
    return bytes;
}

#define IS_IN(table, letter) is_in(table, sizeof(table) / sizeof *(table), letter)
static inline bool is_in(const range *ranges, size_t count, uint32_t letter) {
    size_t from = 0;
    while (from < count) {
        size_t middle = from + (count - from) / 2;
        if (letter > ranges[middle].last) from = middle + 1;
        else if (letter < ranges[middle].first) count = middle;
        else return true;
    }
    return false;
}

static inline bool is_alphanumeric(uint32_t letter) {
    if (letter < 0x80) return (letter | 0x20) - 'a' < 26 || letter - '0' < 10;
    return IS_IN(ALPHANUMERIC, letter);
}

static inline bool is_whitespace(uint32_t letter) {
    return letter == ' ' || letter - 0x9 < 5 || letter == 0x85 || letter == 0xa0 || letter == 0x1680
        || letter - 0x2000 < 11 || letter == 0x2028 || letter == 0x2029 || letter == 0x202f || letter == 0x205f
        || letter == 0x3000;
}

static inline uint32_t lower_letter(uint32_t letter) {
    if (letter < 0x80) return letter - 'A' < 26 ? letter | 0x20 : letter;
    size_t from = 0, count = sizeof LOWER / sizeof *LOWER;
    while (from < count) {
        size_t middle = from + (count - from) / 2;
        const shift *found = &LOWER[middle];
        if (letter > found->last) from = middle + 1;
        else if (letter < found->first) count = middle;
        else return (letter - found->first) % found->step ? letter : (uint32_t)((int32_t)letter + found->difference);
    }
    return letter;
}

/* Whether a sigma stands at the end of a word: after a letter, and before none. */
static inline bool is_final(ls_text text, uint32_t start, uint32_t end) {
    uint32_t letter = 0, at = start;
    bool found = false;
    while (at && !found) letter = letter_before(text, &at), found = !IS_IN(CASE_IGNORABLE, letter);
    if (!found || !IS_IN(CASED, letter)) return false;
    for (at = end; at < text.length;) {
        letter = letter_at(text, &at);
        if (!IS_IN(CASE_IGNORABLE, letter)) return !IS_IN(CASED, letter);
    }
    return true;
}

/* A text in lower case. No letter gets longer than one and a half times its bytes. */
static inline ls_text lower_case(ls_text text) {
    char *lower = ls_alloc(text.length + text.length / 2 + 4);
    uint32_t length = 0;
    for (uint32_t at = 0; at < text.length;) {
        uint32_t start = at, letter = letter_at(text, &at);
        if (letter == CAPITAL_SIGMA && is_final(text, start, at)) {
            length += put_letter(lower + length, FINAL_SIGMA);
        } else if (letter == CAPITAL_I_WITH_DOT) {
            length += put_letter(lower + length, 'i');
            length += put_letter(lower + length, DOT_ABOVE);
        } else {
            length += put_letter(lower + length, lower_letter(letter));
        }
    }
    return (ls_text){lower, length};
}

/* A text without white space at its ends. */
static inline ls_text trimmed(ls_text text) {
    uint32_t start = 0, end = text.length, next = 0;
    while (start < end && (next = start, is_whitespace(letter_at(text, &next)))) start = next;
    while (end > start && (next = end, is_whitespace(letter_before(text, &next)))) end = next;
    return (ls_text){text.bytes + start, end - start};
}

#endif
