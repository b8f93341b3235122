// What the kernels are written with: the element types, eight channels at a time, and, where the compiler is not nvcc, CUDA's
// words in terms of plain C++, so that the kernels run and are tested on a machine without a GPU.
//
// Activations lie as (N, H, W, C), C rounded up to whole octets; lanes beyond the real channels are zero. Every kernel is
// compiled for each element type T: float and bf16.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#define KERNEL(name) extern "C" __global__ void NAME(name)
#define SYNCING_KERNEL(name) extern "C" __global__ void NAME(name)
#define INLINE __device__ __forceinline__
#define SHARED __shared__
#define UNROLL _Pragma("unroll")
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

/// Most threads of a block that sums over pixels.
constexpr int PIXEL_THREADS = 512;

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

template <typename T> INLINE Octet load(const T *source) {
    Octet octet;
    const Sixteen<T> *from = reinterpret_cast<const Sixteen<T> *>(source);
    constexpr int each = 16 / sizeof(T);
    UNROLL
    for (int part = 0; part < OCTET / each; part++) {
        const Sixteen<T> sixteen = from[part];
    UNROLL
        for (int i = 0; i < each; i++) octet.lane[part * each + i] = to_float(sixteen.value[i]);
    }
    return octet;
}

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

/// Whether a value is neither NaN nor infinite, of which the difference from itself is NaN.
INLINE bool is_finite(float value) { return value - value == 0; }

/// max(x, 0), written so that NaN stays.
INLINE float relu(float value) { return value < 0 ? 0 : value; }
