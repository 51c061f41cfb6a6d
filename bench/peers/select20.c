// What a careful C program does for twenty rows: libuv, libpq in pipeline mode, a prepared statement, binary
// both ways, one sync for each query (libpq 15 has no other without gathering), K connections.
//
// With IN_FLIGHT 1 a connection carries one query at a time, as an ordinary pool does.
#include <arpa/inet.h>
#include <endian.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { AUTHORS = 1000, QUEUE = 65536, ROWS = 20 };

static const char query[] =
    "SELECT id, caption, created_at FROM post WHERE bucket = $1 AND author_id = $2 "
    "ORDER BY id DESC LIMIT 20";

struct client {
    uv_tcp_t tcp;
    int matched;  // How much of \r\n\r\n has been seen.
    int busy, closed;
};

struct ring {
    struct client *slots[QUEUE];
    unsigned head, tail;
};

struct link {
    PGconn *connection;
    uv_poll_t poll;
    struct ring waiting;
    int saw_result, wants_write;
};

static struct link *links;
static int link_count, in_flight_limit;
static struct ring queue;
static char shared[65536];
static unsigned counter;

static unsigned length_of(struct ring *ring) { return ring->tail - ring->head; }

static void push(struct ring *ring, struct client *client) {
    if (length_of(ring) == QUEUE) abort();
    ring->slots[ring->tail++ % QUEUE] = client;
}

static struct client *pop(struct ring *ring) { return ring->slots[ring->head++ % QUEUE]; }

static void on_close(uv_handle_t *handle) {
    struct client *client = handle->data;
    client->closed = 2;
    if (!client->busy) free(client);
}

static char *decimal(char *at, uint64_t value) {
    char digits[20];
    int count = 0;
    do digits[count++] = '0' + value % 10;
    while (value /= 10);
    while (count) *at++ = digits[--count];
    return at;
}

static char *text(char *at, const char *from, int length) {
    for (int i = 0; i < length; i++) {
        unsigned char c = from[i];
        if (c == '"' || c == '\\') *at++ = '\\';
        if (c < 0x20) {
            at += sprintf(at, "\\u%04x", c);
            continue;
        }
        *at++ = c;
    }
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
        at = text(at, PQgetvalue(result, row, 1), PQgetlength(result, row, 1));
        PUT("\",\"created_at\":");
        at = decimal(at, (number(result, row, 2) + 946684800000000) / 1000);
        PUT("}");
    }
    PUT("]");
    int size = snprintf(whole, sizeof whole,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        "Content-Length: %d\r\n\r\n", (int)(at - body));
    memcpy(whole + size, body, at - body);
    uv_buf_t buffer = uv_buf_init(whole, size + (at - body));
    // The answers are far smaller than a socket's buffer, so a short write means that the client is gone.
    if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)buffer.len && !client->closed) {
        client->closed = 1;
        uv_close((uv_handle_t *)&client->tcp, on_close);
    }
}

static void on_socket(uv_poll_t *poll, int status, int events);

static void flush(struct link *link) {
    int left = PQflush(link->connection);
    if (left < 0) abort();
    if (left == link->wants_write) return;
    link->wants_write = left;
    uv_poll_start(&link->poll, UV_READABLE | (left ? UV_WRITABLE : 0), on_socket);
}

static void send_query(struct link *link, struct client *client) {
    int16_t bucket = htons(7);
    int64_t author = htobe64(1 + counter++ % AUTHORS);
    const char *values[] = {(char *)&bucket, (char *)&author};
    const int lengths[] = {2, 8}, formats[] = {1, 1};
    push(&link->waiting, client);
    if (!PQsendQueryPrepared(link->connection, "q", 2, values, lengths, formats, 1) ||
        !PQpipelineSync(link->connection))
        abort();
    flush(link);
}

static void ask(struct client *client) {
    struct link *best = &links[0];
    for (int i = 1; i < link_count; i++)
        if (length_of(&links[i].waiting) < length_of(&best->waiting)) best = &links[i];
    if (length_of(&best->waiting) >= (unsigned)in_flight_limit)
        push(&queue, client);
    else
        send_query(best, client);
}

static void on_socket(uv_poll_t *poll, int status, int events) {
    struct link *link = poll->data;
    if (status < 0) abort();
    if (events & UV_READABLE) {
        if (!PQconsumeInput(link->connection)) abort();
        while (length_of(&link->waiting) && !PQisBusy(link->connection)) {
            PGresult *result = PQgetResult(link->connection);
            if (!result) continue;
            ExecStatusType kind = PQresultStatus(result);
            if (kind == PGRES_TUPLES_OK) {
                struct client *client = link->waiting.slots[link->waiting.head % QUEUE];
                client->busy = 0;
                if (client->closed == 2)
                    free(client);
                else if (!client->closed)
                    answer(client, result);
            } else if (kind == PGRES_PIPELINE_SYNC) {
                pop(&link->waiting);
            } else {
                fprintf(stderr, "%s\n", PQresultErrorMessage(result));
                abort();
            }
            PQclear(result);
        }
        while (length_of(&queue) && length_of(&link->waiting) < (unsigned)in_flight_limit)
            send_query(link, pop(&queue));
    }
    if (link->wants_write) flush(link);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(shared, sizeof shared);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct client *client = stream->data;
    if (length < 0) {
        if (client->closed) return;
        client->closed = 1;
        uv_close((uv_handle_t *)stream, on_close);
        return;
    }
    for (ssize_t i = 0; i < length; i++) {
        char expected = client->matched % 2 ? '\n' : '\r';
        client->matched = buffer->base[i] == expected ? client->matched + 1
                          : buffer->base[i] == '\r'   ? 1
                                                      : 0;
        if (client->matched == 4) {
            client->matched = 0;
            client->busy = 1;
            ask(client);
        }
    }
}

static void on_connection(uv_stream_t *server, int status) {
    if (status < 0) return;
    struct client *client = calloc(1, sizeof *client);
    uv_tcp_init(server->loop, &client->tcp);
    client->tcp.data = client;
    if (uv_accept(server, (uv_stream_t *)&client->tcp) < 0) {
        uv_close((uv_handle_t *)&client->tcp, on_close);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

int main(int count, char **arguments) {
    if (count != 5)
        return fprintf(stderr, "usage: select20 PORT CONNINFO CONNECTIONS IN_FLIGHT\n"), 64;
    uv_loop_t *loop = uv_default_loop();
    link_count = atoi(arguments[3]);
    in_flight_limit = atoi(arguments[4]);
    links = calloc(link_count, sizeof *links);
    for (int i = 0; i < link_count; i++) {
        struct link *link = &links[i];
        link->connection = PQconnectdb(arguments[2]);
        if (PQstatus(link->connection) != CONNECTION_OK)
            return fprintf(stderr, "%s", PQerrorMessage(link->connection)), 1;
        Oid types[] = {21, 20};
        PQclear(PQprepare(link->connection, "q", query, 2, types));
        PQsetnonblocking(link->connection, 1);
        PQenterPipelineMode(link->connection);
        uv_poll_init(loop, &link->poll, PQsocket(link->connection));
        link->poll.data = link;
        uv_poll_start(&link->poll, UV_READABLE, on_socket);
    }
    uv_tcp_t server;
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", atoi(arguments[1]), &address);
    uv_tcp_init(loop, &server);
    if (uv_tcp_bind(&server, (struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&server, 1024, on_connection) < 0)
        return fprintf(stderr, "cannot listen on %s\n", arguments[1]), 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}
