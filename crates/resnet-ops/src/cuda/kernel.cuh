// What the kernels are written with: the element types, eight channels at a time, and, where the compiler is not nvcc, CUDA's
// words in terms of plain C++, so that the kernels run and are tested on a machine without a GPU.
//
// Activations lie as (N, H, W, C), C rounded up to whole octets; lanes beyond the real channels are zero. Every kernel is
// compiled for each element type T: float and bf16.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
// So many blocks have room on a processor: as Cuda::launch_octets and cuda/sums.rs count.
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(THREADS, sizeof(T) == 2 ? 3 : 2) NAME(name)
#define SYNCING_KERNEL(name) extern "C" __global__ void __launch_bounds__(PIXEL_THREADS, 2) NAME(name)
#define SHARING_KERNEL(name) SYNCING_KERNEL(name)
#define INLINE __device__ __forceinline__
#define SHARED __shared__
#define UNROLL _Pragma("unroll")
#define PRAGMA(words) _Pragma(#words)
#define UNROLLED(times) PRAGMA(unroll times)
#define BY_VALUE(type) const __grid_constant__ type
#else
#include "cuda/host.hpp"
#endif

typedef long long int64;
typedef unsigned long long uint64;

/// A float without the lower half of its fraction.
struct bf16 {
    unsigned short bits;
};

INLINE float to_float(float value) { return value; }

INLINE float to_float(bf16 value) {
#ifdef __CUDACC__
    return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
#else
    return float_of_bits(static_cast<unsigned>(value.bits) << 16);
#endif
}

INLINE void round_to(float value, float *target) { *target = value; }

/// To the nearest, of two equally near the even one.
INLINE void round_to(float value, bf16 *target) {
#ifdef __CUDACC__
    target->bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
    target->bits = bf16_bits(value);
#endif
}

/// Channels that a thread works on.
constexpr int OCTET = 8;

/// Most threads of a block whose threads do not wait for each other.
constexpr int THREADS = 256;

/// Most threads of one whose do.
constexpr int PIXEL_THREADS = 256;

/// Channels rounded up to whole octets.
INLINE int padded(int channels) { return (channels + OCTET - 1) / OCTET * OCTET; }

/// Eight neighbouring channels of a pixel.
struct Octet {
    float lane[OCTET];
};

/// 16 bytes, which a thread moves at once.
template <typename T> struct alignas(16) Sixteen {
    T value[16 / sizeof(T)];
};

/// An octet as it lies in memory: values that are under way take no more registers than that.
template <typename T> struct Stored {
    static constexpr int each = 16 / sizeof(T);
    Sixteen<T> part[OCTET / each];

    INLINE operator Octet() const {
        Octet octet;
        UNROLL
        for (int i = 0; i < OCTET; i++) octet.lane[i] = to_float(part[i / each].value[i % each]);
        return octet;
    }
};

template <typename T> INLINE Stored<T> fetch(const T *source) { return *reinterpret_cast<const Stored<T> *>(source); }

template <typename T> INLINE Octet load(const T *source) { return fetch(source); }

template <typename T> INLINE void store(T *target, const Octet &octet) {
    Sixteen<T> *to = reinterpret_cast<Sixteen<T> *>(target);
    constexpr int each = 16 / sizeof(T);
    UNROLL
    for (int part = 0; part < OCTET / each; part++) {
        Sixteen<T> sixteen;
    UNROLL
        for (int i = 0; i < each; i++) round_to(octet.lane[part * each + i], &sixteen.value[i]);
        to[part] = sixteen;
    }
}

/// Up to eight values from place `start` on of `len`; 0 beyond.
template <typename T> INLINE Octet load_some(const T *source, int64 start, int64 len) {
    if (start + OCTET <= len) return load(source + start);
    Octet octet;
    for (int i = 0; i < OCTET; i++) octet.lane[i] = start + i < len ? to_float(source[start + i]) : 0;
    return octet;
}

/// Writes those of the eight values whose places, from `start` on, are below `len`.
template <typename T> INLINE void store_some(T *target, int64 start, int64 len, const Octet &octet) {
    if (start + OCTET <= len) return store(target + start, octet);
    UNROLL
    for (int i = 0; i < OCTET; i++) {
        if (start + i < len) round_to(octet.lane[i], &target[start + i]);
    }
}

/// Calls `use(place, load(place))` for each `stride`th place from `first` on below `end`, in order. So many loads are under way at once.
template <int under_way, typename N, typename L, typename U> INLINE void stream(N first, N end, N stride, L load, U use) {
    for (N start = first; start < end; start += under_way * stride) {
        decltype(load(start)) loaded[under_way];
        UNROLL
        for (int i = 0; i < under_way; i++) {
            if (start + i * stride < end) loaded[i] = load(start + i * stride);
        }
        UNROLL
        for (int i = 0; i < under_way; i++) {
            if (start + i * stride < end) use(start + i * stride, loaded[i]);
        }
    }
}

/// Whether this block is the last of so many that come here; what they wrote before can then be read, by `fresh`. Leaves `arrived`, which
/// was zero, zero: launches one after the other can share it. All threads of a block come here together.
INLINE bool is_last_block(unsigned *arrived, unsigned blocks) {
    SHARED unsigned before;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) before = atomicAdd(arrived, 1u);
    __syncthreads();
    if (before + 1 != blocks) return false;
    if (threadIdx.x == 0) *arrived = 0;
    __threadfence();
    return true;
}

/// What another block has written: it may lie in this processor's first cache as it was.
INLINE double fresh(const double *value) {
#ifdef __CUDACC__
    return __ldcg(value);
#else
    return *value;
#endif
}

/// Which of so many parts of a launch this block works on, of which `first` gives the first block.
template <typename F> INLINE int place_of_block(int parts, F first) {
    int low = 0, high = parts - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (first(middle) <= static_cast<int>(blockIdx.x)) low = middle;
        else high = middle - 1;
    }
    return low;
}

/// The number of this thread in the whole grid.
INLINE int64 thread_index() { return static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x; }

/// Threads of the grid. Where octets are shared out by `Cuda::launch_octets`, so many octets further on a thread finds the same channels.
INLINE int64 all_threads() { return static_cast<int64>(gridDim.x) * blockDim.x; }

/// The channel with which a thread's octets begin, where they are shared out so.
INLINE int first_channel(int channels) {
    return static_cast<int>(static_cast<unsigned>(thread_index()) % (padded(channels) / OCTET)) * OCTET;
}

/// n / d for n from 0 on. Few numbers need the 64 bits, in which a GPU divides slowly.
INLINE int64 quotient(int64 n, int d) {
    return n >> 32 == 0 ? static_cast<int64>(static_cast<unsigned>(n) / static_cast<unsigned>(d)) : n / d;
}

/// Whether a value is neither NaN nor infinite, of which the difference from itself is NaN.
INLINE bool is_finite(float value) { return value - value == 0; }

/// max(x, 0), written so that NaN stays.
INLINE float relu(float value) { return value < 0 ? 0 : value; }
