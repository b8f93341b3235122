// A product of matrices in tiles.
#pragma once

/// Rows and columns of a tile; a thread for each of its elements.
constexpr int TILE = 16;

/// Where a thread's element lies in a matrix of so many tiles across.
struct Element {
    int row, column;

    INLINE Element(int columns) {
        const int across = (columns + TILE - 1) / TILE;
        row = blockIdx.x / across * TILE + threadIdx.x / TILE;
        column = blockIdx.x % across * TILE + threadIdx.x % TILE;
    }
};

/// Products of an element that a block has in shared memory at once: each thread brings so many times as many as a tile has, all of them
/// on their way together.
constexpr int ROUNDS = 4;
constexpr int DEPTH = ROUNDS * TILE;

/// The sum over k of a(row, k) times b(k, column). All threads of a block must call it; `a` and `b` are asked only for k below
/// `depth`, and give 0 outside their matrices.
template <typename A, typename B> INLINE float product(const Element &at, int depth, A a, B b) {
    SHARED float left[TILE][DEPTH + 1], right[DEPTH][TILE + 1];
    const int down = threadIdx.x / TILE, across = threadIdx.x % TILE;
    float sum = 0;
    for (int start = 0; start < depth; start += DEPTH) {
        float of_a[ROUNDS], of_b[ROUNDS];
        UNROLL
        for (int i = 0; i < ROUNDS; i++) {
            const int k = start + i * TILE;
            of_a[i] = k + across < depth ? a(at.row, k + across) : 0;
            of_b[i] = k + down < depth ? b(k + down, at.column) : 0;
        }
        UNROLL
        for (int i = 0; i < ROUNDS; i++) {
            left[down][i * TILE + across] = of_a[i];
            right[i * TILE + down][across] = of_b[i];
        }
        __syncthreads();
        const int some = depth - start < DEPTH ? depth - start : DEPTH;
        for (int k = 0; k < some; k++) sum += left[down][k] * right[k][across];
        __syncthreads();
    }
    return sum;
}
