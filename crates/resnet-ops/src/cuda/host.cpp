// Runs kernels on the processor, block after block. Threads that wait for each other are fibers.

#include <memory>
#include <ucontext.h>
#include <utility>
#include <vector>

thread_local Dim gridDim, blockDim, blockIdx, threadIdx;

/// A kernel that takes its arguments as the driver's launch does: by pointers to them.
struct Caller {
    void (*kernel)();
    void (*call)(void (*)(), void **);
};

template <typename... A, std::size_t... I>
static void unpack(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}

template <typename... A> static Caller caller(void (*kernel)(A...)) {
    return {reinterpret_cast<void (*)()>(kernel), [](void (*erased)(), void **arguments) {
                unpack(reinterpret_cast<void (*)(A...)>(erased), arguments, std::index_sequence_for<A...>());
            }};
}

struct Entry {
    const char *name;
    Caller caller;
    bool syncs;
};

namespace {

constexpr std::size_t STACK = 64 * 1024;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool ended;
};

thread_local std::vector<Fiber> fibers;
thread_local ucontext_t scheduler;
thread_local Fiber *running;
thread_local const Entry *launched;
thread_local void **launched_arguments;

void body() {
    launched->caller.call(launched->caller.kernel, launched_arguments);
    running->ended = true;
}

void run_fibers(unsigned threads) {
    if (fibers.size() < threads) fibers.resize(threads);
    for (unsigned thread = 0; thread < threads; thread++) {
        Fiber &fiber = fibers[thread];
        if (!fiber.stack) fiber.stack.reset(new char[STACK]);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        fiber.ended = false;
        makecontext(&fiber.context, body, 0);
    }
    for (unsigned left = threads; left > 0;) {
        for (unsigned thread = 0; thread < threads; thread++) {
            running = &fibers[thread];
            if (running->ended) continue;
            threadIdx = {thread, 0, 0};
            swapcontext(&scheduler, &running->context);
            left -= running->ended;
        }
    }
}

} // namespace

void __syncthreads() {
    const Dim mine = threadIdx;
    swapcontext(&running->context, &scheduler);
    threadIdx = mine;
}
