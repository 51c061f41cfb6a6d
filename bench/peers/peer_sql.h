// PostgreSQL as the peers in C use it: a connection on the loop with one prepared statement.
#ifndef PEER_SQL_H
#define PEER_SQL_H

#include <libpq-fe.h>

#include "peer.h"

// A connection; the peer's own struct begins with it.
struct link {
    PGconn *connection;
    uv_poll_t poll;
    uv_poll_cb on_socket;
    int wants_write;
};

// Connects and prepares; 0 with a line on standard error if that fails.
static int link_open(struct link *link, const char *address, const char *name, const char *statement,
                     int count, const Oid *types, uv_poll_cb on_socket) {
    link->connection = PQconnectdb(address);
    if (PQstatus(link->connection) != CONNECTION_OK)
        return fprintf(stderr, "%s", PQerrorMessage(link->connection)), 0;
    PGresult *prepared = PQprepare(link->connection, name, statement, count, types);
    if (PQresultStatus(prepared) != PGRES_COMMAND_OK)
        return fprintf(stderr, "%s", PQresultErrorMessage(prepared)), 0;
    PQclear(prepared);
    PQsetnonblocking(link->connection, 1);
    link->on_socket = on_socket;
    uv_poll_init(uv_default_loop(), &link->poll, PQsocket(link->connection));
    link->poll.data = link;
    uv_poll_start(&link->poll, UV_READABLE, on_socket);
    return 1;
}

static inline void link_flush(struct link *link) {
    int left = PQflush(link->connection);
    if (left < 0) abort();
    if (left == link->wants_write) return;
    link->wants_write = left;
    uv_poll_start(&link->poll, UV_READABLE | (left ? UV_WRITABLE : 0), link->on_socket);
}

// The inside of a JSON string.
static inline char *json_text(char *at, const char *from, int length) {
    for (int i = 0; i < length; i++) {
        unsigned char c = from[i];
        if (c == '"' || c == '\\') *at++ = '\\';
        if (c < 0x20) at += sprintf(at, "\\u%04x", c);
        else *at++ = c;
    }
    return at;
}

#endif
