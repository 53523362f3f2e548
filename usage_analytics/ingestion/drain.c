/* Takes messages out of a queue of librdkafka into columns, without a Python object for each.
 *
 * Called by ctypes, which lets go of the interpreter meanwhile; see draining.py. Linked with nothing: the functions of
 * librdkafka come as addresses, and of its types only the public message is known (rdkafka.h, rd_kafka_message_t).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { PARTITION_EOF = -191, NO_TIMESTAMP = 0, POLLED = 1000, FIRST_POLLED = 8 };

typedef struct {
    int err;
    void *topic;
    int32_t partition;
    void *payload;
    size_t length;
    void *key;
    size_t key_length;
    int64_t offset;
    void *internal;
} message;

typedef struct {
    ssize_t (*consume_batch_queue)(void *queue, int timeout_ms, message **into, size_t most);
    void (*destroy)(message *);
    int64_t (*timestamp)(const message *, int *type);
    int (*headers)(const message *, void **headers);
    int (*header)(const void *headers, size_t index, const char **name, const void **value, size_t *length);
} kafka;

/* Bytes of a column, one text behind the other; a place more of `ends` than there are rows. */
typedef struct {
    char *bytes;
    int64_t used, room;
    int32_t *ends;
    uint8_t *there;
} texts;

typedef struct {
    int64_t *offsets, *timestamps_ms; /* -1 where there is none */
    texts keys, values;
    texts headers;  /* a row for each header: name and value; */
    int32_t *owner; /* and the message it belongs to */
    int64_t rows, header_rows, room, header_room;
    int64_t position;    /* everything before it has been seen */
    int64_t error_offset;
    int32_t error, heard; /* of librdkafka; whether anything came at all */
} columns;

static int grow(void **array, int64_t size) {
    void *larger = realloc(*array, size);
    if (larger) *array = larger;
    return larger != NULL;
}

static int append(texts *column, int64_t row, const void *bytes, size_t length) {
    if (column->used + (int64_t)length > INT32_MAX) return 0;
    if (column->used + (int64_t)length > column->room) {
        int64_t room = 2 * (column->room + (int64_t)length);
        if (!grow((void **)&column->bytes, room)) return 0;
        column->room = room;
    }
    if (length) memcpy(column->bytes + column->used, bytes, length);
    column->used += length;
    column->ends[row + 1] = (int32_t)column->used;
    column->there[row] = bytes != NULL;
    return 1;
}

static int make_room_for_headers(columns *out) {
    if (out->header_rows + 2 <= out->header_room) return 1;
    int64_t room = 2 * out->header_room + 64;
    if (!grow((void **)&out->headers.ends, (room + 1) * sizeof(int32_t)) || !grow((void **)&out->headers.there, room) ||
        !grow((void **)&out->owner, room * sizeof(int32_t)))
        return 0;
    out->headers.ends[0] = 0;
    out->header_room = room;
    return 1;
}

/* Each header is two rows: its name, and its value. */
static int append_headers(const kafka *k, const message *m, columns *out) {
    void *headers;
    if (k->headers(m, &headers)) return 1;
    const char *name;
    const void *value;
    size_t length;
    for (size_t n = 0; !k->header(headers, n, &name, &value, &length); n++) {
        if (!make_room_for_headers(out)) return 0;
        out->owner[out->header_rows] = out->owner[out->header_rows + 1] = (int32_t)out->rows;
        if (!append(&out->headers, out->header_rows++, name, strlen(name))) return 0;
        if (!append(&out->headers, out->header_rows++, value, value ? length : 0)) return 0;
    }
    return 1;
}

static int take(const kafka *k, const message *m, columns *out) {
    int type = NO_TIMESTAMP;
    int64_t at = k->timestamp(m, &type);
    out->offsets[out->rows] = m->offset;
    out->timestamps_ms[out->rows] = type == NO_TIMESTAMP ? -1 : at;
    if (!append(&out->keys, out->rows, m->key, m->key ? m->key_length : 0)) return 0;
    if (!append(&out->values, out->rows, m->payload, m->payload ? m->length : 0)) return 0;
    if (!append_headers(k, m, out)) return 0;
    out->rows++;
    return 1;
}

void drain_free(columns *out) {
    texts *all[] = {&out->keys, &out->values, &out->headers};
    for (int n = 0; n < 3; n++) {
        free(all[n]->bytes);
        free(all[n]->ends);
        free(all[n]->there);
    }
    free(out->offsets);
    free(out->timestamps_ms);
    free(out->owner);
    free(out);
}

/* Room for so many messages; NULL if there is no memory. */
columns *drain_new(int64_t rows) {
    columns *out = calloc(1, sizeof(columns));
    int enough = out && grow((void **)&out->offsets, rows * sizeof(int64_t)) &&
                 grow((void **)&out->timestamps_ms, rows * sizeof(int64_t)) &&
                 grow((void **)&out->keys.ends, (rows + 1) * sizeof(int32_t)) && grow((void **)&out->keys.there, rows) &&
                 grow((void **)&out->values.ends, (rows + 1) * sizeof(int32_t)) && grow((void **)&out->values.there, rows) &&
                 make_room_for_headers(out);
    if (!enough) {
        if (out) drain_free(out);
        return NULL;
    }
    out->keys.ends[0] = out->values.ends[0] = 0;
    out->room = rows;
    return out;
}

static int64_t used(const columns *out) { return out->keys.used + out->values.used + out->headers.used; }

/* How many messages to ask for: about as many as there is room for, by the size of those that came. A poll goes on while
 * messages come, so that asking for a thousand large ones would take all memory. */
static size_t wanted(const columns *out, int64_t bytes) {
    int64_t most = out->room - out->rows;
    int64_t fit = out->rows ? (bytes - used(out)) / (used(out) / out->rows + 1) + 1 : FIRST_POLLED;
    if (fit < most) most = fit;
    return most < POLLED ? most : POLLED;
}

/* Fill the columns with messages before offset `end`, until they are full, hold `bytes`, the end is reached, something
 * went wrong, or nothing came for `timeout_ms`. 0, or -1 if there is no memory. */
int drain(const kafka *k, void *queue, int64_t end, int64_t bytes, int timeout_ms, columns *out) {
    message *polled[POLLED];
    out->heard = 0;
    while (out->rows < out->room && used(out) < bytes && out->position < end && !out->error) {
        ssize_t count = k->consume_batch_queue(queue, timeout_ms, polled, wanted(out, bytes));
        int enough = 1;
        for (ssize_t n = 0; n < count; n++) {
            message *m = polled[n];
            if (out->error || (m->err && out->position >= end)) {
                /* what follows the end, or a place that cannot be read, is not wanted */
            } else if (!m->err) {
                if (m->offset < end) enough = enough && take(k, m, out);
                if (m->offset + 1 > out->position) out->position = m->offset + 1;
            } else if (m->err == PARTITION_EOF) {
                if (m->offset > out->position) out->position = m->offset; /* past markers that no message announces */
            } else {
                out->error = m->err;
                out->error_offset = m->offset;
            }
            k->destroy(m);
        }
        if (!enough) return -1;
        if (count <= 0) break;
        out->heard = 1;
    }
    return 0;
}
