// What every peer in C does the same way: one loop, keep-alive connections, a port on loopback.
#ifndef PEER_H
#define PEER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

// A client's connection; the peer's own struct begins with it.
struct peer {
    uv_tcp_t tcp;
    int busy, closed;  // Whether an answer is due; 1 while closing, 2 when closed.
};

static size_t peer_size;
static uv_read_cb peer_read;

static void peer_on_close(uv_handle_t *handle) {
    struct peer *peer = handle->data;
    peer->closed = 2;
    if (!peer->busy) free(peer);
}

static inline void peer_close(void *client) {
    struct peer *peer = client;
    if (peer->closed) return;
    peer->closed = 1;
    uv_close((uv_handle_t *)&peer->tcp, peer_on_close);
}

// Ends what a connection waited for; whether there is still somebody to answer.
static inline int peer_is_there(void *client) {
    struct peer *peer = client;
    peer->busy = 0;
    if (peer->closed == 2) free(peer);
    else if (!peer->closed) return 1;
    return 0;
}

// Sends an answer that is far smaller than a socket's buffer: a short write means that the client is gone.
static inline void peer_send(void *client, char *bytes, size_t length) {
    uv_buf_t buffer = uv_buf_init(bytes, length);
    if (uv_try_write(client, &buffer, 1) != (int)length) peer_close(client);
}

// How many request heads end within these bytes; `matched` is how much of \r\n\r\n has been seen.
static inline int peer_heads(int *matched, const char *bytes, ssize_t length) {
    int complete = 0;
    for (ssize_t i = 0; i < length; i++) {
        char expected = *matched % 2 ? '\n' : '\r';
        *matched = bytes[i] == expected ? *matched + 1 : bytes[i] == '\r' ? 1 : 0;
        if (*matched == 4) {
            *matched = 0;
            complete++;
        }
    }
    return complete;
}

static void peer_on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
    static char shared[65536];
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(shared, sizeof shared);
}

static void peer_on_connection(uv_stream_t *server, int status) {
    if (status < 0) return;
    struct peer *peer = calloc(1, peer_size);
    uv_tcp_init(server->loop, &peer->tcp);
    peer->tcp.data = peer;
    if (uv_accept(server, (uv_stream_t *)&peer->tcp) < 0) {
        peer_close(peer);
        return;
    }
    uv_tcp_nodelay(&peer->tcp, 1);
    uv_read_start((uv_stream_t *)&peer->tcp, peer_on_alloc, peer_read);
}

// Listens and runs the default loop; `size` is that of the peer's struct for a connection.
static int peer_serve(const char *port, size_t size, uv_read_cb read) {
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    struct sockaddr_in address;
    peer_size = size;
    peer_read = read;
    uv_ip4_addr("127.0.0.1", atoi(port), &address);
    uv_tcp_init(loop, &server);
    if (uv_tcp_bind(&server, (struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&server, 1024, peer_on_connection) < 0)
        return fprintf(stderr, "cannot listen on %s\n", port), 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}

#endif
