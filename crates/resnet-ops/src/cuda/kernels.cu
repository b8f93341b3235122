// All kernels, once for each element type: build.rs lists their sources in every_op.cuh. Each includes what it uses beside
// kernel.cuh.

#include "cuda/kernel.cuh"

#define T float
#define NAME(name) name##_f32
#include "every_op.cuh"
#undef T
#undef NAME

#define T bf16
#define NAME(name) name##_bf16
#include "every_op.cuh"
#undef T
#undef NAME
