// A feed on one PostgreSQL, served as a careful C program would: libuv, libpq, one prepared statement, a pool of K
// connections with one query each.
//
// GET /home/N runs the statement of FILE with N as its parameter and answers the rows as JSON, each column under its
// name; 8-byte integers are strings, as ids are in the product.
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { QUEUE = 65536, INT8 = 20, INT4 = 23, ANSWER_BYTES = 1 << 20 };

struct client {
    uv_tcp_t tcp;
    char head[4096];
    int length, busy, closed;
    char reader[24];
};

struct link {
    PGconn *connection;
    uv_poll_t poll;
    struct client *client;
    int wants_write;
};

static struct link *links;
static int link_count;
static struct client *queue[QUEUE];
static unsigned queue_head, queue_tail;
static char shared[65536];

static void on_close(uv_handle_t *handle) {
    struct client *client = handle->data;
    client->closed = 2;
    if (!client->busy) free(client);
}

static void hang_up(struct client *client) {
    if (client->closed) return;
    client->closed = 1;
    uv_close((uv_handle_t *)&client->tcp, on_close);
}

// MARK: Answers

static char *quoted(char *at, const char *from, int length) {
    *at++ = '"';
    for (int i = 0; i < length; i++) {
        unsigned char c = from[i];
        if (c == '"' || c == '\\') *at++ = '\\';
        if (c < 0x20) at += sprintf(at, "\\u%04x", c);
        else *at++ = c;
    }
    *at++ = '"';
    return at;
}

static void send_text(struct client *client, const char *status, const char *body, int length) {
    static char whole[ANSWER_BYTES + 256];
    int size = sprintf(whole, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
                       status, length);
    memcpy(whole + size, body, length);
    uv_buf_t buffer = uv_buf_init(whole, size + length);
    // Half a megabyte fits into a socket's buffer; a short write means that the client is gone.
    if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)buffer.len) hang_up(client);
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

static void on_socket(uv_poll_t *poll, int status, int events);

static void flush(struct link *link) {
    int left = PQflush(link->connection);
    if (left < 0) abort();
    if (left == link->wants_write) return;
    link->wants_write = left;
    uv_poll_start(&link->poll, UV_READABLE | (left ? UV_WRITABLE : 0), on_socket);
}

static void send_query(struct link *link, struct client *client) {
    const char *values[] = {client->reader};
    link->client = client;
    if (!PQsendQueryPrepared(link->connection, "feed", 1, values, NULL, NULL, 0)) abort();
    flush(link);
}

static void ask(struct client *client) {
    client->busy = 1;
    for (int i = 0; i < link_count; i++) {
        if (!links[i].client) {
            send_query(&links[i], client);
            return;
        }
    }
    if (queue_tail - queue_head == QUEUE) abort();
    queue[queue_tail++ % QUEUE] = client;
}

static void finish(struct link *link, PGresult *result) {
    struct client *client = link->client;
    client->busy = 0;
    if (client->closed == 2) free(client);
    else if (!client->closed) answer(client, result);
}

static void on_socket(uv_poll_t *poll, int status, int events) {
    struct link *link = poll->data;
    if (status < 0) abort();
    if (events & UV_READABLE) {
        if (!PQconsumeInput(link->connection)) abort();
        while (link->client && !PQisBusy(link->connection)) {
            PGresult *result = PQgetResult(link->connection);
            if (!result) {
                link->client = NULL;
                break;
            }
            if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                fprintf(stderr, "%s\n", PQresultErrorMessage(result));
                abort();
            }
            finish(link, result);
            PQclear(result);
        }
        if (!link->client && queue_head != queue_tail) send_query(link, queue[queue_head++ % QUEUE]);
    }
    if (link->wants_write) flush(link);
}

// MARK: Requests

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(shared, sizeof shared);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct client *client = stream->data;
    if (length < 0 || client->length + length >= (ssize_t)sizeof client->head) {
        hang_up(client);
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

static void on_connection(uv_stream_t *server, int status) {
    if (status < 0) return;
    struct client *client = calloc(1, sizeof *client);
    uv_tcp_init(server->loop, &client->tcp);
    client->tcp.data = client;
    if (uv_accept(server, (uv_stream_t *)&client->tcp) < 0) {
        hang_up(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
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
    uv_loop_t *loop = uv_default_loop();
    link_count = atoi(arguments[3]);
    links = calloc(link_count, sizeof *links);
    for (int i = 0; i < link_count; i++) {
        struct link *link = &links[i];
        link->connection = PQconnectdb(arguments[2]);
        if (PQstatus(link->connection) != CONNECTION_OK)
            return fprintf(stderr, "%s", PQerrorMessage(link->connection)), 1;
        Oid types[] = {INT8};
        PGresult *prepared = PQprepare(link->connection, "feed", statement, 1, types);
        if (PQresultStatus(prepared) != PGRES_COMMAND_OK)
            return fprintf(stderr, "%s", PQresultErrorMessage(prepared)), 1;
        PQclear(prepared);
        PQsetnonblocking(link->connection, 1);
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
