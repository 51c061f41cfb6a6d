// What Swift cannot say itself: a thread-local pointer, casts of socket addresses, variadic calls.
#pragma once
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

/// The event loop that owns the calling thread, or NULL.
void *tessera_current_loop(void);
void tessera_set_current_loop(void *loop);

/// Opens, binds and sets up a listening TCP socket with SO_REUSEADDR, and SO_REUSEPORT if asked for.
/// Returns the descriptor, or a negative errno.
int tessera_listen_tcp(const char *address, uint16_t port, int reuse_port, int backlog);

/// Starts a TCP connection to a numeric IPv4 or IPv6 address. Returns 0 or a negative uv error.
int tessera_tcp_connect(uv_connect_t *request, uv_tcp_t *handle, const char *address, uint16_t port,
                        uv_connect_cb callback);

/// Writes the numeric address of the peer into `buffer`. Returns the port, or a negative uv error.
int tessera_tcp_peer(const uv_tcp_t *handle, char *buffer, size_t size);

/// Makes libuv measure how long a loop waits for events. Returns 0 or a negative uv error.
int tessera_measure_idle_time(uv_loop_t *loop);

/// Where `needle` first stands in `bytes`, or -1.
long tessera_find(const void *bytes, size_t count, const void *needle, size_t needle_count);

/// Accepts a waiting connection without blocking. Returns the descriptor, or a negative errno.
int tessera_accept(int fd);

/// The port that a bound socket has, or a negative errno.
int tessera_local_port(int fd);

/// Names the calling thread; Linux cuts names at 15 bytes.
void tessera_name_thread(const char *name);

/// A non-blocking eventfd, closed on exec. Returns the descriptor, or a negative errno.
int tessera_eventfd(void);

/// Memory of at least `least` bytes, whose size it stores: what this thread has spare, or new; aborts without
/// memory. `tessera_give_spare` takes it back and keeps one block a thread, unless it is very large.
void *tessera_take_spare(size_t least, size_t *size);
void tessera_give_spare(void *memory, size_t size);
