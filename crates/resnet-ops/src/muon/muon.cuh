// Where Muon's passes find the elements of matrices that are taller than wide.
#pragma once

/// Where element i of a matrix of `across` columns lies in its transpose, of so many elements; i if `across` is 0.
INLINE int64 transposed_place(int64 i, int64 across, int64 len) { return across ? i % across * (len / across) + i / across : i; }
