// Sends prepared requests over HTTP/1.1 and measures the answers, from one thread.
//
//   generator PORT PLAN CONNECTIONS open WARM_SECONDS
//   generator PORT PLAN CONNECTIONS closed WARM_SECONDS SECONDS
//
// open: each request is sent when the plan says that it is due, whether or not earlier ones were answered. It waits
// for a connection only while CONNECTIONS requests are under way, and its latency counts from when it was due, so
// that a server which stops for a second is charged with every request of that second. closed: each connection
// sends its next request when it has the answer to the last one, in the order of the plan, over and over.
//
// Nothing is sent twice; what a user would see as an error is one. What is due in the first WARM_SECONDS is sent and not
// counted. Prints one JSON object a line: each second with its counts and percentiles, then the whole.
//
// A plan: "TPLAN1\0\0", counts of requests and arrivals (u64 each); for each request its kind (u32), its length
// (u32) and its bytes; padding to 8 bytes; for each arrival when it is due in nanoseconds (u64) and which request
// it is (u64). Little endian, as the machine.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

enum {
    KINDS = 32,
    STATUSES = 600,
    // Reasons beside the HTTP statuses.
    NO_CONNECTION = 0, BROKEN = 1, TIMED_OUT = 2, NOT_HTTP = 3,
    HEAD_BYTES = 16384,
    READ_BYTES = 1 << 18,
    MOST_CONNECTIONS = 16384,
};

static const uint64_t second = 1000000000;
static const uint64_t answer_timeout = 30 * second;
// Longer unused than this, a connection is not trusted to be open still.
static const uint64_t idle_limit = 5 * second;

struct request {
    uint32_t kind, length;
    const char *bytes;
};

struct arrival {
    uint64_t due, request;
};

enum phase { CONNECTING, SENDING, HEAD, BODY, CHUNK_SIZE, CHUNK, TRAILER, IDLE };

struct link {
    int socket, wants_write, keep, status;
    enum phase phase;
    const struct request *request;
    uint64_t due, since;
    uint32_t sent;
    // Of the body or of a chunk of it; and of the whole body.
    int64_t left, body;
    int head_length;
    char head[HEAD_BYTES];
};

struct tally {
    uint64_t ok, bytes, failed[STATUSES];
    struct histogram latency;
};

static struct tally whole[KINDS], window[KINDS];
static struct histogram lateness;
static struct request *requests;
static const struct arrival *arrivals;
static uint64_t request_count, arrival_count, next_arrival, kinds;
static struct link *links[MOST_CONNECTIONS], *idle[MOST_CONNECTIONS];
static int link_count, idle_count, most, poller, closed_loop;
static struct sockaddr_in address;
static uint64_t start, counted_from, stop_at, under_way, window_at, free_since;
static char buffer[READ_BYTES];

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * second + time.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "generator: %s: %s\n", what, strerror(errno));
    exit(1);
}

// MARK: What is counted

static void note(const struct request *request, uint64_t due, int status, uint64_t bytes) {
    if (due < counted_from) return;
    struct tally *tallies[] = {&whole[request->kind], &window[request->kind]};
    uint64_t latency = now() - due;
    for (int i = 0; i < 2; i++) {
        int good = (status >= 200 && status < 300) || status == 304;
        if (good) {
            tallies[i]->ok++;
            histogram_add(&tallies[i]->latency, latency);
        } else {
            tallies[i]->failed[status < STATUSES ? status : NOT_HTTP]++;
        }
        tallies[i]->bytes += bytes;
    }
}

static uint64_t failures(const struct tally *tally) {
    uint64_t sum = 0;
    for (int i = 0; i < STATUSES; i++) sum += tally->failed[i];
    return sum;
}

static void print_window(uint64_t at) {
    for (uint64_t kind = 0; kind < kinds; kind++) {
        struct tally *tally = &window[kind];
        printf("{\"at\":%.3f,\"kind\":%lu,\"ok\":%lu,\"errors\":%lu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
               "\"max_ms\":%.3f}\n",
               (double)(at - start) / second, kind, tally->ok, failures(tally),
               histogram_at(&tally->latency, 0.5) / 1e6, histogram_at(&tally->latency, 0.99) / 1e6,
               tally->latency.most / 1e6);
        memset(tally, 0, sizeof *tally);
    }
    fflush(stdout);
}

static void print_whole(uint64_t end) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec +
                 usage.ru_stime.tv_usec / 1e6;
    printf("{\"start\":%.6f,\"seconds\":%.6f,\"cpu_seconds\":%.3f,\"late_p99_ms\":%.3f,\"late_max_ms\":%.3f,"
           "\"unsent\":%lu,\"kinds\":[",
           (double)start / second, (double)(end - counted_from) / second, cpu, histogram_at(&lateness, 0.99) / 1e6,
           lateness.most / 1e6, closed_loop ? 0 : arrival_count - next_arrival);
    for (uint64_t kind = 0; kind < kinds; kind++) {
        struct tally *tally = &whole[kind];
        printf("%s{\"ok\":%lu,\"bytes\":%lu,\"failed\":{", kind ? "," : "", tally->ok, tally->bytes);
        int first = 1;
        static const char *reasons[] = {"no connection", "broken", "timed out", "not HTTP"};
        for (int i = 0; i < STATUSES; i++) {
            if (!tally->failed[i]) continue;
            if (i < 4) printf("%s\"%s\":%lu", first ? "" : ",", reasons[i], tally->failed[i]);
            else printf("%s\"%d\":%lu", first ? "" : ",", i, tally->failed[i]);
            first = 0;
        }
        printf("},\"histogram\":");
        histogram_print(&tally->latency);
        printf("}");
    }
    printf("]}\n");
}

// MARK: Connections

static void watch(struct link *link, int wants_write, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = link};
    if (epoll_ctl(poller, operation, link->socket, &event) < 0) die("epoll_ctl");
    link->wants_write = wants_write;
}

static void drop(struct link *link) {
    close(link->socket);
    link->socket = -1;
    link->phase = IDLE;
    for (int i = 0; i < link_count; i++)
        if (links[i] == link) links[i] = links[--link_count];
    free(link);
}

static void fail(struct link *link, int reason) {
    note(link->request, link->due, reason, 0);
    under_way--;
    drop(link);
}

static struct link *open_link(void) {
    struct link *link = calloc(1, sizeof *link);
    link->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->socket < 0) die("socket");
    int on = 1;
    setsockopt(link->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    link->phase = CONNECTING;
    if (connect(link->socket, (struct sockaddr *)&address, sizeof address) == 0) link->phase = SENDING;
    else if (errno != EINPROGRESS) link->status = -1;
    links[link_count++] = link;
    watch(link, link->phase == CONNECTING, EPOLL_CTL_ADD);
    return link;
}

static void push(struct link *link) {
    link->phase = SENDING;
    while (link->sent < link->request->length) {
        ssize_t n = write(link->socket, link->request->bytes + link->sent,
                          link->request->length - link->sent);
        if (n > 0) {
            link->sent += n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!link->wants_write) watch(link, 1, EPOLL_CTL_MOD);
            return;
        } else {
            fail(link, BROKEN);
            return;
        }
    }
    if (link->wants_write) watch(link, 0, EPOLL_CTL_MOD);
    link->phase = HEAD;
    link->head_length = 0;
}

static void begin(const struct request *request, uint64_t due) {
    uint64_t time = now();
    struct link *link = NULL;
    while (idle_count && !link) {
        link = idle[--idle_count];
        if (time - link->since > idle_limit) {
            drop(link);
            link = NULL;
        }
    }
    if (!link) link = open_link();
    link->request = request;
    link->due = due;
    link->since = time;
    link->sent = 0;
    under_way++;
    if (link->status < 0) fail(link, NO_CONNECTION);
    else if (link->phase != CONNECTING) push(link);
}

static void next_of_plan(uint64_t due) {
    const struct arrival *arrival = &arrivals[next_arrival++ % arrival_count];
    begin(&requests[arrival->request], due);
}

static void done(struct link *link, uint64_t bytes) {
    note(link->request, link->due, link->status, bytes);
    under_way--;
    link->since = now();
    if (!link->keep) {
        drop(link);
    } else {
        link->phase = IDLE;
        idle[idle_count++] = link;
    }
}

// MARK: Answers

static int read_head(struct link *link) {
    char *line = link->head;
    if (strncmp(line, "HTTP/1.", 7) != 0 || link->head_length < 12) return -1;
    link->status = atoi(line + 9);
    link->keep = line[7] == '1';
    link->left = -1;
    int chunked = 0;
    while ((line = strchr(line, '\n')) && *++line && *line != '\r') {
        if (strncasecmp(line, "content-length:", 15) == 0) link->left = atoll(line + 15);
        if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0) chunked = 1;
        if (strncasecmp(line, "connection: close", 17) == 0) link->keep = 0;
    }
    if (link->status == 204 || link->status == 304) link->left = 0, chunked = 0;
    if (chunked) link->left = 0;
    link->phase = chunked ? CHUNK_SIZE : BODY;
    link->body = link->left;
    // A body that ends with its connection is none for this program.
    return link->left < 0 ? -1 : 0;
}

// Takes what has arrived; the number of bytes of the body if the answer is whole, -1 if not, -2 if it is none.
static int64_t take(struct link *link, const char *at, const char *end) {
    while (at < end || (link->phase == BODY && link->left == 0)) {
        switch (link->phase) {
        case HEAD:
            while (at < end) {
                if (link->head_length == HEAD_BYTES - 1) return -2;
                link->head[link->head_length++] = *at++;
                int n = link->head_length;
                if (n >= 4 && memcmp(link->head + n - 4, "\r\n\r\n", 4) == 0) {
                    link->head[n] = 0;
                    if (read_head(link) < 0) return -2;
                    break;
                }
            }
            break;
        case BODY: {
            int64_t n = end - at < link->left ? end - at : link->left;
            at += n;
            link->left -= n;
            if (link->left == 0) return at == end ? link->body : -2;
            break;
        }
        case CHUNK_SIZE:
            if (*at == '\n') {
                link->phase = link->left ? CHUNK : TRAILER;
                link->body += link->left;
            } else if (*at != '\r') {
                char digit = *at | 0x20;
                link->left = link->left * 16 + (digit >= 'a' ? digit - 'a' + 10 : digit - '0');
            }
            at++;
            break;
        case CHUNK: {
            // The line that ends the chunk counts with it.
            int64_t n = end - at < link->left + 2 ? end - at : link->left + 2;
            at += n;
            link->left -= n;
            if (link->left == -2) link->left = 0, link->phase = CHUNK_SIZE;
            break;
        }
        case TRAILER:
            if (*at++ == '\n') return at == end ? link->body : -2;
            break;
        default:
            return -2;
        }
    }
    return -1;
}

static void on_readable(struct link *link) {
    for (;;) {
        ssize_t n = read(link->socket, buffer, sizeof buffer);
        if (n < 0 && errno == EAGAIN) return;
        if (link->phase == IDLE) {
            // Closed by the other side while unused; a byte that nobody asked for is as bad.
            for (int i = 0; i < idle_count; i++)
                if (idle[i] == link) idle[i] = idle[--idle_count];
            drop(link);
            return;
        }
        if (n <= 0) {
            fail(link, link->phase == CONNECTING ? NO_CONNECTION : BROKEN);
            return;
        }
        int64_t body = take(link, buffer, buffer + n);
        if (body == -2) {
            fail(link, NOT_HTTP);
            return;
        }
        if (body >= 0) {
            done(link, body);
            return;
        }
        if (n < (ssize_t)sizeof buffer) return;
    }
}

static void on_event(struct link *link, uint32_t events) {
    if (link->phase == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(link->socket, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            fail(link, NO_CONNECTION);
            return;
        }
        if (!(events & EPOLLOUT)) return;
        push(link);
        return;
    }
    if (link->phase == SENDING && (events & EPOLLOUT)) {
        push(link);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(link);
}

static void end_overdue(uint64_t time) {
    for (int i = link_count - 1; i >= 0; i--)
        if (links[i]->phase != IDLE && time - links[i]->since > answer_timeout) fail(links[i], TIMED_OUT);
}

// MARK: The plan

static void load(const char *path) {
    int file = open(path, O_RDONLY);
    struct stat info;
    if (file < 0 || fstat(file, &info) < 0) die(path);
    const char *at = mmap(NULL, info.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (at == MAP_FAILED) die(path);
    const char *base = at;
    if (info.st_size < 24 || memcmp(at, "TPLAN1\0\0", 8) != 0) {
        errno = EINVAL;
        die(path);
    }
    memcpy(&request_count, at + 8, 8);
    memcpy(&arrival_count, at + 16, 8);
    at += 24;
    requests = calloc(request_count, sizeof *requests);
    for (uint64_t i = 0; i < request_count; i++) {
        memcpy(&requests[i].kind, at, 4);
        memcpy(&requests[i].length, at + 4, 4);
        requests[i].bytes = at + 8;
        at += 8 + requests[i].length;
        if (requests[i].kind >= KINDS) abort();
        if (requests[i].kind >= kinds) kinds = requests[i].kind + 1;
    }
    at = base + ((at - base) + 7) / 8 * 8;
    arrivals = (const struct arrival *)at;
    if (at + arrival_count * sizeof *arrivals > base + info.st_size || !arrival_count) abort();
}

static int is_over(uint64_t time) {
    if (closed_loop) return time >= stop_at;
    return next_arrival == arrival_count && under_way == 0;
}

// Sends what is due; returns when the next one is.
static uint64_t send_due(uint64_t time) {
    if (closed_loop) {
        while (under_way < (uint64_t)most && time < stop_at) next_of_plan(now());
        return stop_at;
    }
    static int was_full;
    while (next_arrival < arrival_count) {
        uint64_t due = start + arrivals[next_arrival].due;
        if (due > time) return due;
        if (under_way >= (uint64_t)most) {
            was_full = 1;
            return UINT64_MAX;
        }
        if (was_full) free_since = time;
        was_full = 0;
        // That every connection was busy is the server's doing; any other delay is this program's.
        uint64_t possible = due > free_since ? due : free_since;
        if (due >= counted_from) histogram_add(&lateness, now() - possible);
        next_of_plan(due);
    }
    return UINT64_MAX;
}

int main(int count, char **arguments) {
    if (count < 6) {
        fputs("usage: generator PORT PLAN CONNECTIONS open|closed WARM_SECONDS [SECONDS]\n", stderr);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    // Timers of the kernel are 50 microseconds late on purpose unless they are told not to be.
    prctl(PR_SET_TIMERSLACK, 1000);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    load(arguments[2]);
    most = atoi(arguments[3]);
    if (most < 1 || most > MOST_CONNECTIONS) most = MOST_CONNECTIONS;
    closed_loop = strcmp(arguments[4], "closed") == 0;
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) die("epoll_create1");

    start = now();
    counted_from = start + (uint64_t)(atof(arguments[5]) * second);
    if (closed_loop) stop_at = counted_from + (uint64_t)(atof(count > 6 ? arguments[6] : "1") * second);
    window_at = counted_from + second;
    uint64_t time = start, checked = start;
    while (!is_over(time)) {
        uint64_t next = send_due(time);
        time = now();
        if (next > time + second / 10) next = time + second / 10;
        uint64_t wait = next > time ? next - time : 0;
        struct timespec patience = {.tv_sec = wait / second, .tv_nsec = wait % second};
        struct epoll_event events[256];
        int ready = epoll_pwait2(poller, events, 256, &patience, NULL);
        if (ready < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < ready; i++) on_event(events[i].data.ptr, events[i].events);
        time = now();
        if (time - checked > second) {
            end_overdue(time);
            checked = time;
        }
        while (time >= window_at && !is_over(time)) {
            print_window(window_at);
            window_at += second;
        }
    }
    print_whole(time);
    return 0;
}
