// Runs kernels on the processor, block after block. Threads that wait for each other are fibers.

#include <csetjmp>
#include <memory>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

thread_local Dim gridDim, blockDim, blockIdx, threadIdx;

/// Runs threads of a block one after the other, `begin` to `end`, with arguments as the driver's launch takes them: by pointers.
using Call = void (*)(unsigned begin, unsigned end, void **arguments);

template <auto kernel, typename... A, std::size_t... I>
static void run_threads(void (*)(A...), unsigned begin, unsigned end, void **arguments, std::index_sequence<I...>) {
    for (threadIdx = {begin, 0, 0}; threadIdx.x < end; threadIdx.x++) kernel(*static_cast<std::remove_reference_t<A> *>(arguments[I])...);
}

template <auto kernel, typename... A> static Call caller(void (*)(A...)) {
    return [](unsigned begin, unsigned end, void **arguments) {
        run_threads<kernel>(kernel, begin, end, arguments, std::index_sequence_for<A...>());
    };
}

struct Entry {
    const char *name;
    Call call;
    /// Most fibers of a block; none if its threads do not wait for each other.
    unsigned fibers;
};

namespace {

/// Odd in lines of a cache, so that the stacks of a block do not fall on the same few.
constexpr std::size_t STACK = 64 * 1024 + 7 * 64;

struct Fiber {
    std::jmp_buf context;
    std::unique_ptr<char[]> stack;
    bool ended;
};

thread_local std::vector<std::unique_ptr<Fiber>> fibers;
thread_local std::jmp_buf scheduler;
thread_local Fiber *running;
thread_local const Entry *launched;
thread_local void **launched_arguments;

/// Leaves the fiber until it is resumed. (swapcontext would do both, with two calls of the system.)
void leave() {
    if (_setjmp(running->context) == 0) _longjmp(scheduler, 1);
}

void resume(Fiber &fiber) {
    running = &fiber;
    if (_setjmp(scheduler) == 0) _longjmp(fiber.context, 1);
}

void body() {
    for (;;) {
        leave();
        launched->call(threadIdx.x, threadIdx.x + 1, launched_arguments);
        running->ended = true;
    }
}

/// A fiber that waits for its first block.
std::unique_ptr<Fiber> new_fiber() {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack.reset(new char[STACK]);
    ucontext_t begin;
    getcontext(&begin);
    begin.uc_stack.ss_sp = fiber->stack.get();
    begin.uc_stack.ss_size = STACK;
    begin.uc_link = nullptr;
    makecontext(&begin, body, 0);
    running = fiber.get();
    if (_setjmp(scheduler) == 0) setcontext(&begin);
    return fiber;
}

void run_fibers(unsigned threads, bool backwards) {
    while (fibers.size() < threads) fibers.push_back(new_fiber());
    for (unsigned thread = 0; thread < threads; thread++) fibers[thread]->ended = false;
    for (unsigned left = threads; left > 0;) {
        for (unsigned turn = 0; turn < threads; turn++) {
            const unsigned thread = backwards ? threads - 1 - turn : turn;
            if (fibers[thread]->ended) continue;
            threadIdx = {thread, 0, 0};
            resume(*fibers[thread]);
            left -= fibers[thread]->ended;
        }
    }
}

} // namespace

void __syncthreads() {
    const Dim mine = threadIdx;
    leave();
    threadIdx = mine;
}
