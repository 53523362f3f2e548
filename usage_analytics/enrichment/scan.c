/* Reads what a mapping asks for out of JSON messages, in one strict pass.
 *
 * Takes only what it is sure of: a message with anything unusual (broken JSON, escapes in a value that is asked for,
 * a repeated key, a number that another writer would write otherwise, a value of the wrong type) is left to the SQL in
 * judgement_query.py, which is the contract. So this file may be incomplete, never different. Called by ctypes, without the
 * interpreter: see scanning.py, which knows the layout of the arguments.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef uint8_t byte;

enum kind { STRING, SCALAR, NUMBER, INSTANT, OBJECT_TEXT };
enum type { MISSING, NOTHING, TEXT, ESCAPED, INTEGER, REAL, TRUTH, OBJECT, ARRAY };
enum time_format { ISO8601, EPOCH_S, EPOCH_MS, EPOCH_US, OTHER_TIME };

enum { DEEPEST = 64, MOST_DIGITS = 15, MOST_WHOLE_DIGITS = 18 };

/* An object that is looked into: its keys follow one another in `edges`. */
typedef struct {
    int32_t first_edge, edges;
} node;

typedef struct {
    const byte *key;
    int32_t length;
    int32_t node; /* looked into, or -1 */
    int32_t slot; /* where its value is kept */
} edge;

typedef struct {
    int32_t kind, required, first_pointer, pointers;
} field;

typedef struct {
    const node *nodes;
    const edge *edges;
    const field *fields;
    const int32_t *pointers; /* slots of each field, in the order in which they are tried */
    int32_t field_count, slot_count, time_format, utc;
} program;

typedef struct {
    const byte *start;
    int32_t length;
    byte type, canonical, spaced; /* as the SQL would write it; but for white space */
} value;

typedef struct {
    const program *asked;
    const byte *at, *end, *readable; /* bytes before `readable` may be read, though not used */
    value *slots;
    int32_t unusual, spaces; /* met so far: escapes and numbers that a writer of JSON might write otherwise; white space */
} scan;

static int scan_value(scan *s, int32_t looked_into, value *out, int depth);

static void skip_space(scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) {
        s->at++;
        s->spaces++;
    }
}

/* RFC 3629; no surrogates, nothing overlong. */
static int is_utf8(const byte *p, const byte *end) {
    while (p < end) {
        byte first = *p++;
        if (first < 0x80) continue;
        int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || end - p < more) return 0;
        byte low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        byte high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (*p < low || *p > high) return 0;
        for (p++; --more; p++)
            if ((*p & 0xC0) != 0x80) return 0;
    }
    return 1;
}

static int is_hex(byte c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f'); }

static int scan_escape(scan *s) {
    if (s->end - s->at < 2) return 0;
    byte c = s->at[1];
    if (c == 'u') {
        if (s->end - s->at < 6) return 0;
        for (int n = 2; n < 6; n++)
            if (!is_hex(s->at[n])) return 0;
        if ((s->at[2] | 32) == 'd' && s->at[3] >= '8') return 0; /* surrogates: pairs are for the SQL to judge */
        s->at += 6;
    } else {
        if (c == 0 || !strchr("\"\\/bfnrt", c)) return 0;
        s->at += 2;
    }
    s->unusual++;
    return 1;
}

/* From behind the opening quote to behind the closing one. */
static int scan_string(scan *s, value *out) {
    int escaped = 0, beyond_ascii = 0;
    out->start = s->at;
    for (;;) {
#if defined(__SSE2__)
        while (s->readable - s->at >= 16) {
            __m128i text = _mm_loadu_si128((const __m128i *)s->at);
            __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(text, _mm_set1_epi8('"')), _mm_cmpeq_epi8(text, _mm_set1_epi8('\\')));
            __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(0x1F)), text);
            int stop = _mm_movemask_epi8(_mm_or_si128(ends, control)), high = _mm_movemask_epi8(text);
            if (stop) {
                int ahead = __builtin_ctz(stop);
                beyond_ascii |= high & ((1 << ahead) - 1);
                s->at += ahead;
                break;
            }
            beyond_ascii |= high;
            s->at += 16;
        }
#endif
        if (s->at >= s->end) return 0;
        byte c = *s->at;
        if (c == '"') break;
        if (c < 0x20) return 0;
        if (c == '\\') {
            if (!scan_escape(s)) return 0;
            escaped = 1;
        } else {
            beyond_ascii |= c & 0x80;
            s->at++;
        }
    }
    if (s->at >= s->end) return 0;
    out->length = (int32_t)(s->at - out->start);
    out->type = escaped ? ESCAPED : TEXT;
    out->canonical = 1;
    if (beyond_ascii && !is_utf8(out->start, s->at)) return 0;
    s->at++;
    return 1;
}

static int digits(scan *s) {
    const byte *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') s->at++;
    return (int)(s->at - start);
}

/* Canonical is what the SQL would give back as it stands: whole numbers, and short decimals without a zero at the end. */
static int scan_number(scan *s, value *out) {
    out->start = s->at;
    int negative = *s->at == '-';
    s->at += negative;
    const byte *whole = s->at;
    int before = digits(s), after = 0, exponent = 0;
    if (!before || (*whole == '0' && before > 1)) return 0;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        after = digits(s);
        if (!after) return 0;
    }
    if (s->at < s->end && (*s->at | 32) == 'e') {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) s->at++;
        if (!digits(s)) return 0;
        exponent = 1;
    }
    out->length = (int32_t)(s->at - out->start);
    out->type = after || exponent ? REAL : INTEGER;
    int tiny = after >= 3 && *whole == '0' && !memcmp(whole + 2, "000", 3);
    int short_enough = after ? before + after <= MOST_DIGITS : before <= MOST_WHOLE_DIGITS;
    int zero_at_end = after > 1 && s->at[-1] == '0';
    out->canonical = short_enough && !exponent && !tiny && !zero_at_end && !(negative && *whole == '0');
    s->unusual += !out->canonical;
    return 1;
}

static int scan_word(scan *s, const char *word, int length, int type, value *out) {
    if (s->end - s->at < length || memcmp(s->at, word, length)) return 0;
    *out = (value){s->at, length, (byte)type, 1, 0};
    s->at += length;
    return 1;
}

static const edge *edge_of(const scan *s, int32_t looked_into, const value *key) {
    if (looked_into < 0) return NULL;
    const node *n = &s->asked->nodes[looked_into];
    const edge *e = &s->asked->edges[n->first_edge];
    for (int32_t left = n->edges; left; left--, e++)
        if (e->length == key->length && !memcmp(e->key, key->start, key->length)) return e;
    return NULL;
}

static int scan_member(scan *s, int32_t looked_into, int depth) {
    value key, member;
    skip_space(s);
    if (s->at >= s->end || *s->at++ != '"' || !scan_string(s, &key)) return 0;
    if (key.type == ESCAPED && looked_into >= 0) return 0; /* it may be one that is asked for */
    const edge *found = edge_of(s, looked_into, &key);
    skip_space(s);
    if (s->at >= s->end || *s->at++ != ':') return 0;
    skip_space(s);
    int32_t unusual = s->unusual, spaces = s->spaces;
    if (!scan_value(s, found ? found->node : -1, &member, depth)) return 0;
    if (found) {
        if (s->slots[found->slot].type != MISSING) return 0; /* a repeated key: which one counts, the SQL knows */
        if (member.type == OBJECT) {
            member.canonical = s->unusual == unusual;
            member.spaced = s->spaces != spaces;
        }
        s->slots[found->slot] = member;
    }
    return 1;
}

/* From behind the opening bracket to behind the closing one. */
static int scan_members(scan *s, int32_t looked_into, byte closing, int depth) {
    skip_space(s);
    if (s->at < s->end && *s->at == closing) {
        s->at++;
        return 1;
    }
    for (;;) {
        value item;
        if (closing == '}') {
            if (!scan_member(s, looked_into, depth)) return 0;
        } else {
            skip_space(s);
            if (!scan_value(s, -1, &item, depth)) return 0;
        }
        skip_space(s);
        if (s->at >= s->end) return 0;
        byte c = *s->at++;
        if (c == closing) return 1;
        if (c != ',') return 0;
    }
}

static int scan_value(scan *s, int32_t looked_into, value *out, int depth) {
    if (s->at >= s->end || depth > DEEPEST) return 0;
    const byte *start = s->at;
    switch (*s->at) {
    case '"':
        s->at++;
        return scan_string(s, out);
    case '{':
    case '[': {
        byte opening = *s->at++;
        if (!scan_members(s, looked_into, opening == '{' ? '}' : ']', depth + 1)) return 0;
        *out = (value){start, (int32_t)(s->at - start), opening == '{' ? OBJECT : ARRAY, 0, 0};
        return 1;
    }
    case 't':
        return scan_word(s, "true", 4, TRUTH, out);
    case 'f':
        return scan_word(s, "false", 5, TRUTH, out);
    case 'n':
        return scan_word(s, "null", 4, NOTHING, out);
    default:
        return (*s->at == '-' || (*s->at >= '0' && *s->at <= '9')) && scan_number(s, out);
    }
}

/* Exact for up to 15 digits and 22 decimals (Clinger 1990): both parts are exact, and one division rounds once. */
static int to_double(const value *v, double *out) {
    static const double powers[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    int64_t all = 0;
    int count = 0, decimals = 0, point = 0;
    const byte *p = v->start, *end = p + v->length;
    int negative = *p == '-';
    for (p += negative; p < end; p++) {
        if (*p == '.') {
            point = 1;
            continue;
        }
        if (*p < '0' || *p > '9' || ++count > MOST_DIGITS) return 0;
        all = all * 10 + (*p - '0');
        decimals += point;
    }
    if (negative && !all) return 0;
    *out = (negative ? -(double)all : (double)all) / powers[decimals];
    return 1;
}

static int two(const byte *p, int *out) {
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9') return 0;
    *out = (p[0] - '0') * 10 + (p[1] - '0');
    return 1;
}

/* Days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_of(int year, int month, int day) {
    year -= month <= 2;
    int era = year / 400, of_era = year - era * 400;
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = month == 2 && year % 4 == 0 && (year % 100 || year % 400 == 0);
    return days[month - 1] + leap;
}

static int to_instant(const value *v, int utc, int64_t *out) {
    const byte *p = v->start, *end = p + v->length;
    int century, years, month, day, hour, minute, second, sign = 0, hours = 0, minutes = 0;
    if (v->length < 19 || !two(p, &century) || !two(p + 2, &years) || p[4] != '-' || !two(p + 5, &month) || p[7] != '-' ||
        !two(p + 8, &day) || (p[10] != 'T' && p[10] != ' ') || !two(p + 11, &hour) || p[13] != ':' ||
        !two(p + 14, &minute) || p[16] != ':' || !two(p + 17, &second))
        return 0;
    int year = century * 100 + years;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in(year, month)) return 0;
    if (hour > 23 || minute > 59 || second > 59) return 0;
    int64_t fraction = 0, unit = 1000000;
    p += 19;
    if (p < end && *p == '.') {
        const byte *first = ++p;
        for (; p < end && *p >= '0' && *p <= '9'; p++) {
            unit /= 10; /* what is finer than microseconds is cut off */
            fraction += (*p - '0') * unit;
        }
        if (p == first) return 0;
    }
    if (p == end) {
        if (!utc) return 0; /* in the mapping's time zone */
    } else if (*p == 'Z') {
        p++;
    } else if (*p == '+' || *p == '-') {
        sign = *p++ == '+' ? 1 : -1;
        if (end - p != 5 || !two(p, &hours) || p[2] != ':' || !two(p + 3, &minutes) || hours > 17 || minutes > 59) return 0;
        p += 5;
    }
    if (p != end) return 0;
    int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *out = (seconds - sign * (hours * 3600 + minutes * 60)) * 1000000 + fraction;
    return 1;
}

static int to_time(const program *asked, const value *v, int64_t *out) {
    if (asked->time_format == ISO8601) return v->type == TEXT && to_instant(v, asked->utc, out);
    if (v->type != INTEGER || v->length > MOST_DIGITS || *v->start == '-') return 0;
    static const int64_t units[] = {0, 1000000, 1000, 1};
    int64_t all = 0;
    for (int n = 0; n < v->length; n++) all = all * 10 + (v->start[n] - '0');
    /* Beyond 2**53 the SQL, which multiplies as double precision, would round. */
    if (asked->time_format == OTHER_TIME || all > (INT64_C(1) << 53) / units[asked->time_format]) return 0;
    *out = all * units[asked->time_format];
    return 1;
}

/* Where the columns of the messages that were taken go, field by field: `capacity` places each. */
typedef struct {
    int32_t *row;    /* of each message taken, its place among all */
    int32_t *starts; /* of text, in the data; */
    int32_t *lengths; /* -1 where there is none */
    double *numbers; /* not a number where there is none */
    int64_t *times;
    int64_t capacity;
    int64_t spaced; /* how many objects hold white space, which the SQL would not give back */
} columns;

static int take_field(const scan *s, const field *f, int32_t place, const byte *data, columns *out) {
    const value *v = NULL;
    for (int32_t n = 0; n < f->pointers; n++) {
        const value *candidate = &s->slots[s->asked->pointers[f->first_pointer + n]];
        if (candidate->type > NOTHING) {
            v = candidate;
            break;
        }
    }
    int64_t at = (f - s->asked->fields) * out->capacity + place;
    out->lengths[at] = -1;
    out->numbers[at] = __builtin_nan("");
    if (!v) return !f->required;
    switch (f->kind) {
    case NUMBER:
        return (v->type == INTEGER || v->type == REAL) && to_double(v, &out->numbers[at]);
    case INSTANT:
        return to_time(s->asked, v, &out->times[at]);
    case OBJECT_TEXT:
        if (v->type != OBJECT || !v->canonical) return 0;
        out->spaced += v->spaced;
        break;
    case SCALAR:
        if (v->type != TEXT && v->type != TRUTH && v->type != INTEGER && v->type != REAL) return 0;
        if (!v->canonical) return 0;
        break;
    default:
        if (v->type != TEXT) return 0;
    }
    if (f->required && !v->length) return 0;
    out->starts[at] = (int32_t)(v->start - data);
    out->lengths[at] = v->length;
    return 1;
}

/* Scan `count` messages; how many were taken. A message of length 0 is none. */
int64_t scan_messages(const program *asked, const byte *data, const int32_t *offsets, int64_t count, columns *out) {
    value *slots = malloc(sizeof(value) * (asked->slot_count + 1));
    if (!slots) return -1;
    int32_t taken = 0;
    const byte *readable = data + offsets[count];
    for (int64_t n = 0; n < count; n++) {
        scan s = {asked, data + offsets[n], data + offsets[n + 1], readable, slots, 0, 0};
        memset(slots, 0, sizeof(value) * (asked->slot_count + 1));
        value whole;
        skip_space(&s);
        if (s.at >= s.end || *s.at != '{' || !scan_value(&s, 0, &whole, 0)) continue;
        skip_space(&s);
        if (s.at != s.end) continue;
        int fits = 1;
        for (int32_t f = 0; f < asked->field_count && fits; f++) fits = take_field(&s, &asked->fields[f], taken, data, out);
        if (fits) out->row[taken++] = (int32_t)n;
    }
    free(slots);
    return taken;
}

/* Put texts one behind the other: `ends` has one place more than there are texts. */
void gather(const byte *data, const int32_t *starts, const int32_t *lengths, int64_t count, int32_t *ends, byte *out) {
    int32_t at = 0;
    ends[0] = 0;
    for (int64_t n = 0; n < count; n++) {
        if (lengths[n] > 0) {
            memcpy(out + at, data + starts[n], lengths[n]);
            at += lengths[n];
        }
        ends[n + 1] = at;
    }
}

/* The same for JSON texts, without the white space between their parts. */
void gather_compact(const byte *data, const int32_t *starts, const int32_t *lengths, int64_t count, int32_t *ends, byte *out) {
    byte *to = out;
    ends[0] = 0;
    for (int64_t n = 0; n < count; n++) {
        int within = 0;
        const byte *p = data + starts[n], *end = p + (lengths[n] > 0 ? lengths[n] : 0);
        for (; p < end; p++) {
            if (*p == '"') within = !within; /* texts with escapes are not taken */
            if (within || (*p != ' ' && *p != '\n' && *p != '\r' && *p != '\t')) *to++ = *p;
        }
        ends[n + 1] = (int32_t)(to - out);
    }
}
