// A driver that answers what a test wants of it: CUDA's version, the results of the first calls and of making a context current (BIND), a
// GPU's compute capability and memory, how many captures it refuses. Its GPU computes nothing; at the end of the process it says what it was asked for, and what for it
// should not have been, but for SILENT. With CUDNN it is cuDNN, which has two engines for everything, of which the first works in WORKSPACE bytes.
// With FILES it is a machine, loaded before all else: variables IMITATION_… say which errors the driver's files answer with.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;

#ifdef FILES

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

static int told(const char *name) { return getenv(name) ? atoi(getenv(name)) : 0; }

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    if (strcmp(path, "/sys/module/nvidia/version") == 0) {
        errno = ENOENT;
        if (!getenv("IMITATION_KERNEL")) return -1;
        int made = memfd_create("version", 0);
        dprintf(made, "%s\n", getenv("IMITATION_KERNEL"));
        lseek(made, 0, SEEK_SET);
        return made;
    }
    if (strncmp(path, "/dev/nvidia", 11) != 0) return real(path, flags, mode);
    errno = told(strcmp(path + 11, "ctl") == 0 ? "IMITATION_CONTROL" : strcmp(path + 11, "-uvm") == 0 ? "IMITATION_UVM" : "IMITATION_GPU");
    return errno ? -1 : real("/dev/null", flags, mode);
}

void *dlopen(const char *path, int flags) {
    void *(*real)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    int is_driver = path && (strncmp(path, "libcuda.", 8) == 0 || strncmp(path, "libcuda6", 8) == 0 || strncmp(path, "libnvcuda", 9) == 0);
    return is_driver && told("IMITATION_DRIVERLESS") ? NULL : real(path, flags);
}

#elif defined CUDNN

static int engines, in_workspace, without;

struct descriptor { int kind; long long workspace; };

size_t cudnnGetVersion(void) { return CUDNN; }
size_t cudnnGetCudartVersion(void) { return 99000; }
int cudnnCreate(void **handle) { *handle = malloc(1); return 0; }
int cudnnDestroy(void *handle) { free(handle); return 0; }
int cudnnSetStream(void *handle, void *stream) { return handle && stream ? 0 : 1; }
const char *cudnnGetErrorString(int status) { return "CUDNN_STATUS_IMAGINARY"; }
void cudnnGetLastErrorString(char *message, size_t most) { snprintf(message, most, "an imaginary reason"); }

int cudnnBackendCreateDescriptor(int kind, void **made) {
    struct descriptor *descriptor = calloc(1, sizeof *descriptor);
    descriptor->kind = kind;
    *made = descriptor;
    return 0;
}

int cudnnBackendDestroyDescriptor(void *descriptor) { free(descriptor); return 0; }
int cudnnBackendSetAttribute(void *descriptor, int name, int type, long long count, const void *values) { return 0; }

int cudnnBackendFinalize(void *made) {
    struct descriptor *descriptor = made;
    if (descriptor->kind == 5) {
        if (PLANS == 0) return 3000;
        // Every second plan does without.
        descriptor->workspace = engines++ % 2 == 0 ? WORKSPACE : 0;
    }
    return 0;
}

int cudnnBackendGetAttribute(void *made, int name, int type, long long most, long long *count, void *values) {
    struct descriptor *descriptor = made;
    *count = name == 202 ? (most < 2 ? most : 2) : name == 402;
    if (name == 402) *(long long *)values = descriptor->workspace;
    return 0;
}

int cudnnBackendExecute(void *handle, void *plan, void *pack) {
    ++*(((struct descriptor *)plan)->workspace > 0 ? &in_workspace : &without);
    return 0;
}

__attribute__((destructor)) static void tell(void) {
    if (!SILENT && getenv("IMITATION_TELLS")) fprintf(stderr, "{\"inWorkspace\":%d,\"withoutWorkspace\":%d}\n", in_workspace, without);
}

#else

static int contexts, modules, streams, allocations, pinned, events, graphs;
static int loaded, launches, unloaded, empty, graph_launches, capturing, captures, misused;
static size_t taken;

int cuDriverGetVersion(int *version) { *version = VERSION; return RESULT; }
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strcpy(name, "Imaginary GPU"); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? CAPABILITY : 0; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)1 << 34; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "an imaginary error"; return 0; }
int cuGetErrorName(int error, const char **text) { *text = "CUDA_ERROR_IMAGINARY"; return 0; }

int cuDevicePrimaryCtxRetain(void **context, int device) { contexts++; *context = &contexts; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { contexts--; return 0; }
int cuCtxSetCurrent(void *context) { return context == &contexts && contexts > 0 ? BIND : 201; }

// The image must lie where the driver can read it in words.
int cuModuleLoadData(void **module, const void *image) { modules++; *module = &modules; return (size_t)image % 8 == 0 ? 0 : 1; }
int cuModuleUnload(void *module) { modules--; return 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = calloc(1, 1); return 0; }
int cuFuncLoad(void *function) { loaded++; *(char *)function = 1; return 0; }

int cuStreamCreate(void **stream, unsigned flags) { streams++; *stream = &streams; return 0; }
int cuStreamDestroy_v2(void *stream) { streams--; return 0; }
int cuStreamSynchronize(void *stream) { misused += capturing; return 0; }

// What lies before an allocation is its length.
int cuMemAlloc_v2(address *made, size_t bytes) {
    misused += capturing;
    if (taken + bytes > (size_t)ROOM) return 2;
    size_t *memory = calloc(1, bytes + 16);
    if (!memory) return 2;
    *memory = bytes;
    taken += bytes;
    allocations++;
    *made = (address)(memory + 2);
    return 0;
}

int cuMemFree_v2(address made) {
    misused += capturing;
    size_t *memory = (size_t *)made - 2;
    taken -= *memory;
    allocations--;
    free(memory);
    return 0;
}

int cuMemGetInfo_v2(size_t *left, size_t *all) { *all = ROOM; *left = *all - taken; return 0; }
int cuMemsetD8Async(address made, unsigned char value, size_t bytes, void *stream) { memset((void *)made, value, bytes); return 0; }
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, void *stream) { misused += capturing; memcpy((void *)to, from, bytes); return 0; }
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, void *stream) { misused += capturing; memcpy(to, (void *)from, bytes); return 0; }
int cuMemHostAlloc(void **made, size_t bytes, unsigned flags) { pinned++; *made = malloc(bytes); return 0; }
int cuMemFreeHost(void *made) { pinned--; free(made); return 0; }

int cuEventCreate(void **event, unsigned flags) { events++; *event = &events; return 0; }
int cuEventDestroy_v2(void *event) { events--; return 0; }
int cuEventRecord(void *event, void *stream) { misused += capturing; return 0; }
int cuEventSynchronize(void *event) { misused += capturing; return 0; }
int cuEventElapsedTime(float *ms, void *start, void *end) { *ms = 1; return 0; }
int cuEventElapsedTime_v2(float *ms, void *start, void *end) { *ms = 1; return 0; }

int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **arguments, void **extra) {
    launches++;
    unloaded += !*(char *)function;
    empty += x == 0;
    return x == 0;
}

int cuStreamBeginCapture_v2(void *stream, int mode) { capturing = 1; return 0; }

int cuStreamEndCapture(void *stream, void **graph) {
    capturing = 0;
    *graph = &graphs;
    return captures++ < REFUSED ? 901 : 0;
}

int cuGraphInstantiateWithFlags(void **made, void *graph, unsigned long long flags) { graphs++; *made = graph; return 0; }
int cuGraphDestroy(void *graph) { return 0; }
int cuGraphExecDestroy(void *graph) { graphs--; return 0; }
int cuGraphLaunch(void *graph, void *stream) { graph_launches++; return 0; }

__attribute__((destructor)) static void tell(void) {
    if (SILENT || !getenv("IMITATION_TELLS")) return;
    fprintf(stderr, "{\"loaded\":%d,\"launches\":%d,\"unloaded\":%d,\"empty\":%d,\"graphLaunches\":%d,\"captures\":%d,\"misused\":%d,", loaded, launches, unloaded, empty, graph_launches, captures, misused);
    fprintf(stderr, "\"left\":{\"contexts\":%d,\"modules\":%d,\"streams\":%d,\"allocations\":%d,\"pinned\":%d,\"events\":%d,\"graphs\":%d}}\n", contexts, modules, streams, allocations, pinned, events, graphs);
}

#endif
