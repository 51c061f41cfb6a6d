// What a careful C program does for twenty rows: libuv, libpq in pipeline mode, a prepared statement, binary
// both ways, one sync for each query (libpq 15 has no other without gathering), K connections.
//
// With IN_FLIGHT 1 a connection carries one query at a time, as an ordinary pool does.
#include <arpa/inet.h>
#include <endian.h>

#include "peer_sql.h"

enum { AUTHORS = 1000, QUEUE = 65536, ROWS = 20 };

static const char query[] =
    "SELECT id, caption, created_at FROM post WHERE bucket = $1 AND author_id = $2 "
    "ORDER BY id DESC LIMIT 20";

struct client {
    struct peer peer;
    int matched;
};

struct ring {
    struct client *slots[QUEUE];
    unsigned head, tail;
};

struct pipeline {
    struct link link;
    struct ring waiting;
};

static struct pipeline *pipelines;
static int pipeline_count, in_flight_limit;
static struct ring queue;
static unsigned counter;

static unsigned length_of(struct ring *ring) { return ring->tail - ring->head; }

static void push(struct ring *ring, struct client *client) {
    if (length_of(ring) == QUEUE) abort();
    ring->slots[ring->tail++ % QUEUE] = client;
}

static struct client *pop(struct ring *ring) { return ring->slots[ring->head++ % QUEUE]; }

static char *decimal(char *at, uint64_t value) {
    char digits[20];
    int count = 0;
    do digits[count++] = '0' + value % 10;
    while (value /= 10);
    while (count) *at++ = digits[--count];
    return at;
}

#define PUT(literal) (memcpy(at, literal, sizeof(literal) - 1), at += sizeof(literal) - 1)

static int64_t number(PGresult *result, int row, int column) {
    int64_t value;
    memcpy(&value, PQgetvalue(result, row, column), 8);
    return be64toh(value);
}

static void answer(struct client *client, PGresult *result) {
    static char body[65536], whole[70000];
    char *at = body;
    int rows = PQntuples(result);
    PUT("[");
    for (int row = 0; row < rows; row++) {
        if (row) PUT(",");
        PUT("{\"id\":\"");
        at = decimal(at, number(result, row, 0));
        PUT("\",\"caption\":\"");
        at = json_text(at, PQgetvalue(result, row, 1), PQgetlength(result, row, 1));
        PUT("\",\"created_at\":");
        at = decimal(at, (number(result, row, 2) + 946684800000000) / 1000);
        PUT("}");
    }
    PUT("]");
    int size = snprintf(whole, sizeof whole,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        "Content-Length: %d\r\n\r\n", (int)(at - body));
    memcpy(whole + size, body, at - body);
    peer_send(client, whole, size + (at - body));
}

static void send_query(struct pipeline *pipeline, struct client *client) {
    int16_t bucket = htons(7);
    int64_t author = htobe64(1 + counter++ % AUTHORS);
    const char *values[] = {(char *)&bucket, (char *)&author};
    const int lengths[] = {2, 8}, formats[] = {1, 1};
    PGconn *connection = pipeline->link.connection;
    push(&pipeline->waiting, client);
    if (!PQsendQueryPrepared(connection, "q", 2, values, lengths, formats, 1) ||
        !PQpipelineSync(connection))
        abort();
    link_flush(&pipeline->link);
}

static void ask(struct client *client) {
    struct pipeline *best = &pipelines[0];
    for (int i = 1; i < pipeline_count; i++)
        if (length_of(&pipelines[i].waiting) < length_of(&best->waiting)) best = &pipelines[i];
    if (length_of(&best->waiting) >= (unsigned)in_flight_limit)
        push(&queue, client);
    else
        send_query(best, client);
}

static void on_socket(uv_poll_t *poll, int status, int events) {
    struct pipeline *pipeline = poll->data;
    PGconn *connection = pipeline->link.connection;
    struct ring *waiting = &pipeline->waiting;
    if (status < 0) abort();
    if (events & UV_READABLE) {
        if (!PQconsumeInput(connection)) abort();
        while (length_of(waiting) && !PQisBusy(connection)) {
            PGresult *result = PQgetResult(connection);
            if (!result) continue;
            ExecStatusType kind = PQresultStatus(result);
            if (kind == PGRES_TUPLES_OK) {
                struct client *client = waiting->slots[waiting->head % QUEUE];
                if (peer_is_there(client)) answer(client, result);
            } else if (kind == PGRES_PIPELINE_SYNC) {
                pop(waiting);
            } else {
                fprintf(stderr, "%s\n", PQresultErrorMessage(result));
                abort();
            }
            PQclear(result);
        }
        while (length_of(&queue) && length_of(waiting) < (unsigned)in_flight_limit)
            send_query(pipeline, pop(&queue));
    }
    if (pipeline->link.wants_write) link_flush(&pipeline->link);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct client *client = stream->data;
    if (length < 0) {
        peer_close(client);
        return;
    }
    for (int heads = peer_heads(&client->matched, buffer->base, length); heads > 0; heads--) {
        client->peer.busy = 1;
        ask(client);
    }
}

int main(int count, char **arguments) {
    if (count != 5)
        return fprintf(stderr, "usage: select20 PORT CONNINFO CONNECTIONS IN_FLIGHT\n"), 64;
    pipeline_count = atoi(arguments[3]);
    in_flight_limit = atoi(arguments[4]);
    pipelines = calloc(pipeline_count, sizeof *pipelines);
    for (int i = 0; i < pipeline_count; i++) {
        struct link *link = &pipelines[i].link;
        const Oid types[] = {21, 20};
        if (!link_open(link, arguments[2], "q", query, 2, types, on_socket)) return 1;
        PQenterPipelineMode(link->connection);
    }
    return peer_serve(arguments[1], sizeof(struct client), on_read);
}
