#define _GNU_SOURCE
#include "CRuntime.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static __thread void *current_loop __attribute__((tls_model("initial-exec")));

void *tessera_current_loop(void) { return current_loop; }
void tessera_set_current_loop(void *loop) { current_loop = loop; }

enum { LARGEST_SPARE = 64 << 10 };

static __thread void *spare __attribute__((tls_model("initial-exec")));
static __thread size_t spare_size __attribute__((tls_model("initial-exec")));

void *tessera_take_spare(size_t least, size_t *size) {
    void *memory = spare;
    if (memory && spare_size >= least) {
        *size = spare_size;
        spare = NULL;
        return memory;
    }
    memory = malloc(least);
    if (!memory) abort();
    *size = least;
    return memory;
}

void tessera_give_spare(void *memory, size_t size) {
    if (size > LARGEST_SPARE || (spare && spare_size >= size)) {
        free(memory);
        return;
    }
    free(spare);
    spare = memory;
    spare_size = size;
}

static int parse_address(const char *address, uint16_t port, struct sockaddr_storage *out, socklen_t *length) {
    memset(out, 0, sizeof *out);
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *length = sizeof *v4;
        return 0;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *length = sizeof *v6;
        return 0;
    }
    return -EINVAL;
}

int tessera_listen_tcp(const char *address, uint16_t port, int reuse_port, int backlog) {
    struct sockaddr_storage storage;
    socklen_t length;
    int status = parse_address(address, port, &storage, &length);
    if (status < 0) return status;
    int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&storage, length) < 0 || listen(fd, backlog) < 0) {
        status = -errno;
        close(fd);
        return status;
    }
    return fd;
}

int tessera_tcp_connect(uv_connect_t *request, uv_tcp_t *handle, const char *address, uint16_t port,
                        uv_connect_cb callback) {
    struct sockaddr_storage storage;
    socklen_t length;
    if (parse_address(address, port, &storage, &length) < 0) return UV_EINVAL;
    return uv_tcp_connect(request, handle, (const struct sockaddr *)&storage, callback);
}

int tessera_tcp_peer(const uv_tcp_t *handle, char *buffer, size_t size) {
    struct sockaddr_storage storage;
    int length = sizeof storage;
    int status = uv_tcp_getpeername(handle, (struct sockaddr *)&storage, &length);
    if (status < 0) return status;
    if (storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&storage;
        return uv_ip6_name(v6, buffer, size) < 0 ? UV_EINVAL : ntohs(v6->sin6_port);
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&storage;
    return uv_ip4_name(v4, buffer, size) < 0 ? UV_EINVAL : ntohs(v4->sin_port);
}

void tessera_name_thread(const char *name) {
    char cut[16];
    strncpy(cut, name, sizeof cut - 1);
    cut[sizeof cut - 1] = 0;
    pthread_setname_np(pthread_self(), cut);
}

int tessera_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int tessera_local_port(int fd) {
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0) return -errno;
    if (storage.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&storage)->sin6_port);
    return ntohs(((struct sockaddr_in *)&storage)->sin_port);
}

int tessera_accept(int fd) {
    int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return accepted < 0 ? -errno : accepted;
}

long tessera_find(const void *bytes, size_t count, const void *needle, size_t needle_count) {
    const char *found = memmem(bytes, count, needle, needle_count);
    return found ? found - (const char *)bytes : -1;
}

int tessera_measure_idle_time(uv_loop_t *loop) { return uv_loop_configure(loop, UV_METRICS_IDLE_TIME); }
