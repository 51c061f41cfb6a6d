// The floor for a small answer: bare C on libuv, one loop, no router, no limits, no timeouts.
//
// Reads until the blank line of each request head and answers each with the same JSON of 100 bytes;
// answers of one read are sent in one write.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static const char body[] =
    "{\"id\":\"1234567890\",\"name\":\"hello\",\"text\":\"a small answer of one hundred bytes, "
    "no more no less\"}    ";
static char answer[512];
static size_t answer_length;
static char shared[65536];

struct connection {
    uv_tcp_t tcp;
    int matched;  // How much of \r\n\r\n has been seen.
};

static void on_close(uv_handle_t *handle) { free(handle->data); }

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(shared, sizeof shared);
}

static void on_written(uv_write_t *request, int status) {
    (void)status;
    free(request);
}

static void send_answers(struct connection *connection, int count) {
    char block[64 * 512];
    while (count > 0) {
        int now = count > 64 ? 64 : count;
        for (int i = 0; i < now; i++) memcpy(block + i * answer_length, answer, answer_length);
        uv_buf_t buffer = uv_buf_init(block, now * answer_length);
        int sent = uv_try_write((uv_stream_t *)&connection->tcp, &buffer, 1);
        if (sent < 0) sent = 0;
        if ((size_t)sent < now * answer_length) {
            size_t left = now * answer_length - sent;
            uv_write_t *request = malloc(sizeof *request + left);
            char *rest = (char *)(request + 1);
            memcpy(rest, block + sent, left);
            buffer = uv_buf_init(rest, left);
            uv_write(request, (uv_stream_t *)&connection->tcp, &buffer, 1, on_written);
        }
        count -= now;
    }
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct connection *connection = stream->data;
    if (length < 0) {
        uv_close((uv_handle_t *)stream, on_close);
        return;
    }
    int complete = 0;
    for (ssize_t i = 0; i < length; i++) {
        char expected = connection->matched % 2 ? '\n' : '\r';
        connection->matched = buffer->base[i] == expected ? connection->matched + 1
                              : buffer->base[i] == '\r'   ? 1
                                                          : 0;
        if (connection->matched == 4) {
            connection->matched = 0;
            complete++;
        }
    }
    send_answers(connection, complete);
}

static void on_connection(uv_stream_t *server, int status) {
    if (status < 0) return;
    struct connection *connection = calloc(1, sizeof *connection);
    uv_tcp_init(server->loop, &connection->tcp);
    connection->tcp.data = connection;
    if (uv_accept(server, (uv_stream_t *)&connection->tcp) < 0) {
        uv_close((uv_handle_t *)&connection->tcp, on_close);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "usage: hello PORT\n"), 64;
    answer_length = snprintf(answer, sizeof answer,
                             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", atoi(arguments[1]), &address);
    uv_tcp_init(loop, &server);
    if (uv_tcp_bind(&server, (struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&server, 1024, on_connection) < 0)
        return fprintf(stderr, "cannot listen on %s\n", arguments[1]), 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}
