// CUDA's words on a machine without a GPU: a block's threads take turns on one thread of the processor.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

struct Dim {
    unsigned x, y, z;
};

extern thread_local Dim gridDim, blockDim, blockIdx, threadIdx;

/// Lets the block's other threads come as far as this one.
void __syncthreads();

#define KERNEL(name) static void NAME(name)
/// Its threads wait for each other.
#define SYNCING_KERNEL(name) static void NAME(name)
/// Likewise, and any number of them does a block's work: a few here, as each turn takes its time.
#define SHARING_KERNEL(name) static void NAME(name)
#define INLINE inline
#ifdef __SANITIZE_ADDRESS__
// It sees to the ends of what all threads of the processor share alone: they then take turns at kernels. And arguments are read
// to their ends, as a GPU's driver does.
#define SHARED static
#define BY_VALUE(type) const type
#include <mutex>
#define TAKE_TURNS               \
    static std::mutex turns;     \
    const std::lock_guard<std::mutex> turn(turns)
#else
#define SHARED static thread_local
#define TAKE_TURNS
/// What is larger than a word is not copied for each thread.
#define BY_VALUE(type) const type &
#endif
#define UNROLL
#define UNROLLED(times)

/// Threads take turns: nothing comes in between, and all is seen at once.
static inline unsigned atomicAdd(unsigned *value, unsigned more) {
    const unsigned before = *value;
    *value += more;
    return before;
}

static inline void __threadfence() {}

/// A product that no compiler joins with the sum after it.
static inline float __fmul_rn(float a, float b) {
    const volatile float product = a * b;
    return product;
}

static inline double __dmul_rn(double a, double b) {
    const volatile double product = a * b;
    return product;
}

static inline float float_of_bits(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline unsigned short bf16_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return static_cast<unsigned short>(bits >> 16 | 0x40);
    return static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
