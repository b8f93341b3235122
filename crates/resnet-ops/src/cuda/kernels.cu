// All kernels, once for each element type.

#include "cuda/kernel.cuh"

#define T float
#define NAME(name) name##_f32
#include "cuda/every_op.cuh"
#undef T
#undef NAME

#define T bf16
#define NAME(name) name##_bf16
#include "cuda/every_op.cuh"
#undef T
#undef NAME
