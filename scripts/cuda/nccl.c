// An imitation of NCCL, whose ranks are threads of one process and whose memory is the host's. It waits for other ranks on threads of its own, as
// a communicator that does not block. VERSION is its number; LACKS_FINALIZE leaves a function out; FAILS_START, FAILS_SEND and FAILS_LATER fail
// when a communicator is made, when an exchange is asked for, and while it is under way, of the rank FAILS_OF alone if there is one; HANGS_START and
// HANGS_LATER come to no end. With TELLS_ABORT other ranks are told of an abort, as NCCL is by connections that break.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifndef VERSION
#define VERSION 22803
#endif

#ifdef FAILS_OF
#define FAILS(number) ((number) == FAILS_OF)
#else
#define FAILS(number) 1
#endif

enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, REMOTE_ERROR = 6, IN_PROGRESS = 7 };

typedef struct { char bytes[128]; } id;
typedef struct { size_t size; unsigned magic, version; int blocking; } config;

/// Bytes from one rank to another, which lie with the sender until they are taken.
struct message { struct world *world; int from, to; const void *data; size_t bytes; int taken; struct message *next; };
struct world { id id; int size, joined, aborted; struct message *first; struct world *next; };
struct ask { int sends, peer; void *data; size_t bytes; struct ask *next; };
struct rank { struct world *world; int rank, state, aborted; pthread_t thread; int runs; struct ask *asks; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct world *worlds;
static _Thread_local struct rank *grouped;
static _Thread_local struct ask **last;

int ncclGetVersion(int *version) { *version = VERSION; return SUCCESS; }
const char *ncclGetErrorString(int code) { return "an imaginary error"; }
const char *ncclGetLastError(void *rank) { return "an imaginary reason\n"; }

int ncclGetUniqueId(id *made) {
    static int count;
    memset(made, 0, sizeof *made);
    pthread_mutex_lock(&lock);
    count++;
    memcpy(made->bytes, &count, sizeof count);
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

static void end_thread(struct rank *rank) {
    if (rank->runs) pthread_join(rank->thread, NULL);
    rank->runs = 0;
}

static void begin_thread(struct rank *rank, void *(*body)(void *)) {
    end_thread(rank);
    rank->state = IN_PROGRESS;
    rank->runs = 1;
    pthread_create(&rank->thread, NULL, body, rank);
}

static void *wait_for_all(void *given) {
    struct rank *rank = given;
    pthread_mutex_lock(&lock);
    rank->world->joined++;
    pthread_cond_broadcast(&changed);
    while (!rank->aborted) {
#ifndef HANGS_START
        if (rank->world->joined >= rank->world->size) break;
#endif
        pthread_cond_wait(&changed, &lock);
    }
    rank->state = SUCCESS;
    pthread_mutex_unlock(&lock);
    return NULL;
}

int ncclCommInitRankConfig(struct rank **made, int size, id given, int number, config *config) {
    if (config->size < sizeof *config || config->magic != 0xcafebeef || config->blocking) return INVALID_ARGUMENT;
    struct rank *rank = *made = calloc(1, sizeof *rank);
    pthread_mutex_lock(&lock);
    struct world *world = worlds;
    while (world && memcmp(&world->id, &given, sizeof given)) world = world->next;
    if (!world) {
        world = calloc(1, sizeof *world);
        *world = (struct world){.id = given, .size = size, .next = worlds};
        worlds = world;
    }
    *rank = (struct rank){.world = world, .rank = number};
    pthread_mutex_unlock(&lock);
#ifdef FAILS_START
    if (FAILS(number)) return SYSTEM_ERROR;
#endif
    begin_thread(rank, wait_for_all);
    return IN_PROGRESS;
}

int ncclCommGetAsyncError(struct rank *rank, int *state) {
    pthread_mutex_lock(&lock);
    *state = rank->state;
#ifdef TELLS_ABORT
    if (rank->world->aborted) *state = REMOTE_ERROR;
#endif
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

int ncclGroupStart(void) { grouped = NULL; return SUCCESS; }

static int asked(struct rank *rank, int sends, int peer, const void *data, size_t count, int type) {
    if (type != 7 || peer < 0 || peer >= rank->world->size) return INVALID_ARGUMENT;
    if (!grouped) last = &rank->asks;
    grouped = rank;
    struct ask *ask = *last = calloc(1, sizeof *ask);
    *ask = (struct ask){sends, peer, (void *)data, count * 4, NULL};
    last = &ask->next;
    return SUCCESS;
}

int ncclSend(const void *data, size_t count, int type, int peer, struct rank *rank, void *stream) {
#ifdef FAILS_SEND
    if (FAILS(rank->rank)) return SYSTEM_ERROR;
#endif
    return asked(rank, 1, peer, data, count, type);
}

int ncclRecv(void *data, size_t count, int type, int peer, struct rank *rank, void *stream) { return asked(rank, 0, peer, data, count, type); }

int ncclAllGather(const void *data, void *all, size_t count, int type, struct rank *rank, void *stream) {
    for (int peer = 0; peer < rank->world->size; peer++) {
        int code = asked(rank, 1, peer, data, count, type);
        if (!code) code = asked(rank, 0, peer, (char *)all + peer * count * 4, count, type);
        if (code) return code;
    }
    return SUCCESS;
}

/// The first of the messages from one rank to another that is there and not taken.
static struct message *between(struct world *world, int from, int to) {
    struct message *message = world->first;
    while (message && (message->taken || message->from != from || message->to != to)) message = message->next;
    return message;
}

static void *exchange(void *given) {
    struct rank *rank = given;
    struct world *world = rank->world;
    int state = SUCCESS;
    pthread_mutex_lock(&lock);
    for (struct ask *ask = rank->asks; ask; ask = ask->next) {
        if (!ask->sends) continue;
        struct message **end = &world->first, *message = calloc(1, sizeof *message);
        while (*end) end = &(*end)->next;
        *message = (struct message){world, rank->rank, ask->peer, ask->data, ask->bytes, 0, NULL};
        *end = message;
    }
    pthread_cond_broadcast(&changed);
    for (struct ask *ask = rank->asks; ask && !rank->aborted && state == SUCCESS; ask = ask->next) {
        struct message *message;
        if (ask->sends) continue;
        while (!(message = between(world, ask->peer, rank->rank)) && !rank->aborted) pthread_cond_wait(&changed, &lock);
        if (rank->aborted) break;
        if (message->bytes != ask->bytes) state = SYSTEM_ERROR;
        else memcpy(ask->data, message->data, ask->bytes);
        message->taken = 1;
        pthread_cond_broadcast(&changed);
    }
    // What others have not taken yet stays here, as a sender's memory does.
    for (struct message *message = world->first; message && !rank->aborted;) {
        if (message->from != rank->rank || message->taken) message = message->next;
        else pthread_cond_wait(&changed, &lock), message = world->first;
    }
    for (struct ask *ask = rank->asks, *next; ask; ask = next) {
        next = ask->next;
        free(ask);
    }
    rank->asks = NULL;
#ifdef HANGS_LATER
    while (!rank->aborted) pthread_cond_wait(&changed, &lock);
#endif
#ifdef FAILS_LATER
    if (FAILS(rank->rank)) state = SYSTEM_ERROR;
#endif
    rank->state = state;
    pthread_mutex_unlock(&lock);
    return NULL;
}

int ncclGroupEnd(void) {
    if (!grouped) return SUCCESS;
    begin_thread(grouped, exchange);
    return IN_PROGRESS;
}

#ifndef LACKS_FINALIZE
int ncclCommFinalize(struct rank *rank) { return SUCCESS; }
#endif

int ncclCommAbort(struct rank *rank) {
    pthread_mutex_lock(&lock);
    rank->aborted = rank->world->aborted = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    end_thread(rank);
    free(rank);
    return SUCCESS;
}

int ncclCommDestroy(struct rank *rank) { return ncclCommAbort(rank); }
