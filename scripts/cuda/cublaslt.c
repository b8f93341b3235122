// A cuBLASLt that can do nothing: cuDNN, which plans convolutions without a GPU, ends the process where it finds none.

#define REFUSES(name) int cublasLt##name(void) { return 1; }

REFUSES(Create)
REFUSES(Destroy)
REFUSES(GetProperty)
REFUSES(Matmul)
REFUSES(MatmulAlgoGetHeuristic)
REFUSES(MatmulDescCreate)
REFUSES(MatmulDescDestroy)
REFUSES(MatmulDescGetAttribute)
REFUSES(MatmulDescInit_internal)
REFUSES(MatmulDescSetAttribute)
REFUSES(MatmulPreferenceCreate)
REFUSES(MatmulPreferenceDestroy)
REFUSES(MatmulPreferenceInit_internal)
REFUSES(MatmulPreferenceSetAttribute)
REFUSES(MatrixLayoutCreate)
REFUSES(MatrixLayoutDestroy)
REFUSES(MatrixLayoutGetAttribute)
REFUSES(MatrixLayoutInit_internal)
REFUSES(MatrixLayoutSetAttribute)
REFUSES(MatrixTransform)
REFUSES(MatrixTransformDescCreate)
REFUSES(MatrixTransformDescDestroy)
REFUSES(MatrixTransformDescGetAttribute)
REFUSES(MatrixTransformDescInit_internal)
REFUSES(MatrixTransformDescSetAttribute)

int cublasHeuristicsQueryFailed(void) { return 1; }
unsigned long cublasLtGetVersion(void) { return 130101; }
