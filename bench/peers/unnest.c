// Inserts feed entries as fast as libpq can: one prepared statement with one binary array, autocommit, some
// connections, each with one batch under way. Prints rows and seconds.
//
//   unnest CONNINFO READERS_FILE POST AUTHOR POSTS BATCH CONNECTIONS skip|fail
//
// An entry that is there already is skipped (ON CONFLICT DO NOTHING), or fails the program.
//
// READERS_FILE has one reader id a line, in the order of (bucket, reader). Each of POSTS posts, numbered from
// POST on, goes to every reader.
#include <endian.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INSERT \
    "INSERT INTO feed.entry (bucket, reader, post_id, author) " \
    "SELECT ((f.reader >> 6) & 1023)::smallint, f.reader, $2, $3 " \
    "FROM unnest($1::bigint[]) AS f (reader)"

static const char *insert;

static const char *conninfo;
static int64_t *readers, first_post, author;
static long reader_count, post_count, batch_size;
static long next_batch;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void fail(PGconn *conn, const char *what) {
    fprintf(stderr, "unnest: %s: %s", what, conn ? PQerrorMessage(conn) : "\n");
    exit(1);
}

static void put32(char **at, uint32_t value) {
    value = htobe32(value);
    memcpy(*at, &value, 4);
    *at += 4;
}

static void put64(char **at, int64_t value) {
    uint64_t big = htobe64((uint64_t)value);
    memcpy(*at, &big, 8);
    *at += 8;
}

static void *work(void *ready) {
    (void)ready;
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK) fail(conn, "connect");
    Oid types[3] = {1016, 20, 20};
    PGresult *prepared = PQprepare(conn, "i", insert, 3, types);
    if (PQresultStatus(prepared) != PGRES_COMMAND_OK) fail(conn, "prepare");
    PQclear(prepared);
    char *array = malloc(20 + 12 * (size_t)batch_size);
    long batches = (reader_count + batch_size - 1) / batch_size;
    for (;;) {
        pthread_mutex_lock(&lock);
        long number = next_batch++;
        pthread_mutex_unlock(&lock);
        if (number >= batches * post_count) break;
        long from = number % batches * batch_size;
        long count = reader_count - from < batch_size ? reader_count - from : batch_size;
        char *at = array, post[8], who[8], *cell;
        put32(&at, 1);
        put32(&at, 0);
        put32(&at, 20);
        put32(&at, (uint32_t)count);
        put32(&at, 1);
        for (long i = 0; i < count; i++) {
            put32(&at, 8);
            put64(&at, readers[from + i]);
        }
        cell = post;
        put64(&cell, first_post + number / batches);
        cell = who;
        put64(&cell, author);
        const char *values[3] = {array, post, who};
        int lengths[3] = {(int)(at - array), 8, 8}, formats[3] = {1, 1, 1};
        PGresult *done = PQexecPrepared(conn, "i", 3, values, lengths, formats, 1);
        if (PQresultStatus(done) != PGRES_COMMAND_OK) fail(conn, "insert");
        PQclear(done);
    }
    free(array);
    PQfinish(conn);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: unnest CONNINFO READERS_FILE POST AUTHOR POSTS BATCH CONNECTIONS "
                        "skip|fail\n");
        return 64;
    }
    conninfo = argv[1];
    insert = strcmp(argv[8], "skip") ? INSERT : INSERT " ON CONFLICT DO NOTHING";
    FILE *file = fopen(argv[2], "r");
    if (!file) fail(NULL, "cannot open the readers");
    long room = 1024;
    readers = malloc(sizeof *readers * (size_t)room);
    long long id;
    while (fscanf(file, "%lld", &id) == 1) {
        if (reader_count == room) {
            room *= 2;
            readers = realloc(readers, sizeof *readers * (size_t)room);
        }
        readers[reader_count++] = id;
    }
    fclose(file);
    first_post = atoll(argv[3]);
    author = atoll(argv[4]);
    post_count = atol(argv[5]);
    batch_size = atol(argv[6]);
    int connections = atoi(argv[7]);
    pthread_t threads[64];
    if (connections < 1 || connections > 64 || batch_size < 1) return 64;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < connections; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    printf("{\"rows\": %ld, \"seconds\": %.6f}\n", reader_count * post_count, seconds);
    return 0;
}
