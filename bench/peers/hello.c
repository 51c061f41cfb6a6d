// The floor for a small answer: bare C on libuv, one loop, no router, no limits, no timeouts.
//
// Reads until the blank line of each request head and answers each with the same JSON of 100 bytes;
// answers of one read are sent in one write.
#include "peer.h"

static const char body[] =
    "{\"id\":\"1234567890\",\"name\":\"hello\",\"text\":\"a small answer of one hundred bytes, "
    "no more no less\"}    ";
static char answer[512];
static size_t answer_length;

struct connection {
    struct peer peer;
    int matched;
};

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
        int sent = uv_try_write((uv_stream_t *)&connection->peer.tcp, &buffer, 1);
        if (sent < 0) sent = 0;
        if ((size_t)sent < now * answer_length) {
            size_t left = now * answer_length - sent;
            uv_write_t *request = malloc(sizeof *request + left);
            char *rest = (char *)(request + 1);
            memcpy(rest, block + sent, left);
            buffer = uv_buf_init(rest, left);
            uv_write(request, (uv_stream_t *)&connection->peer.tcp, &buffer, 1, on_written);
        }
        count -= now;
    }
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct connection *connection = stream->data;
    if (length < 0) peer_close(connection);
    else send_answers(connection, peer_heads(&connection->matched, buffer->base, length));
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "usage: hello PORT\n"), 64;
    answer_length = snprintf(answer, sizeof answer,
                             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    return peer_serve(arguments[1], sizeof(struct connection), on_read);
}
