// A feed on one PostgreSQL, served as a careful C program would: libuv, libpq, one prepared statement, a pool of K
// connections with one query each.
//
// GET /home/N runs the statement of FILE with N as its parameter and answers the rows as JSON, each column under its
// name; 8-byte integers are strings, as ids are in the product.
#include "peer_sql.h"

enum { QUEUE = 65536, INT8 = 20, INT4 = 23, ANSWER_BYTES = 1 << 20 };

struct client {
    struct peer peer;
    char head[4096];
    int length;
    char reader[24];
};

struct slot {
    struct link link;
    struct client *client;
};

static struct slot *slots;
static int slot_count;
static struct client *queue[QUEUE];
static unsigned queue_head, queue_tail;

// MARK: Answers

static char *quoted(char *at, const char *from, int length) {
    *at++ = '"';
    at = json_text(at, from, length);
    *at++ = '"';
    return at;
}

static void send_text(struct client *client, const char *status, const char *body, int length) {
    static char whole[ANSWER_BYTES + 256];
    int size = sprintf(whole, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
                       status, length);
    memcpy(whole + size, body, length);
    peer_send(client, whole, size + length);
}

static void answer(struct client *client, PGresult *result) {
    static char body[ANSWER_BYTES];
    char *at = body;
    int rows = PQntuples(result), columns = PQnfields(result);
    *at++ = '[';
    for (int row = 0; row < rows; row++) {
        *at++ = row ? ',' : ' ';
        for (int column = 0; column < columns; column++) {
            const char *name = PQfname(result, column);
            int length = PQgetlength(result, row, column);
            if (at + 6 * length + strlen(name) + 16 > body + ANSWER_BYTES) abort();
            *at++ = column ? ',' : '{';
            at = quoted(at, name, strlen(name));
            *at++ = ':';
            if (PQgetisnull(result, row, column)) {
                memcpy(at, "null", 4), at += 4;
            } else if (PQftype(result, column) == INT4) {
                memcpy(at, PQgetvalue(result, row, column), length), at += length;
            } else {
                at = quoted(at, PQgetvalue(result, row, column), length);
            }
        }
        *at++ = '}';
    }
    *at++ = ']';
    send_text(client, "200 OK", body, at - body);
}

// MARK: Queries

static void send_query(struct slot *slot, struct client *client) {
    const char *values[] = {client->reader};
    slot->client = client;
    if (!PQsendQueryPrepared(slot->link.connection, "feed", 1, values, NULL, NULL, 0)) abort();
    link_flush(&slot->link);
}

static void ask(struct client *client) {
    client->peer.busy = 1;
    for (int i = 0; i < slot_count; i++) {
        if (!slots[i].client) {
            send_query(&slots[i], client);
            return;
        }
    }
    if (queue_tail - queue_head == QUEUE) abort();
    queue[queue_tail++ % QUEUE] = client;
}

static void on_socket(uv_poll_t *poll, int status, int events) {
    struct slot *slot = poll->data;
    PGconn *connection = slot->link.connection;
    if (status < 0) abort();
    if (events & UV_READABLE) {
        if (!PQconsumeInput(connection)) abort();
        while (slot->client && !PQisBusy(connection)) {
            PGresult *result = PQgetResult(connection);
            if (!result) {
                slot->client = NULL;
                break;
            }
            if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                fprintf(stderr, "%s\n", PQresultErrorMessage(result));
                abort();
            }
            if (peer_is_there(slot->client)) answer(slot->client, result);
            PQclear(result);
        }
        if (!slot->client && queue_head != queue_tail) send_query(slot, queue[queue_head++ % QUEUE]);
    }
    if (slot->link.wants_write) link_flush(&slot->link);
}

// MARK: Requests

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct client *client = stream->data;
    if (length < 0 || client->length + length >= (ssize_t)sizeof client->head) {
        peer_close(client);
        return;
    }
    memcpy(client->head + client->length, buffer->base, length);
    client->length += length;
    client->head[client->length] = 0;
    if (!strstr(client->head, "\r\n\r\n")) return;
    int found = sscanf(client->head, "GET /home/%23[0-9]", client->reader);
    client->length = 0;
    if (found == 1) ask(client);
    else send_text(client, "404 Not Found", "{}", 2);
}

static char *contents(const char *path) {
    static char text[65536];
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

int main(int count, char **arguments) {
    char *statement = count == 5 ? contents(arguments[4]) : NULL;
    if (!statement) return fprintf(stderr, "usage: sqlfeed PORT CONNINFO CONNECTIONS FILE\n"), 64;
    slot_count = atoi(arguments[3]);
    slots = calloc(slot_count, sizeof *slots);
    for (int i = 0; i < slot_count; i++) {
        const Oid types[] = {INT8};
        if (!link_open(&slots[i].link, arguments[2], "feed", statement, 1, types, on_socket)) return 1;
    }
    return peer_serve(arguments[1], sizeof(struct client), on_read);
}
